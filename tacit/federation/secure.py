"""The server's end of a secure sum inside a round: enrol, drive the stages, read the sum of integers back as floats.

A round that cannot be opened is skipped: nothing is opened and no data move the model. Where a plan draws its cohort by
Poisson coins and adds noise, a skipped round looks like any other from outside: its sum is zero, noise is added and
charged, and neither bytes nor digest nor notes tell. Elsewhere the round's notes say why, and a run whose rounds are
skipped one after the other ends.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Engine, LocalWork, Shared, Statistics, exchange
from tacit.core.values import (
    Address,
    Array,
    Params,
    ProtocolError,
    Reply,
    Request,
    Scalar,
    TacitError,
    Turn,
    Vector,
    VerificationError,
)
from tacit.federation.cohort import COHORT
from tacit.federation.proving import terms_of
from tacit.federation.randomness import stream
from tacit.learning.integers import Codec, quantiser
from tacit.privacy.homomorphic.chosen import chosen as chosen_parts
from tacit.privacy.proofs.errors import OpeningError
from tacit.privacy.proofs.group import library
from tacit.privacy.secure_sum.groups import robust
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted

PATIENCE = 3  # rounds skipped one after the other, after which a run ends
REFUSED = "refused"  # in a reply's config: why this party leaves the round
MODEL = "#model/"  # before the names of broadcast parameters, in requests of the stage in which parties work


@dataclass(frozen=True, slots=True, eq=False)
class Summed:
    """What a round gathered."""

    vector: Vector  # (d,) float64
    clients: int  # whose contributions are in it
    bytes_up: int  # per contributing party
    bytes_down: int  # beside the broadcast parameters
    digest: str = ""  # SHA-256 of the opened integers, in hex; empty without a secure sum
    notes: tuple[str, ...] = ()  # why parties were left out, or the whole round
    proofs: int = 0  # checked


@dataclass(slots=True)
class Talk:
    """What a round's messages came to, so far."""

    parties: dict[Address, dict[str, Array]]  # party -> what only it is told
    hosted: dict[Address, int] = field(default_factory=dict)  # party -> clients whose contributions its upload adds
    up: int = 0  # bytes
    down: int = 0
    refusals: list[str] = field(default_factory=list)  # what parties said that left

    def notes(self) -> tuple[str, ...]:
        """How many parties left, by reason."""
        found = {reason: self.refusals.count(reason) for reason in dict.fromkeys(self.refusals)}
        return tuple(f"{count} left the round: {reason}" for reason, count in found.items())


def rules_of(plan: Plan) -> Any:
    """The plan's secure sum, with the fewest contributions that may be opened together filled in."""
    rules: Any = plan.secure_sum
    return replace(rules, minimum=plan.minimum)


def working(rules: Any) -> str:
    """The stage in which parties are sent the model and compute their contributions."""
    return str(getattr(rules, "working", "masked"))


