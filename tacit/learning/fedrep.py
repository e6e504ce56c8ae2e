"""Shared representation, personal head: first the head is fitted, then the representation takes its step.

L. Collins, H. Hassani, A. Mokhtari, S. Shakkottai: "Exploiting Shared Representations for Personalized Federated
Learning", ICML 2021, https://arxiv.org/abs/2102.07078, Algorithm 1. Differs from the paper: the head starts from where
the client left it rather than anew, and the representation may take more than one epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tacit.core.protocols import LocalWork, Model, Statistics
from tacit.core.values import Params, Schema, State
from tacit.learning.averaging import mean, moved, personal, refuses_personal, start
from tacit.learning.sgd import SGD


@dataclass(frozen=True, slots=True)
class FedRep:
    """`head_epochs` epochs on the personal head alone, then `local.epochs` epochs on the shared part alone."""

    local: SGD = SGD()
    head_epochs: int = 2
    personal: tuple[str, ...] = ()  # parameter names; empty = the model's head
    weighting: str = "uniform"

    def __post_init__(self) -> None:
        if self.head_epochs < 1:
            raise ValueError(f"head_epochs must be at least 1, got {self.head_epochs}")

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
        """Local SGD in two phases."""
        work = self.local.work(model, self.private(model), self.weighting)
        return replace(work, epochs=self.head_epochs + self.local.epochs, head_epochs=self.head_epochs)

    def update(self, state: State, model: Model, total: Params, clients: float, round: int) -> State:
        """Move the shared part by the mean delta."""
        return State(moved(state.shared, mean(total, clients)), state.server)
