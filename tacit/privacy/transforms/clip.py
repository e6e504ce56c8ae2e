"""Bound each client's contribution, without noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tacit.core.protocols import Randomness
from tacit.core.values import Event, Turn, Vector
from tacit.privacy.clip import clipped


@dataclass(frozen=True, slots=True)
class Clip:
    """Scale each contribution to L2 norm at most `norm`; bounds what one client can do, hides nothing."""

    norm: float = 1.0

    def __post_init__(self) -> None:
        if not self.norm > 0.0 or not math.isfinite(self.norm):
            raise ValueError(f"Clip needs a finite norm > 0, got {self.norm}")

    @property
    def bound(self) -> float | None:
        """L2 norm that no encoded contribution exceeds."""
        return self.norm

    @property
    def noisy(self) -> bool:
        """Clipping alone is not private."""
        return False

    @property
    def per_client(self) -> bool:
        """It only bounds: trainers do so before they add."""
        return False

    @property
    def lossy(self) -> bool:
        """What is within the bound comes back."""
        return False

    def length(self, turn: Turn) -> int:
        """As many values as come in."""
        return turn.size

    def reach(self, bound: float, turn: Turn) -> float:
        """The bound."""
        return min(bound, self.norm)

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The contribution, scaled back into the ball."""
        return clipped(x, self.norm)

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """The sum, unchanged."""
        return total

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """No privacy event: nothing is protected."""
        return None
