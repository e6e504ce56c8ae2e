"""The Gaussian mechanism on the sum, at the level of the client.

H. B. McMahan, D. Ramage, K. Talwar, L. Zhang: "Learning Differentially Private Recurrent Language Models", ICLR 2018,
https://arxiv.org/abs/1710.06963, Algorithm 1. Differs from the paper: the sum is divided by the expected cohort where
an algorithm divides at all, and epsilon is composed by privacy loss distributions instead of the moments accountant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tacit.core.protocols import Randomness
from tacit.core.values import Event, Turn, Vector
from tacit.privacy.clip import clipped


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Clip each client to L2 norm `clip_norm`, add normal noise of `noise_multiplier * clip_norm` to the sum once.

    Guarantees:
        the noise on each coordinate has mean 0 and standard deviation noise_multiplier * clip_norm.
        one client moves the sum before noise by at most clip_norm in L2.
    """

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0  # noise standard deviation / clip norm, dimensionless; 0 = from `epsilon`
    epsilon: float = 0.0  # target; used only when noise_multiplier is 0
    delta: float = 1e-5  # of the stated (epsilon, delta); take it well below 1 / clients

    def __post_init__(self) -> None:
        if not self.clip_norm > 0.0 or not math.isfinite(self.clip_norm):
            raise ValueError(f"Gaussian needs a finite clip_norm > 0, got {self.clip_norm}")
        noisy = self.noise_multiplier > 0.0 and math.isfinite(self.noise_multiplier)
        if not noisy and not (self.noise_multiplier == 0.0 and 0.0 < self.epsilon < math.inf):
            raise ValueError(
                f"Gaussian needs a finite noise_multiplier > 0, or noise_multiplier = 0 and a finite epsilon > 0, got "
                f"noise_multiplier={self.noise_multiplier}, epsilon={self.epsilon}"
            )
        if self.noise_multiplier > 0.0 and self.epsilon > 0.0:
            raise ValueError(
                f"Gaussian takes noise_multiplier or epsilon, not both, got {self.noise_multiplier} and {self.epsilon}"
            )
        if not 0.0 < self.delta < 1.0:
            raise ValueError(f"Gaussian needs 0 < delta < 1, got {self.delta}")

    @property
    def bound(self) -> float | None:
        """L2 norm that no encoded contribution exceeds."""
        return self.clip_norm

    @property
    def noisy(self) -> bool:
        """Decoding adds noise that the accountant charges."""
        return True

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
        return min(bound, self.clip_norm)

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The contribution, scaled back into the ball."""
        return clipped(x, self.clip_norm)

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """The sum with noise: (d,) float64."""
        if self.noise_multiplier == 0.0:
            raise ValueError("this plan's noise multiplier was not computed yet: call calibrate() first")
        return total + (self.noise_multiplier * self.clip_norm) * source.normal(len(total))

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """What one round costs."""
        return Event("gaussian", self.noise_multiplier, sampling, sampling_rate)
