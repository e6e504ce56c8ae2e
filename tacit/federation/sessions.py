"""The clients' end of a secure sum: identities, and one protocol session for each party that a node speaks for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.values import Address, Array, Params, PlanError, ProtocolError, Reply, Request, Schema, Vector
from tacit.federation.randomness import stream
from tacit.federation.secure import MODEL
from tacit.learning.contribution import contribution_like
from tacit.learning.integers import quantiser
from tacit.privacy.quantise import Quantiser
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
        contribute: Callable[[Params, Array, int], Vector],
        watched: bool = False,
    ) -> None:
        """`contribute(shared, clients, round)` is the encoded contribution (d,) of these clients of the node.

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
        self._codec: tuple[int, Quantiser | None] = (0, None)  # of the round
        self._open: dict[int, Any] = {}
        self._due: dict[int, int] = {}  # party -> the round in which its upload comes next
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

    def answer(self, address: Address, party: int, request: Request, clients: Array) -> Reply:
        """One stage for one party, which speaks for these clients of the node.

        Raises:
            ProtocolError: out of order, forged, replayed or malformed.
        """
        if not self._trusted:
            raise ProtocolError(f"{address} was asked for a secure sum before anybody enrolled")
        if party not in self._open:
            rules: Any = self._plan.secure_sum
            source = stream(self._plan, "masks", self._first + party) if self._plan.simulation else None
            self._open[party] = rules.client(address, self._identities[party], self._run, self._trusted, source)
        session = self._open[party]
        if request.kind != wire.KIND + "masked":
            reply: Reply = session.answer(request)
            if request.kind == wire.KIND + "share":
                self._due[party] = request.round
            return reply
        if self._due.pop(party, None) != request.round:  # before anything is learned: that changes private parameters
            raise ProtocolError(f"{address} owes no upload in round {request.round}: out of order, or sent already")
        shared = {n.removeprefix(MODEL): value for n, value in request.arrays.items() if n.startswith(MODEL)}
        encoded = self._integers(shared, clients, party, request.round)
        own = {name: value for name, value in request.arrays.items() if not name.startswith("#")}
        reply = session.answer(Request(request.kind, request.round, own, request.config), encoded)
        self._remember(request.round, encoded)
        return reply

    def _integers(self, shared: Params, clients: Array, party: int, round: int) -> Array:
        plan = self._plan
        x = self._contribute(shared, clients, round)
        if self._codec[0] != round or self._codec[1] is None:
            like = contribution_like(plan, shared, self._schema, round)
            work = plan.algorithm.work(plan.model, round)
            self._codec = (round, quantiser(plan, work, like, self._total, len(self._trusted)))
        codec = self._codec[1]
        assert codec is not None
        if plan.clip_norm is not None:  # each client is bounded already: shrink by what rounding may add to its share
            spread = codec.spread(len(x))
            if spread > 0.1 * plan.clip_norm:
                raise PlanError(
                    f"rounding to integers for {self._total} clients would move the sum by {spread:.3g}, more than a "
                    f"tenth of the clip norm {plan.clip_norm:g}: use a smaller model, fewer clients or no secure sum"
                )
            x = x * (1.0 - spread / plan.clip_norm)
        return codec.encode(x, stream(plan, "rounding", round, self._first + party))

    def _remember(self, round: int, encoded: Array) -> None:
        if not self._watched:
            return
        last, total = self._witness
        self._witness = (round, encoded.copy() if last != round else total + encoded)

    def witness(self, round: int) -> Array | None:
        """Simulation's view, if this node is watched: the plain sum of what its parties masked in a round."""
        return self._witness[1] if self._witness[0] == round else None


def digest(total: Array) -> str:
    """SHA-256 of integers, in hex, as in `Summed.digest`."""
    return hashlib.sha256(np.ascontiguousarray(total).tobytes()).hexdigest()
