"""An algorithm that also keeps the sum it was given: how an attack looks at a training without touching its path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Algorithm, LocalWork, Model, Statistics
from tacit.core.trees import flatten
from tacit.core.values import Params, Schema, State, Vector
from tacit.learning.fedavg import FedAvg

SEEN = "#seen/"  # before the names of a round's decoded sums, in the server's state


@dataclass(frozen=True, slots=True)
class Watched:
    """Behaves as `inner`; the decoded sum of each round (noise included) stands in the server's state."""

    inner: Algorithm = FedAvg()

    @property
    def weighting(self) -> str:
        """The inner algorithm's."""
        return self.inner.weighting

    @property
    def example_clip(self) -> float | None:
        """What the inner algorithm clips each example to, if it does."""
        clip: float | None = getattr(self.inner, "example_clip", None)
        return clip

    def refuses(self, model: Model) -> str | None:
        """What the inner algorithm refuses."""
        return self.inner.refuses(model)

    def private(self, model: Model) -> tuple[str, ...]:
        """The inner algorithm's."""
        return self.inner.private(model)

    def init(self, model: Model, schema: Schema, seed: int) -> State:
        """The inner algorithm's."""
        return self.inner.init(model, schema, seed)

    def work(self, model: Model, round: int) -> LocalWork | Statistics:
        """The inner algorithm's."""
        return self.inner.work(model, round)

    def update(self, state: State, model: Model, total: Params, clients: float, round: int) -> State:
        """The inner algorithm's, with the sum beside it."""
        own = {name: value for name, value in state.server.items() if not name.startswith(SEEN)}
        after = self.inner.update(State(state.shared, own), model, total, clients, round)
        return State(after.shared, {**after.server, **{SEEN + name: np.asarray(v) for name, v in total.items()}})


def seen(state: State) -> Vector:
    """(d,) float64: the decoded sum of the newest round."""
    return flatten({name: value for name, value in state.server.items() if name.startswith(SEEN)})