class SecureServer:
    """One run's server: keeps identities' public keys and checked key adverts over the rounds, never a contribution."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        """Enrol every party: collect public identity keys and hand them round.

        In simulation the server is trusted to do that honestly; between real parties the keys must reach clients on a
        way that the server cannot bend.

        Raises:
            PlanError: the plan asks for proofs, whose library is not installed.
        """
        if getattr(plan.secure_sum, "proof", ""):
            library()
        self._plan = plan
        self._run = stream(plan, "secure run").bytes(16)
        nodes = engine.nodes()
        self._clients = sum(nodes.values())
        config: dict[str, Scalar] = {"plan": plan.digest(), "run": self._run, "clients": self._clients}
        enrol = {name: Request("enrol", 0, {}, config) for name in nodes}
        keys = {name: _keys(plan, name, nodes[name], reply) for name, reply in exchange(engine, enrol)}
        self._trusted = {address: key for name, part in keys.items() for address, key in _addressed(plan, name, part)}
        everyone = {name: Request("trust", 0, keys, config) for name in nodes}
        for _ in exchange(engine, everyone):
            pass
        self._rules = rules_of(plan)
        self._server = self._rules.server(self._run, self._trusted)
        self._skipped = 0  # rounds, one after the other
        self._proven: tuple[int, ...] = ()  # how many values of a contribution are, where something is proven

    def sum(
        self,
        engine: Engine,
        chosen: dict[str, Array],
        request: Request,
        like: Params,
        work: LocalWork | Statistics,
        turns: tuple[Turn, ...] = (),
    ) -> Summed:
        """Drive one round; parties that fall silent, cannot go on or break the protocol are left out.

        Raises:
            SecureSumAborted: too few parties were left in this round as in those before it; nothing was opened.
            OpeningError: sums were not what parties had committed to, in this round as in those before it.
            PlanError: what the plan wants proven is too long, or has no bound.
        """
        plan, number = self._plan, request.round
        talk = Talk(_parties(plan, chosen))
        codec = quantiser(plan, work, like, self._clients, len(self._trusted), turns)
        if parts := getattr(self._rules, "parts", ()):
            self._server.choose(chosen_parts(like, parts, sum(codec.lengths)))
        if (terms := terms_of(plan, codec, turns, self._run, like)) is not None:
            self._proven = (terms.size,)
            self._server.agree(terms, {party: len(own.get(COHORT, [0])) for party, own in talk.parties.items()})
        try:
            opened = self._opened(engine, request, sum(codec.lengths), talk)
        except (SecureSumAborted, OpeningError) as why:
            return self._skip(codec, turns, number, why, talk)
        self._skipped = 0
        counts = np.array([sum(talk.hosted[party] for party in part.survivors) for part in opened])
        sums = np.stack([codec.decode(part.total, len(part.survivors)) for part in opened])
        integers = np.asarray(np.sum([part.total for part in opened], axis=0, dtype=np.uint32))
        vector = sums.sum(axis=0)
        if plan.aggregator is not None and plan.aggregator.sees == "each" and np.any(counts > 0):
            vector = robust(plan.aggregator, sums[counts > 0], counts[counts > 0])
        whole = len(opened) == plan.groups  # else uploads of a group that was lost are in nobody's sum
        told = digest(integers) if whole else ""
        notes = () if self._hidden else (*self._left_out(), *talk.notes(), *getattr(self._server, "lost", ()))
        return Summed(vector, int(counts.sum()), *self._bytes(codec, opened, talk), told, notes, self._checked)

    def _left_out(self) -> tuple[str, ...]:
        """Whose commitment or proof did not hold, and why."""
        refused: dict[str, str] = getattr(self._server, "excluded", {})
        return tuple(f"{party} was left out: {why}" for party, why in sorted(refused.items()))

    @property
    def _checked(self) -> int:
        return 0 if self._hidden else int(getattr(self._server, "checked", 0))

    def _opened(self, engine: Engine, request: Request, size: int, talk: Talk) -> list[Opened]:
        """The sums that a round opens: one, or one for each group that came through."""
        self._server.start(request.round, list(talk.parties), size)
        model = {MODEL + name: value for name, value in request.arrays.items()}
        while self._server.stage != "finish":
            works = self._server.stage == working(self._rules)
            requests = {}
            for party, asked in self._server.requests().items():
                talk.down += sum(value.nbytes for value in asked.arrays.values())
                arrays = {**asked.arrays, **model, **talk.parties[party]} if works else asked.arrays
                requests[party] = replace(asked, arrays=arrays, config=request.config)
            for party, reply in exchange(engine, requests):
                if (reason := reply.config.get(REFUSED)) is not None:
                    talk.refusals.append(str(reason)[:200])
                    continue
                if works:
                    asked_of = len(talk.parties[party].get(COHORT, [0]))
                    talk.hosted[party] = _claimed(self._plan, reply, asked_of)
                    if talk.hosted[party] < 0:
                        continue
                talk.up += self._received(party, reply)
            self._server.close()
        found: list[Opened] = self._server.finish()
        return found

    @property
    def _hidden(self) -> bool:
        """Whether nobody may learn from outside who took part: noise is accounted for a cohort drawn in secret."""
        return self._plan.sampling == "poisson" and self._plan.noise is not None

    def _skip(self, codec: Codec, turns: tuple[Turn, ...], round: int, why: TacitError, talk: Talk) -> Summed:
        """A round whose sum does not count: a sum of nobody, under the noise that clients would have added.

        Raises:
            SecureSumAborted: rounds before it were skipped too, or no party at all had anything that can be summed.
            OpeningError: rounds before it were skipped too, and this one since its sum is not what was committed to.
        """
        plan, size = self._plan, sum(codec.lengths)
        self._skipped += 1
        notes = (f"round {round} was skipped: {why}", *self._left_out(), *talk.notes())
        if not self._hidden and not talk.hosted and len(talk.refusals) >= plan.minimum:  # the plan's fault, not chance
            raise SecureSumAborted("no party had anything that can be summed; " + "; ".join(notes))
        if not self._hidden and self._skipped >= min(PATIENCE, plan.rounds):
            raise type(why)(f"{self._skipped} rounds came to nothing one after the other; " + "; ".join(notes))
        total = np.zeros(size, np.uint32)
        if plan.protect and isinstance(plan.protect[-1], Shared):
            for party in range(turns[-1].clients):
                share = plan.protect[-1].share(size, codec.steps[0], turns[-1], stream(plan, "skipped", round, party))
                total += share.astype(np.uint32)
        told = digest(np.frombuffer(stream(plan, "skipped", round).bytes(4), np.uint32)) if self._hidden else ""
        moved = self._bytes(codec, [], talk)
        return Summed(codec.decode(total, 0), 0, *moved, told, () if self._hidden else notes, self._checked)

    def _bytes(self, codec: Codec, opened: list[Opened], talk: Talk) -> tuple[int, int]:
        """(up, down) of each party: counted, or under Poisson coins those of the expected cohort, which are public.

        In a complete graph the counted ones would tell how many took part.
        """
        plan = self._plan
        if plan.sampling != "poisson" or not hasattr(self._rules, "traffic"):
            survivors = sum(len(part.survivors) for part in opened)
            return talk.up // max(survivors, 1), talk.down // max(len(talk.parties), 1)
        everyone = len(self._trusted)
        expected = (plan.cohort if plan.secure_between == "clients" else everyone) // plan.groups
        names = sum(len(name.encode()) + 1 for name in self._trusted) * expected // max(everyone, 1)
        moved: tuple[int, int] = self._rules.traffic(expected, sum(codec.lengths), names, *self._proven)
        return moved

    def _received(self, party: Address, reply: Reply) -> int:
        try:
            self._server.receive(party, reply)
        except (ProtocolError, VerificationError):  # a party that speaks nonsense is as good as silent
            return 0
        return sum(value.nbytes for value in reply.arrays.values())


def digest(integers: Array) -> str:
    """SHA-256 of integers, in hex, as in `Summed.digest`."""
    return hashlib.sha256(np.ascontiguousarray(integers).tobytes()).hexdigest()


def _parties(plan: Plan, chosen: dict[str, Array]) -> dict[Address, dict[str, Array]]:
    """Party -> what only it is told: clients one by one, or nodes with their part of the cohort."""
    if plan.secure_between == "nodes":
        return {name: {COHORT: mine} for name, mine in chosen.items()}
    return {f"{name}/{client}": {} for name, mine in chosen.items() for client in mine.tolist()}


def _claimed(plan: Plan, reply: Reply, asked: int) -> int:
    """How many clients an upload adds: one, or what a node says, if it can be true; else -1."""
    if plan.secure_between == "clients":
        return 1
    said = reply.config.get("clients")
    return said if isinstance(said, int) and 0 <= said <= asked else -1


def _keys(plan: Plan, node: str, clients: int, reply: Reply) -> Array:
    """(parties, 32) uint8 public keys of a node's parties.

    Raises:
        ProtocolError: other shapes or types.
    """
    needed = (1 if plan.secure_between == "nodes" else clients, 32)
    keys = np.asarray(reply.arrays.get("keys"))
    if keys.shape != needed or keys.dtype != np.uint8:
        raise ProtocolError(f"{node} enrolled with keys of shape {keys.shape}; {needed} bytes were needed")
    return keys


def _addressed(plan: Plan, node: str, keys: Array) -> list[tuple[Address, bytes]]:
    """(address, public key) of each party on a node."""
    if plan.secure_between == "nodes":
        return [(node, keys[0].tobytes())]
    return [(f"{node}/{number}", key.tobytes()) for number, key in enumerate(keys)]
