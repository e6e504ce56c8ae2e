"""Personalisation layers: the last layer stays on each client.

M. G. Arivazhagan, V. Aggarwal, A. K. Singh, S. Choudhary: "Federated Learning with Personalization Layers", 2019,
https://arxiv.org/abs/1912.00818. Differs from the paper: SGD without momentum, clients weigh equally.
"""

from __future__ import annotations

from dataclasses import dataclass

from tacit.core.protocols import LocalWork, Model, Statistics
from tacit.core.values import Params, Schema, State
from tacit.learning.averaging import mean, moved, personal, refuses_personal, start
from tacit.learning.sgd import SGD


@dataclass(frozen=True, slots=True)
class FedPer:
    """Federated averaging of everything but the personal layers, which train locally at the same time."""

    local: SGD = SGD()
    personal: tuple[str, ...] = ()  # parameter names; empty = the model's head
    weighting: str = "uniform"

    def refuses(self, model: Model) -> str | None:
        """Models without a loss, and personal layers that they have not."""
        return refuses_personal(self, model, self.personal, self.weighting)

    def private(self, model: Model) -> tuple[str, ...]:
        """The personal layers and what the model keeps private anyway."""
        return personal(model, self.personal)

    def init(self, model: Model, schema: Schema, seed: int) -> State:
        """The shared initial values."""
        return start(model, schema, seed, self.private(model))

    def work(self, model: Model, round: int) -> LocalWork | Statistics:
        """Local SGD on shared and personal parameters together."""
        return self.local.work(model, self.private(model), self.weighting)

    def update(self, state: State, model: Model, total: Params, clients: float, round: int) -> State:
        """Move the shared part by the mean delta."""
        return State(moved(state.shared, mean(total, clients)), state.server)
