"""The settings of local stochastic gradient descent, shared by every algorithm that takes such steps."""

from __future__ import annotations

from dataclasses import dataclass

from tacit.core.protocols import LossModel, Model
from tacit.learning.local_sgd import LocalSGD


@dataclass(frozen=True, slots=True)
class SGD:
    """Plain SGD: `epochs` passes over a client's examples in batches, each step lr * gradient of the batch mean."""

    lr: float = 0.1
    epochs: int = 1
    batch_size: int = 32
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not self.lr > 0.0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}")

    def work(self, model: Model, private: tuple[str, ...], weighting: str) -> LocalSGD:
        """One client's work with these settings."""
        assert isinstance(model, LossModel)  # the plan was refused otherwise
        return LocalSGD(
            model, private, self.lr, self.epochs, self.batch_size, shuffle=self.shuffle, weighting=weighting
        )
