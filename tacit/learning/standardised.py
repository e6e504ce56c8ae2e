"""Federated standardisation: the first round sums columns and their squares, then the inner algorithm learns.

The variance is mean square minus squared mean in float64; columns with mean^2 >> variance lose digits (sharp-edges.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Algorithm, LocalWork, LossModel, Model, Statistics
from tacit.core.values import Params, Population, Schema, State
from tacit.learning.fedavg import FedAvg
from tacit.privacy.wide import join, split


@dataclass(frozen=True, slots=True)
class ColumnMoments:
    """Count, sum and sum of squares of each column: sums over rows, so sums over clients. As limbs, see
    privacy.wide.
    """

    @property
    def ranges(self) -> dict[str, float]:
        """Limbs are below 2^20."""
        return {"count": 2.0**20, "sum": 2.0**20, "square": 2.0**20}

    @property
    def whole(self) -> tuple[str, ...]:
        """Limbs are whole numbers."""
        return ("count", "sum", "square")

    @property
    def limbs(self) -> tuple[str, ...]:
        """What clipping, noise or a median would garble: a plan with these is refused."""
        return self.whole

    def sums(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """count (4,), sum (4, features), square (4, features)."""
        x = np.asarray(clients.fields["x"], np.float64)
        count = np.asarray(float(len(x)))
        return {"count": split(count), "sum": split(x.sum(axis=0)), "square": split(np.square(x).sum(axis=0))}, dict(
            own
        )


@dataclass(frozen=True, slots=True)
class Standardised:
    """Round 1 sets the model's mean and scale from federated moments; the other rounds belong to `inner`."""

    inner: Algorithm = FedAvg()

    @property
    def weighting(self) -> str:
        """As the inner algorithm."""
        return self.inner.weighting

    def refuses(self, model: Model) -> str | None:
        """Models without a mean and scale to set."""
        if not (isinstance(model, LossModel) and {"mean", "scale"} <= set(model.constants)):
            return f"Standardised sets the constants mean and scale, but {type(model).__name__} has none"
        if hasattr(getattr(self.inner, "local", None), "events"):
            return (
                "Standardised has clients sum their columns without noise in the first round, and their steps shall "
                "protect each example: use PublicScale, which sets mean and scale from public numbers"
            )
        return self.inner.refuses(model)

    def private(self, model: Model) -> tuple[str, ...]:
        """As the inner algorithm."""
        return self.inner.private(model)

    def init(self, model: Model, schema: Schema, seed: int) -> State:
        """As the inner algorithm."""
        return self.inner.init(model, schema, seed)

    def work(self, model: Model, round: int) -> LocalWork | Statistics:
        """Moments in round 1, then the inner work."""
        return ColumnMoments() if round == 1 else self.inner.work(model, round - 1)

    def update(self, state: State, model: Model, total: Params, clients: float, round: int) -> State:
        """Mean and standard deviation in round 1 (a constant column keeps scale 1), then the inner update."""
        if round > 1:
            return self.inner.update(state, model, total, clients, round - 1)
        count = max(float(join(total["count"])), 1.0)
        mean = join(total["sum"]) / count
        scale = np.sqrt(np.maximum(join(total["square"]) / count - mean**2, 0.0))
        scale = np.where(scale > 1e-6, scale, 1.0)
        shared = {**state.shared, "mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}
        return State(shared, state.server)
