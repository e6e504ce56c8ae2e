"""The client side: the only code that touches local rows. One worker answers for one node and the clients it hosts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Shared
from tacit.core.trees import flatten
from tacit.core.values import (
    Address,
    Array,
    Params,
    Population,
    ProtocolError,
    Reply,
    Request,
    Scalar,
    TacitError,
    Turn,
    Vector,
)
from tacit.federation.cohort import COHORT, vanishes
from tacit.federation.plain_round import PlainRound
from tacit.federation.private_store import PrivateStore
from tacit.federation.randomness import stream
from tacit.federation.secure import REFUSED, rules_of, working
from tacit.federation.sessions import Sessions
from tacit.learning.contribution import contribution_like
from tacit.learning.examples import round_seed
from tacit.learning.trainers.choice import trainer_of
from tacit.privacy import messages, protection
from tacit.privacy.secure_sum import wire


class Worker:
    """Holds a node's rows and its clients' private parameters; answers "train", "train/each" and secure-sum stages."""

    def __init__(self, plan: Plan, population: Population, store: Path | None = None, watched: bool = False) -> None:
        """`store` is this node's own folder for its clients' private parameters; None keeps them in memory only."""
        self.plan = plan
        self.population = population
        self.first = population.first
        self.private = PrivateStore(plan, population, store)
        self._before: dict[int, tuple[int, Array, dict[str, Array]]] = {}  # party -> round, clients, private parameters
        self._plain = PlainRound(plan, self.private)
        self._sent = 0  # bytes of the clients' unmasked messages, where transforms make messages of their own
        self._digest = plan.digest()
        noise = plan.noise  # whether clients add it, so that it hides them from the server too
        self._hides = noise is not None and (isinstance(noise, Shared) or noise.bound is None)
        initial = plan.algorithm.init(plan.model, population.schema, plan.seed).shared
        self._shapes = {name: np.shape(value) for name, value in initial.items()}
        parties = 1 if plan.secure_between == "nodes" else len(population)
        self.sessions = Sessions(plan, population.schema, self.first, parties, self._contribution, watched)

    @property
    def clients(self) -> int:
        """How many clients this node hosts."""
        return len(self.population)

    def __call__(self, address: Address, request: Request) -> Reply | None:
        """Answer a request, or stay silent where this client (in simulation) has dropped out.

        Raises:
            ProtocolError: another plan's request, an unknown kind, or a client that this node does not host.
        """
        if request.config.get("plan") != self._digest:
            raise ProtocolError(
                f"{address} holds plan {self._digest[:12]}, the request belongs to another plan: refused"
            )
        match request.kind:
            case "enrol":
                return self.sessions.enrol()
            case "trust":
                return self.sessions.trust(request)
            case "commit":
                for party in list(self._before):  # worked, but were not let upload: as before the round
                    self._undo(party, request.round)
                self.private.commit(request.round)
                self._plain.end()
                return Reply()
        if request.kind.startswith(wire.KIND):
            return self._secure(address, request)
        if request.kind not in ("train", "train/each"):
            raise ProtocolError(f"unknown request kind {request.kind!r}")
        if self.plan.secure_sum is not None:
            raise ProtocolError(
                f"{address} gives its contribution away only through the secure sum of its plan: refused"
            )
        if request.kind == "train/each" and self.plan.aggregator is None:
            raise ProtocolError(f"{address} was asked for single updates, but its plan needs only the sum: refused")
        if (said := self._plain.said(request)) is not None:
            return said
        cohort = self._present(request)
        self._plain.begin(request.round, cohort)
        return self._plain.answered(request, self._trained(request, cohort))

    def _trained(self, request: Request, cohort: Array) -> Reply:
        """What a cohort sends without a secure sum: its sum, or each update."""
        shared = {name: value for name, value in request.arrays.items() if name != COHORT}
        if request.kind == "train":
            if self.plan.per_client:
                before = self._sent
                encoded = self._contribution(shared, cohort, request)
                return Reply({"sum": encoded}, {"clients": len(cohort), "bytes": self._sent - before})
            total = self._total(protection.without(shared), cohort, request.round, self.plan.clip_norm)
            return Reply(total, {"clients": len(cohort)})
        before = self._sent
        updates = [self._contribution(shared, cohort[i : i + 1], request) for i in range(len(cohort))]
        told: dict[str, Scalar] = {"clients": len(cohort)}
        if self.plan.per_client:
            told["bytes"] = self._sent - before
        return Reply({"updates": np.stack(updates) if updates else np.zeros((0, 0))}, told)

    def _secure(self, address: Address, request: Request) -> Reply | None:
        if self.plan.secure_sum is None:
            raise ProtocolError(f"{address} was asked for a secure sum, but its plan has none")
        if request.round > self.plan.rounds and not self.plan.simulation:
            raise ProtocolError(
                f"{address} holds a plan that has {self.plan.rounds} rounds and was asked for round {request.round}: "
                "nobody has accounted for another release. Refused"
            )
        _, by_client, index = address.partition("/")
        rules = rules_of(self.plan)
        kinds: list[str] = [wire.KIND + stage for stage in rules.stages]
        if request.kind not in kinds:
            raise ProtocolError(f"unknown request kind {request.kind!r}: the secure sum of this plan has no such stage")
        stage, works = kinds.index(request.kind), kinds.index(wire.KIND + working(rules))
        if self.plan.secure_between == "nodes":
            if by_client:
                raise ProtocolError(f"{address} is not hosted here as a party: this node speaks for all its clients")
            if stage != works:
                return self._answered(address, 0, request)
            if self.plan.cohort == 0 and len(request.arrays.get(COHORT, ())) != self.clients:
                raise ProtocolError(
                    f"{address} was asked for some of its clients, but its plan takes all in each round"
                )
            cohort = self._present(request)
            reply = self._uploaded(address, 0, request, cohort)
            return reply if REFUSED in reply.config else replace(reply, config={"clients": len(cohort)})
        client = int(index) if index.isascii() and index.isdecimal() else -1
        if not 0 <= client < self.clients:
            raise ProtocolError(f"{address} is not hosted here: this node has {self.clients} clients")
        if stage >= works and self._gone(client, request.round):  # who has dropped out is silent
            return None
        if stage == works:
            return self._uploaded(address, client, request, np.array([client]))
        return self._answered(address, client, request)

    def _uploaded(self, address: Address, party: int, request: Request, clients: Array) -> Reply:
        """The upload of a party, or what it commits to before; where it cannot give one, see `_answered`."""
        self._before.pop(party, None)
        if self.sessions.owes(party, request.round):
            self.private.begin(request.round)
            kept = {name: values[clients].copy() for name, values in self.private.own.items()}
            self._before[party] = (request.round, clients, kept)
        return self._answered(address, party, request, clients)

    def _answered(self, address: Address, party: int, request: Request, clients: Array | None = None) -> Reply:
        """A party's answer; if it leaves the round now, its clients' private parameters are as before the round."""
        reply = self.sessions.answer(address, party, request, np.zeros(0, np.int64) if clients is None else clients)
        if REFUSED in reply.config:
            self._undo(party, request.round)
        elif request.kind == wire.KIND + "masked":
            self._before.pop(party, None)
        return reply

    def _undo(self, party: int, round: int) -> None:
        began, clients, kept = self._before.pop(party, (-1, np.zeros(0, np.int64), {}))
        if began == round:
            for name, values in kept.items():
                self.private.own[name][clients] = values

    def _present(self, request: Request) -> Array:
        """(k,) those of a request's cohort that have not, in simulation, dropped out."""
        cohort = np.asarray(request.arrays.get(COHORT, -1))
        fits = cohort.ndim == 1 and (cohort.dtype.kind in "iu" or len(cohort) == 0)
        if not fits or np.any((cohort < 0) | (cohort >= self.clients)) or len(np.unique(cohort)) != len(cohort):
            raise ProtocolError(f"a cohort must name clients 0 to {self.clients - 1}, each once")
        cohort = cohort.astype(np.int64)
        return cohort[[not self._gone(int(c), request.round) for c in cohort]] if self.plan.dropout else cohort

    def _gone(self, client: int, round: int) -> bool:
        return vanishes(self.plan, self.first + client, round)

    def _total(self, shared: Params, cohort: Array, round: int, bound: float | None) -> Params:
        """Sums over a cohort; bounded inside the trainer, so that no update of a single client is ever kept."""
        found = {name: np.shape(value) for name, value in shared.items()}
        if found.keys() != self._shapes.keys() or any(
            found[name] != shape for name, shape in self._shapes.items() if 0 not in shape
        ):
            raise ProtocolError(f"parameters {self._shapes} were needed to train with, the request brings {found}")
        if len(cohort) == 0:
            return contribution_like(self.plan, shared, self.population.schema, round)
        work = self.plan.algorithm.work(self.plan.model, round)
        seed = round_seed(self.plan.seed, round)
        if self.plan.simulation and hasattr(work, "seeded"):  # noise that the work itself draws
            work = work.seeded(seed)
        trainer = trainer_of(self.plan, work)
        self.private.begin(round)
        kept = {name: values[cohort].copy() for name, values in self.private.own.items()} if self._hides else {}
        try:
            return trainer.total(work, shared, self.private.parameters, self.population, cohort, seed, bound)
        except ValueError as error:
            if isinstance(error, TacitError):
                raise
            if not self._hides:
                raise ProtocolError(f"round {round} cannot be summed: {error}") from error
            for name, values in kept.items():  # as if they had nothing to say: a server that learned who cannot compute
                self.private.own[name][cohort] = values  # with what it sent would learn of their rows
            return contribution_like(self.plan, shared, self.population.schema, round)

    def _contribution(self, shared: Params, clients: Array, request: Request) -> Vector:
        """(k,) float64: the sum of some clients' contributions, each encoded by every transform.

        Where transforms only bound, clients are bounded and added inside the trainer.
        """
        plan, round = self.plan, request.round
        parameters, told = protection.without(shared), protection.unpacked(plan, shared)
        if not plan.per_client and len(clients) != 1:
            return flatten(self._total(parameters, clients, round, plan.clip_norm))
        everyone, parties = (int(request.config.get(key, self.clients)) for key in ("clients", "parties"))
        turns: tuple[Turn, ...] = ()
        total = np.zeros(0)
        if plan.secure_sum is None and len(clients) > 1 and all(getattr(t, "linear", False) for t in plan.protect):
            x = flatten(self._total(parameters, clients, round, None))  # encoding is linear: of the sum, just once
            turns = protection.turns(plan, round, len(x), everyone, parties, told)
            encoded, _ = protection.encode(plan, x, turns, stream(plan, "encode", round, self.first))
            message = messages.message(plan.protect, turns, encoded)
            self._sent += messages.size(message) * len(clients)  # a message's size does not depend on its values
            return encoded
        for client in clients.tolist():
            x = flatten(self._total(parameters, np.array([client]), round, None if plan.per_client else plan.clip_norm))
            if not turns:
                turns = protection.turns(plan, round, len(x), everyone, parties, told)
            memory = self.private.own[protection.MEMORY][client] if protection.MEMORY in self.private.own else None
            source = stream(plan, "encode", round, self.first + client)
            encoded, kept = protection.encode(plan, x, turns, source, memory)
            if kept is not None:
                self.private.own[protection.MEMORY][client] = kept
            if plan.per_client and plan.secure_sum is None:  # what is added is what a message brought over
                message = messages.message(plan.protect, turns, encoded)
                self._sent += messages.size(message)
                encoded = messages.opened(plan.protect, turns, message)
            total = encoded if not len(total) else total + encoded
        return total
