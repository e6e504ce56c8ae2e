"""Gradient descent on sums of clipped example gradients: DP-SGD across institutions, with one noise for all of them.

M. Abadi et al.: "Deep Learning with Differential Privacy", CCS 2016, https://arxiv.org/abs/1607.00133, Algorithm 1.
Differs from the paper: the examples are spread over clients, each sends its sum, and the noise is put on the sum of all
(`DistributedGaussian(examples = ...)` inside a secure sum), so that eight institutions pay for privacy what one that
held all rows would pay, where each adding its own would pay sqrt(8) times as much; every example takes part in every
step, which costs least where the noise is large; momentum and averaging of steps, which are free of budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tacit.core.protocols import LocalWork, LossModel, Model, Statistics
from tacit.core.values import Params, Population, Schema, State
from tacit.learning.averaging import moved, start
from tacit.learning.example_gradients import clipped_sum, refuses_examples


@dataclass(frozen=True, slots=True)
class ExampleGradients:
    """Sums over rows of clipped gradients: they add over any number of clients."""

    scored: LossModel  # not `model`: the sums are gradients, not the statistics of the model
    clip: float

    def sums(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """({name: float64 sum of clipped gradients}, nothing private)."""
        params = {name: torch.tensor(value) for name, value in shared.items()}
        found = clipped_sum(self.scored, params, clients.fields, self.clip)
        return {name: value.numpy() for name, value in found.items()}, {}


@dataclass(frozen=True, slots=True)
class ExampleSGD:
    """velocity = momentum * velocity + sum of clipped gradients / rows; shared -= server_lr * velocity.

    Guarantees:
        one example moves the sum by at most clip in L2.
        what a client sends is a sum over its rows.
    """

    server_lr: float = 1.0
    clip: float = 1.0  # L2 norm that no single example's gradient exceeds; the noise mechanism's clip_norm
    rows: int = 1000  # examples of all clients together, as publicly known: only the scale of a step
    momentum: float = 0.8
    smoothing: float = 0.9  # of the running average of the models
    settle: int = 0  # the round after which the shared model is that average: the last one; 0 = never

    def __post_init__(self) -> None:
        if not (self.server_lr > 0.0 and self.clip > 0.0 and self.rows > 0):
            raise ValueError(
                f"server_lr, clip and rows must be above 0, got {self.server_lr}, {self.clip} and {self.rows}"
            )
        if not (0.0 <= self.momentum < 1.0 and 0.0 <= self.smoothing < 1.0 and self.settle >= 0):
            raise ValueError(
                "momentum and smoothing must be in [0, 1) and settle at least 0, got "
                f"{self.momentum}, {self.smoothing} and {self.settle}"
            )

    @property
    def weighting(self) -> str:
        """Sums are not weighted."""
        return "uniform"

    @property
    def example_clip(self) -> float:
        """What calibration compares with the mechanism's clip norm."""
        return self.clip

    def refuses(self, model: Model) -> str | None:
        """Models without gradients of single examples."""
        return refuses_examples(model)

    def private(self, model: Model) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def init(self, model: Model, schema: Schema, seed: int) -> State:
        """The model's initial values, a velocity of zero, and their average so far."""
        state = start(model, schema, seed, ())
        return State(state.shared, {f"average/{name}": np.asarray(v, float) for name, v in state.shared.items()})

    def work(self, model: Model, round: int) -> LocalWork | Statistics:
        """Clipped gradients."""
        assert isinstance(model, LossModel)  # the plan was refused otherwise
        return ExampleGradients(model, self.clip)

    def update(self, state: State, model: Model, total: Params, clients: float, round: int) -> State:
        """One step; a sum of no clients moves nothing."""
        if clients <= 0.0:
            return state
        server, step = dict(state.server), {}
        for name, value in total.items():
            velocity = self.momentum * np.asarray(server.get(f"velocity/{name}", 0.0)) + value / self.rows
            server[f"velocity/{name}"] = velocity
            step[name] = -self.server_lr * velocity
        shared = dict(moved(state.shared, step))
        for name, value in shared.items():
            kept = self.smoothing * np.asarray(server.get(f"average/{name}", value))
            server[f"average/{name}"] = kept + (1.0 - self.smoothing) * np.asarray(value, float)
        if round == self.settle:
            shared = {name: np.asarray(server[f"average/{name}"], value.dtype) for name, value in shared.items()}
        return State(shared, server)
