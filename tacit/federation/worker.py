"""The client side: the only code that touches local rows. One worker answers for one node and the clients it hosts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tacit.core.plan import Plan
from tacit.core.trees import flatten
from tacit.core.values import Address, Array, Params, Population, ProtocolError, Reply, Request, TacitError, Vector
from tacit.federation.cohort import COHORT, vanishes
from tacit.federation.private_store import PrivateStore
from tacit.federation.randomness import stream
from tacit.federation.sessions import Sessions
from tacit.learning.contribution import contribution_like
from tacit.learning.examples import round_seed
from tacit.learning.trainers.choice import trainer_of
from tacit.privacy.secure_sum import wire

STAGES = tuple(wire.KIND + stage for stage in wire.STAGES)
MASKED = wire.STAGES.index("masked")  # the stage from which on a client that has dropped out is silent


class Worker:
    """Holds a node's rows and its clients' private parameters; answers "train", "train/each" and secure-sum stages."""

    def __init__(self, plan: Plan, population: Population, store: Path | None = None, watched: bool = False) -> None:
        """`store` is this node's own folder for its clients' private parameters; None keeps them in memory only."""
        self.plan = plan
        self.population = population
        self.first = population.first
        self.private = PrivateStore(plan, population, store)
        self._digest = plan.digest()
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
                self.private.commit(request.round)
                return Reply()
        if request.kind in STAGES:
            return self._secure(address, request)
        if request.kind not in ("train", "train/each"):
            raise ProtocolError(f"unknown request kind {request.kind!r}")
        if self.plan.secure_sum is not None:
            raise ProtocolError(
                f"{address} gives its contribution away only through the secure sum of its plan: refused"
            )
        if request.kind == "train/each" and self.plan.aggregator is None:
            raise ProtocolError(f"{address} was asked for single updates, but its plan needs only the sum: refused")
        cohort = self._present(request)
        shared = {name: value for name, value in request.arrays.items() if name != COHORT}
        if request.kind == "train":
            return Reply(self._total(shared, cohort, request.round), {"clients": len(cohort)})
        updates = [self._contribution(shared, cohort[i : i + 1], request.round) for i in range(len(cohort))]
        return Reply({"updates": np.stack(updates) if updates else np.zeros((0, 0))}, {"clients": len(cohort)})

    def _secure(self, address: Address, request: Request) -> Reply | None:
        if self.plan.secure_sum is None:
            raise ProtocolError(f"{address} was asked for a secure sum, but its plan has none")
        _, by_client, index = address.partition("/")
        stage = STAGES.index(request.kind)
        if self.plan.secure_between == "nodes":
            if by_client:
                raise ProtocolError(f"{address} is not hosted here as a party: this node speaks for all its clients")
            if stage != MASKED:
                return self.sessions.answer(address, 0, request, np.zeros(0, np.int64))
            if self.plan.cohort == 0 and len(request.arrays.get(COHORT, ())) != self.clients:
                raise ProtocolError(
                    f"{address} was asked for some of its clients, but its plan takes all in each round"
                )
            cohort = self._present(request)
            return replace(self.sessions.answer(address, 0, request, cohort), config={"clients": len(cohort)})
        client = int(index) if index.isascii() and index.isdecimal() else -1
        if not 0 <= client < self.clients:
            raise ProtocolError(f"{address} is not hosted here: this node has {self.clients} clients")
        if stage >= MASKED and self._gone(client, request.round):
            return None
        return self.sessions.answer(address, client, request, np.array([client]))

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

    def _total(self, shared: Params, cohort: Array, round: int) -> Params:
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
        bound = self.plan.clip_norm
        trainer = trainer_of(self.plan, work)
        self.private.begin(round)
        try:
            return trainer.total(work, shared, self.private.own, self.population, cohort, seed, bound)
        except ValueError as error:
            if isinstance(error, TacitError):
                raise
            raise ProtocolError(f"round {round} cannot be summed: {error}") from error

    def _contribution(self, shared: Params, clients: Array, round: int) -> Vector:
        """(d,) float64: one client's contribution, encoded by every transform; or the sum of several bounded ones."""
        x = flatten(self._total(shared, clients, round))
        if len(clients) != 1:
            return x
        source = stream(self.plan, "encode", round, self.first + int(clients[0]))
        for transform in self.plan.protect:
            x = transform.encode(x, source)
        return x
