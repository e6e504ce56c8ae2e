"""Federated averaging.

H. B. McMahan, E. Moore, D. Ramage, S. Hampson, B. Agueera y Arcas: "Communication-Efficient Learning of Deep Networks
from Decentralized Data", AISTATS 2017, https://arxiv.org/abs/1602.05629, Algorithm 1.
Differs from the paper: clients send deltas, never whole models (a float32 sum of near-identical models loses several
per cent of their movement), and by default weigh equally, as client-level privacy needs it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tacit.core.protocols import LocalWork, Model, Statistics
from tacit.core.values import Params, Schema, State
from tacit.learning.averaging import mean, moved, refuses, start
from tacit.learning.sgd import SGD


@dataclass(frozen=True, slots=True)
class FedAvg:
    """Local SGD, then shared += server_lr * mean(delta).

    With `cooling`, round t takes server_lr * (1 - (t - 1) / cooling), and rounds beyond it nothing: late steps average
    over cohorts, and over what compression and noise leave behind.
    """

    local: SGD = SGD()
    server_lr: float = 1.0
    weighting: str = "uniform"  # or "rows": the mean is weighted by each client's number of rows
    cooling: int | None = None  # rounds over which server_lr falls to nothing in a straight line; None = it stays

    def __post_init__(self) -> None:
        if self.cooling is not None and self.cooling < 1:
            raise ValueError(f"cooling must be a number of rounds from 1, or left out, got {self.cooling}")

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
        """Local SGD."""
        return self.local.work(model, self.private(model), self.weighting)

    def update(self, state: State, model: Model, total: Params, clients: float, round: int) -> State:
        """Move by the mean delta."""
        rate = self.server_lr * (max(0.0, 1.0 - (round - 1) / self.cooling) if self.cooling else 1.0)
        step = {name: rate * value for name, value in mean(total, clients).items()}
        return State(moved(state.shared, step), state.server)
