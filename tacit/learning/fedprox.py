"""Federated averaging with a proximal term that keeps clients near the global model.

T. Li, A. K. Sahu, M. Zaheer, M. Sanjabi, A. Talwalkar, V. Smith: "Federated Optimization in Heterogeneous Networks",
MLSys 2020, https://arxiv.org/abs/1812.06127, Algorithm 2. Differs from the paper: a fixed number of local epochs for
everybody instead of a varying amount of inexact work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tacit.core.protocols import LocalWork, Model, Statistics
from tacit.core.values import Params, Schema, State
from tacit.learning.averaging import mean, moved, refuses, start
from tacit.learning.sgd import SGD


@dataclass(frozen=True, slots=True)
class FedProx:
    """Federated averaging whose local loss gains mu / 2 * |shared - global|^2."""

    local: SGD = SGD()
    mu: float = 0.01
    weighting: str = "uniform"

    def __post_init__(self) -> None:
        if self.mu < 0.0:
            raise ValueError(f"mu must be at least 0, got {self.mu}")

    def refuses(self, model: Model) -> str | None:
        """Models without a loss."""
        return refuses(self, model, self.weighting)

    def private(self, model: Model) -> tuple[str, ...]:
        """What the model keeps private."""
        return model.private

    def init(self, model: Model, schema: Schema, seed: int) -> State:
        """The model's shared initial values."""
        return start(model, schema, seed, self.private(model))

    def work(self, model: Model, round: int) -> LocalWork | Statistics:
        """Local SGD on the loss with its proximal term."""
        return replace(self.local.work(model, self.private(model), self.weighting), prox=self.mu)

    def update(self, state: State, model: Model, total: Params, clients: float, round: int) -> State:
        """Move by the mean delta."""
        return State(moved(state.shared, mean(total, clients)), state.server)
