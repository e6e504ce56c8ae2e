"""Adaptive federated optimisation: Yogi on the server.

S. Reddi et al.: "Adaptive Federated Optimization", ICLR 2021, https://arxiv.org/abs/2003.00295, Algorithm 2 (FedYogi).
Differs from the paper: clients weigh equally by default.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import LocalWork, Model, Statistics
from tacit.core.values import Params, Schema, State
from tacit.learning.averaging import mean, moved, refuses, start
from tacit.learning.sgd import SGD


@dataclass(frozen=True, slots=True)
class FedYogi:
    """Local SGD; the server treats the mean delta as a gradient. Its second moment is a sum that follows the squares
    slowly.
    """

    local: SGD = SGD()
    server_lr: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3  # degree of adaptivity: added to the root of the second moment
    weighting: str = "uniform"

    def __post_init__(self) -> None:
        if not (0.0 <= self.beta1 < 1.0 and 0.0 <= self.beta2 < 1.0 and self.tau > 0.0):
            raise ValueError(f"betas must be in [0, 1) and tau above 0, got {self.beta1}, {self.beta2}, {self.tau}")

    def refuses(self, model: Model) -> str | None:
        """Models without a loss."""
        return refuses(self, model, self.weighting)

    def private(self, model: Model) -> tuple[str, ...]:
        """What the model keeps private."""
        return model.private

    def init(self, model: Model, schema: Schema, seed: int) -> State:
        """The shared initial values and both moments, first/* and second/*."""
        state = start(model, schema, seed, self.private(model))
        first = {f"first/{name}": np.zeros(np.shape(value)) for name, value in state.shared.items()}
        second = {f"second/{name}": np.full(np.shape(value), self.tau**2) for name, value in state.shared.items()}
        return State(state.shared, first | second)

    def work(self, model: Model, round: int) -> LocalWork | Statistics:
        """Local SGD."""
        return self.local.work(model, self.private(model), self.weighting)

    def update(self, state: State, model: Model, total: Params, clients: float, round: int) -> State:
        """One Yogi step along the mean delta."""
        server, steps = dict(state.server), {}
        for name, step in mean(total, clients).items():
            first = self.beta1 * server[f"first/{name}"] + (1.0 - self.beta1) * step
            second = server[f"second/{name}"]
            second = second - (1.0 - self.beta2) * step**2 * np.sign(second - step**2)
            server[f"first/{name}"], server[f"second/{name}"] = first, second
            steps[name] = self.server_lr * first / (np.sqrt(second) + self.tau)
        return State(moved(state.shared, steps), server)
