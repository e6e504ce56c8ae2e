"""The Gaussian mechanism on the sum, at the level of the client.

H. B. McMahan, D. Ramage, K. Talwar, L. Zhang: "Learning Differentially Private Recurrent Language Models", ICLR 2018,
https://arxiv.org/abs/1710.06963, Algorithm 1. Differs from the paper: the sum is divided by the expected cohort where
an algorithm divides at all, and epsilon is composed by privacy loss distributions instead of the moments accountant.
"""

from __future__ import annotations

from dataclasses import dataclass

from tacit.core.protocols import Randomness
from tacit.core.values import Event, Turn, Vector
from tacit.privacy import grid_noise, noise_settings
from tacit.privacy.clip import clipped
from tacit.privacy.layer import Layer


@dataclass(frozen=True, slots=True)
class Gaussian(Layer):
    """Clip each client to L2 norm `clip_norm`, add normal noise of `noise_multiplier * clip_norm` to the sum once.

    Sum and noise are whole steps of a grid, and the noise is larger by one part in 4,096 (`privacy/grid_noise.py`).

    Guarantees:
        the noise on each coordinate has mean 0 and standard deviation noise_multiplier * clip_norm.
        one client moves the sum before noise by at most clip_norm in L2.
    """

    noisy = True  # decoding adds noise that the accountant charges

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0  # noise standard deviation / clip norm, dimensionless; 0 = from `epsilon`
    epsilon: float = 0.0  # target; used only when noise_multiplier is 0
    delta: float = 1e-5  # of the stated (epsilon, delta); take it well below 1 / clients

    def __post_init__(self) -> None:
        noise_settings.check(self)

    @property
    def bound(self) -> float | None:
        """L2 norm that no encoded contribution exceeds."""
        return self.clip_norm

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The contribution, scaled back into the ball."""
        return clipped(x, self.clip_norm)

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """The sum with noise: (d,) float64, whole steps of a grid."""
        if self.noise_multiplier == 0.0:
            raise ValueError("this plan's noise multiplier was not computed yet: call calibrate() first")
        return grid_noise.noisy(total, self.clip_norm, self.noise_multiplier, source)

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """What one round costs."""
        return Event("gaussian", self.noise_multiplier, sampling, sampling_rate)
