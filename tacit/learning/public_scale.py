"""Centre and scale columns by public numbers that stand in the plan, so that no budget is spent on finding them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Algorithm, LocalWork, Model, Statistics
from tacit.core.values import Params, PlanError, Schema, State
from tacit.learning.example_sgd import ExampleSGD


@dataclass(frozen=True, slots=True)
class PublicScale:
    """Sets the model's `mean` and `scale`, then is its inner algorithm.

    The numbers must come from public knowledge (a code book, common sense): means of the data themselves would be a
    release that nobody accounts for. Standardised takes federated means instead, without privacy.
    """

    centre: tuple[float, ...] = ()  # of the first columns; 0 for the others
    spread: tuple[float, ...] = ()  # of the first columns
    rest: float = 1.0  # spread of the other columns: the smaller, the faster their weights move
    inner: Algorithm = ExampleSGD()

    def __post_init__(self) -> None:
        if len(self.centre) != len(self.spread):
            raise ValueError(f"centre has {len(self.centre)} numbers and spread {len(self.spread)}: give as many")
        if not all(value > 0.0 for value in (*self.spread, self.rest)):
            raise ValueError(f"spread and rest must be above 0, got {self.spread} and {self.rest}")

    @property
    def weighting(self) -> str:
        """As the inner algorithm."""
        return self.inner.weighting

    @property
    def example_clip(self) -> float | None:
        """As the inner algorithm."""
        return getattr(self.inner, "example_clip", None)

    def refuses(self, model: Model) -> str | None:
        """Models without a mean and scale to set, and what the inner algorithm refuses."""
        if not {"mean", "scale"} <= set(getattr(model, "constants", ())):
            return f"PublicScale sets a model's mean and scale, but {type(model).__name__} has none"
        return self.inner.refuses(model)

    def private(self, model: Model) -> tuple[str, ...]:
        """As the inner algorithm."""
        return self.inner.private(model)

    def init(self, model: Model, schema: Schema, seed: int) -> State:
        """The inner state with these means and scales.

        Raises:
            PlanError: more numbers than the data have columns.
        """
        if len(self.centre) > schema.features:
            raise PlanError(f"PublicScale has {len(self.centre)} numbers, but the data have {schema.features} columns")
        state = self.inner.init(model, schema, seed)
        mean, scale = np.zeros(schema.features), np.full(schema.features, self.rest)
        mean[: len(self.centre)], scale[: len(self.spread)] = self.centre, self.spread
        changed = {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}
        server = {name: changed.get(name.removeprefix("average/"), value) for name, value in state.server.items()}
        return State({**state.shared, **changed}, server)

    def work(self, model: Model, round: int) -> LocalWork | Statistics:
        """As the inner algorithm."""
        return self.inner.work(model, round)

    def update(self, state: State, model: Model, total: Params, clients: float, round: int) -> State:
        """As the inner algorithm."""
        return self.inner.update(state, model, total, clients, round)
