"""What most layers around the sum have in common, so that each file states what is its own."""

from __future__ import annotations

from tacit.core.protocols import Randomness
from tacit.core.values import Event, Turn, Vector


class Layer:
    """A layer that adds no noise, loses nothing, bounds nothing and gives the sum back as it came.

    A part of `core.protocols.Transform` that a file of `transforms/` may take over, or not; what remains is `encode`.
    """

    __slots__ = ()

    @property
    def noisy(self) -> bool:
        """Whether encoding or decoding adds noise, which `event` then charges."""
        return False

    @property
    def per_client(self) -> bool:
        """Whether each client's own contribution is encoded before any are added."""
        return False

    @property
    def lossy(self) -> bool:
        """Whether the sum comes back only approximately, apart from noise."""
        return False

    @property
    def bound(self) -> float | None:
        """L2 norm that no encoded contribution exceeds; None = it bounds nothing."""
        return None

    def length(self, turn: Turn) -> int:
        """As many values as come in."""
        return turn.size

    def reach(self, bound: float, turn: Turn) -> float:
        """The smaller one of the layer's own bound and what comes in, which it does not lengthen."""
        return bound if self.bound is None else min(bound, self.bound)

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """The sum, unchanged."""
        return total

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """No privacy event: nothing is protected."""
        return None
