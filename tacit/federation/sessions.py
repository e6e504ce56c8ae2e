"""The clients' end of a secure sum: identities, and one protocol session for each party that a node speaks for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Shared
from tacit.core.trees import size
from tacit.core.values import Address, Array, Params, PlanError, ProtocolError, Reply, Request, Schema, Turn, Vector
from tacit.federation.cohort import COHORT
from tacit.federation.proving import terms_of
from tacit.federation.randomness import stream
from tacit.federation.secure import MODEL, REFUSED, rules_of, working
from tacit.learning.contribution import contribution_like
from tacit.learning.integers import Codec, quantiser
from tacit.privacy import protection
from tacit.privacy.homomorphic.chosen import chosen
from tacit.privacy.proofs.terms import Terms
from tacit.privacy.secure_sum import wire
from tacit.privacy.secure_sum.keys import Identity


class Sessions:
    """Answers "enrol", "trust" and the stages of a secure sum for one node's parties."""

    def __init__(
        self,
        plan: Plan,
        schema: Schema,
        first: int,
        parties: int,
        contribute: Callable[[Params, Array, Request], Vector],
        watched: bool = False,
    ) -> None:
        """`contribute(shared, clients, request)` is the encoded contribution (d,) of these clients of the node.

        `first` is the number of the node's first party among all, so that no two parties share a stream. Only a
        `watched` node keeps the plain sum of what it masked, for a simulation to check the secure sum with.
        """
        self._watched = watched
        self._plan = plan
        self._schema = schema
        self._first = first
        self._parties = parties
        self._contribute = contribute
        self._identities: list[Identity] = []
        self._trusted: dict[str, bytes] = {}
        self._run = b""
        self._total = 0  # clients that take part in the run
        self._codec: tuple[int, Codec | None, tuple[Turn, ...], float] = (0, None, (), 0.0)  # of the round
        self._terms: Terms | None = None  # of the round
        self._open: dict[int, Any] = {}
        self._due: dict[int, int] = {}  # party -> the round in which its upload comes next
        self._committed: dict[int, Array] = {}  # party -> what it committed to and has not yet masked, if watched
        self._witness: tuple[int, Array] = (0, np.zeros(0, np.uint32))

    def enrol(self) -> Reply:
        """Fresh identities; their public keys (parties, 32) uint8."""
        source = [stream(self._plan, "identity", self._first + party) for party in range(self._parties)]
        self._identities = [Identity.generate(part) for part in source]
        self._open, self._due = {}, {}
        keys = b"".join(identity.public for identity in self._identities)
        return Reply({"keys": np.frombuffer(keys, np.uint8).reshape(self._parties, 32)})

    def trust(self, request: Request) -> Reply:
        """Remember everybody's public keys, and which run they belong to."""
        nodes = self._plan.secure_between == "nodes"
        self._trusted = {
            (name if nodes else f"{name}/{number}"): key.tobytes()
            for name, keys in request.arrays.items()
            for number, key in enumerate(keys)
        }
        run, total = request.config.get("run"), request.config.get("clients")
        if not isinstance(run, bytes) or not isinstance(total, int):
            raise ProtocolError("an enrolment names its run and its number of clients; this one does not")
        self._run, self._total = run, total
        return Reply()

    def owes(self, party: int, round: int) -> bool:
        """Whether this party's upload in this round is still to come."""
        return self._due.get(party) == round

    def answer(self, address: Address, party: int, request: Request, clients: Array) -> Reply:
        """One stage for one party, which speaks for these clients of the node.

        A party that cannot go on, since it was sent something forged, replayed or malformed or has nothing that can be
        encoded, says why under `REFUSED` and is out of the round: what stands there is read by the server.

        Raises:
            ProtocolError: nobody has enrolled, or an upload is asked for out of turn.
        """
        if not self._trusted:
            raise ProtocolError(f"{address} was asked for a secure sum before anybody enrolled")
        if party not in self._open:
            rules = rules_of(self._plan)
            source = stream(self._plan, "masks", self._first + party) if self._plan.simulation else None
            self._open[party] = rules.client(address, self._identities[party], self._run, self._trusted, source)
        session = self._open[party]
        rules = rules_of(self._plan)
        works = working(rules)
        if request.kind != wire.KIND + works:
            try:
                reply: Reply = session.answer(request)
            except ProtocolError as why:
                return Reply({}, {REFUSED: str(why)})
            if request.kind == wire.KIND + rules.stages[rules.stages.index(works) - 1]:
                self._due[party] = request.round
            elif request.kind == wire.KIND + "masked":
                self._remember(request.round, self._committed.pop(party, np.zeros(0, np.uint32)))
            return reply
        if self._due.pop(party, None) != request.round:  # before anything is learned: that changes private parameters
            raise ProtocolError(f"{address} owes no upload in round {request.round}: out of order, or sent already")
        shared = {n.removeprefix(MODEL): value for n, value in request.arrays.items() if n.startswith(MODEL)}
        own = {name: value for name, value in request.arrays.items() if not name.startswith("#")}
        try:
            encoded = self._integers(shared, clients, party, request)
            if parts := getattr(self._plan.secure_sum, "parts", ()):  # not what a server says
                like = contribution_like(self._plan, protection.without(shared), self._schema, request.round)
                session.choose(chosen(like, parts, len(encoded)))
            if self._terms is not None:
                session.agree(self._terms, len(request.arrays.get(COHORT, [0])))
            reply = session.answer(Request(request.kind, request.round, own, request.config), encoded)
        except ProtocolError as why:
            return Reply({}, {REFUSED: str(why)})
        if works == "masked":
            self._remember(request.round, encoded)
        elif self._watched:
            self._committed[party] = encoded
        return reply

    def _integers(self, shared: Params, clients: Array, party: int, request: Request) -> Array:
        plan, round = self._plan, request.round
        x = self._contribute(shared, clients, request)
        if self._codec[0] != round or self._codec[1] is None:
            like = contribution_like(plan, protection.without(shared), self._schema, round)
            work = plan.algorithm.work(plan.model, round)
            told, parties = protection.unpacked(plan, shared), len(self._trusted)
            summed = parties if plan.secure_between == "nodes" else plan.cohort or parties  # not what a server says
            turns = protection.turns(plan, round, size(like), self._total, summed, told)
            bound = protection.reach(plan, turns)
            self._codec = (round, quantiser(plan, work, like, self._total, parties, turns), turns, bound)
            self._terms = terms_of(plan, self._codec[1], turns, self._run, like)
        codec, turns, bound = self._codec[1:]
        assert codec is not None
        if math.isfinite(bound):  # each client is bounded already: shrink by what rounding may add to its share
            spread = codec.spread(len(x))
            if spread > 0.1 * bound:
                raise PlanError(
                    f"rounding to integers for {self._total} clients would move the sum by {spread:.3g}, more than a "
                    f"tenth of the bound {bound:g} of a contribution: use a smaller model, fewer clients or no secure "
                    "sum"
                )
            x = x * (1.0 - spread / bound)
        encoded = codec.encode(x, stream(plan, "rounding", round, self._first + party))
        if plan.protect and isinstance(plan.protect[-1], Shared):
            source = stream(plan, "share", round, self._first + party)
            share = plan.protect[-1].share(len(x), codec.steps[0], turns[-1], source)
            encoded = encoded + share.astype(np.uint32)  # mod 2^32: negative shares wrap as they must
        return encoded

    def _remember(self, round: int, encoded: Array) -> None:
        if not self._watched:
            return
        last, total = self._witness
        self._witness = (round, encoded.copy() if last != round else total + encoded)

    def witness(self, round: int) -> Array | None:
        """Simulation's view, if this node is watched: the plain sum of what its parties masked in a round."""
        return self._witness[1] if self._witness[0] == round else None
