"""Bound each client's contribution, without noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tacit.core.protocols import Randomness
from tacit.core.values import Turn, Vector
from tacit.privacy.clip import clipped
from tacit.privacy.layer import Layer


@dataclass(frozen=True, slots=True)
class Clip(Layer):
    """Scale each contribution to L2 norm at most `norm`; bounds what one client can do, hides nothing."""

    norm: float = 1.0

    def __post_init__(self) -> None:
        if not self.norm > 0.0 or not math.isfinite(self.norm):
            raise ValueError(f"Clip needs a finite norm > 0, got {self.norm}")

    @property
    def bound(self) -> float | None:
        """L2 norm that no encoded contribution exceeds."""
        return self.norm

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The contribution, scaled back into the ball."""
        return clipped(x, self.norm)
