"""The client side: the only code that touches local rows. One worker answers for one node and the clients it hosts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tacit.core.plan import Plan
from tacit.core.trees import flatten
from tacit.core.values import Address, Array, Params, Population, ProtocolError, Reply, Request, Vector
from tacit.federation.cohort import COHORT, vanishes
from tacit.federation.private_store import PrivateStore
from tacit.federation.randomness import stream
from tacit.federation.sessions import Sessions
from tacit.learning.contribution import contribution_like
from tacit.learning.examples import round_seed
from tacit.learning.trainers.choice import trainer_of
from tacit.privacy.secure_sum import wire


class Worker:
    """Holds a node's rows and its clients' private parameters; answers "train", "train/each" and secure-sum stages."""

    def __init__(self, plan: Plan, population: Population, store: Path | None = None) -> None:
        """`store` is this node's own folder for its clients' private parameters; None keeps them in memory only."""
        self.plan = plan
        self.population = population
        self.first = population.first
        self.private = PrivateStore(plan, population, store)
        self._digest = plan.digest()
        parties = 1 if plan.secure_between == "nodes" else len(population)
        self.sessions = Sessions(plan, population.schema, parties, self._contribution)

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
                return self.sessions.enrol(request, self.first)
            case "trust":
                return self.sessions.trust(request)
            case "commit":
                self.private.commit(request.round)
                return Reply()
        self.private.begin(request.round)
        if request.kind.startswith(wire.KIND):
            return self._secure(address, request)
        cohort = self._present(np.asarray(request.arrays[COHORT], np.int64), request.round)
        shared = {name: value for name, value in request.arrays.items() if name != COHORT}
        if request.kind == "train":
            return Reply(self._total(shared, cohort, request.round), {"clients": len(cohort)})
        if request.kind == "train/each":
            updates = [self._contribution(shared, cohort[i : i + 1], request.round) for i in range(len(cohort))]
            return Reply({"updates": np.stack(updates) if updates else np.zeros((0, 0))}, {"clients": len(cohort)})
        raise ProtocolError(f"unknown request kind {request.kind!r}")

    def _secure(self, address: Address, request: Request) -> Reply | None:
        if self.plan.secure_sum is None:
            raise ProtocolError(f"{address} was asked for a secure sum, but its plan has none")
        _, _, index = address.partition("/")
        if self.plan.secure_between == "nodes":
            cohort = self._present(np.asarray(request.arrays.get(COHORT, []), np.int64), request.round)
            return self.sessions.answer(address, 0, request, cohort)
        client = int(index) if index.isdecimal() else -1
        if not 0 <= client < self.clients:
            raise ProtocolError(f"{address} is not hosted here: this node has {self.clients} clients")
        late = wire.STAGES.index(request.kind.removeprefix(wire.KIND)) >= wire.STAGES.index("masked")
        if late and self._gone(client, request.round):
            return None
        return self.sessions.answer(address, client, request, np.array([client]))

    def _present(self, cohort: Array, round: int) -> Array:
        if len(cohort) and (cohort.min() < 0 or cohort.max() >= self.clients or len(np.unique(cohort)) != len(cohort)):
            raise ProtocolError(f"a cohort must name clients 0 to {self.clients - 1}, each once")
        return cohort[[not self._gone(int(c), round) for c in cohort]] if self.plan.dropout else cohort

    def _gone(self, client: int, round: int) -> bool:
        return vanishes(self.plan, self.first + client, round)

    def _total(self, shared: Params, cohort: Array, round: int) -> Params:
        """Sums over a cohort; bounded inside the trainer, so that no update of a single client is ever kept."""
        if len(cohort) == 0:
            return contribution_like(self.plan, shared, self.population.schema, round)
        work = self.plan.algorithm.work(self.plan.model, round)
        seed = round_seed(self.plan.seed, round)
        bound = self.plan.clip_norm
        return trainer_of(self.plan, work).total(work, shared, self.private.own, self.population, cohort, seed, bound)

    def _contribution(self, shared: Params, clients: Array, round: int) -> Vector:
        """(d,) float64: one client's contribution, encoded by every transform; or the sum of several bounded ones."""
        x = flatten(self._total(shared, clients, round))
        if len(clients) != 1:
            return x
        source = stream(self.plan, "encode", round, self.first + int(clients[0]))
        for transform in self.plan.protect:
            x = transform.encode(x, source)
        return x
