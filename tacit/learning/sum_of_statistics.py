"""Learning from sums: each client contributes sufficient statistics, the server solves.

Covers closed-form models in one round (Gram matrices, counts) and alternating ones in several (implicit ALS).
"""

from __future__ import annotations

from dataclasses import dataclass

from tacit.core.protocols import LocalWork, Model, Statistics, StatisticsModel
from tacit.core.values import Params, Population, Schema, State
from tacit.learning.averaging import start


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """A statistics model's own sums, as work for a trainer."""

    model: StatisticsModel

    def sums(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """(sums over these clients, their new private parameters)."""
        return self.model.statistics(shared, own, clients)


@dataclass(frozen=True, slots=True)
class SumOfStatistics:
    """Round: sum the model's statistics over the cohort, solve for the next shared parameters."""

    @property
    def weighting(self) -> str:
        """Sums are not weighted."""
        return "uniform"

    def refuses(self, model: Model) -> str | None:
        """Models that are not solved from sums."""
        if isinstance(model, StatisticsModel):
            return None
        return f"{type(model).__name__} has no statistics to sum. Use FedAvg or another algorithm of gradient steps."

    def private(self, model: Model) -> tuple[str, ...]:
        """What the model keeps private."""
        return model.private

    def init(self, model: Model, schema: Schema, seed: int) -> State:
        """The model's shared initial values."""
        return start(model, schema, seed, self.private(model))

    def work(self, model: Model, round: int) -> LocalWork | Statistics:
        """The model's statistics."""
        assert isinstance(model, StatisticsModel)  # the plan was refused otherwise
        return ModelStatistics(model)

    def update(self, state: State, model: Model, total: Params, clients: float, round: int) -> State:
        """What the model solves from the sums; a sum of no clients moves nothing."""
        assert isinstance(model, StatisticsModel)
        if clients <= 0.0:
            return state
        return State(model.solve(state.shared, total, clients), state.server)
