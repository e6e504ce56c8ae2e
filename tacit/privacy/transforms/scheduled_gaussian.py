"""The Gaussian mechanism with noise that changes from round to round, by a schedule that is fixed before training.

Dynamic noise, as W. Wei, L. Liu: "Gradient Leakage Attack Resilient Deep Learning", IEEE TIFS 2022,
https://arxiv.org/abs/2112.13178, and J. Du et al.: "Dynamic Differential-Privacy Preserving SGD", 2021,
https://arxiv.org/abs/2111.00173, use it: much noise while updates are large, little when they are small. Differs from
the papers: every round is composed with its own multiplier, exactly, instead of by a bound. For noise that follows the
clients' norms put an AdaptiveClip before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tacit.core.protocols import Randomness
from tacit.core.values import Event, Turn, Vector
from tacit.privacy import grid_noise, noise_settings
from tacit.privacy.clip import clipped
from tacit.privacy.layer import Layer

SHAPES = ("linear", "exponential", "cosine")


@dataclass(frozen=True, slots=True)
class ScheduledGaussian(Layer):
    """Clip to `clip_norm`; noise on the sum of `noise_multiplier` in round 1 to `noise_multiplier * last` in the last.

    Guarantees:
        the noise of a round has mean 0 and standard deviation multiplier * clip_norm of that round.
        the rounds compose to the cost of each round's own noise.
        the first round has the noise multiplier and the last one last times that.
    """

    noisy = True  # decoding adds noise that the accountant charges

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0  # of round 1: noise standard deviation / clip norm; 0 = from `epsilon`
    last: float = 0.5  # the last round's multiplier, as a part of the first's
    shape: str = "exponential"  # or "linear", "cosine"
    epsilon: float = 0.0  # target; used only when noise_multiplier is 0
    delta: float = 1e-5  # of the stated (epsilon, delta); take it well below 1 / clients

    def __post_init__(self) -> None:
        noise_settings.check(self)
        if self.shape not in SHAPES or not 0.0 < self.last < math.inf:
            raise ValueError(
                f"ScheduledGaussian needs a shape of {SHAPES} and a finite last > 0, got {self.shape!r} and {self.last}"
            )

    @property
    def bound(self) -> float | None:
        """L2 norm that no encoded contribution exceeds."""
        return self.clip_norm

    def multiplier(self, turn: Turn) -> float:
        """This round's noise multiplier."""
        done = (turn.round - 1) / max(turn.rounds - 1, 1)
        if self.shape == "exponential":
            return self.noise_multiplier * math.exp(done * math.log(self.last))
        done = done if self.shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * done)
        return self.noise_multiplier * (1.0 + (self.last - 1.0) * done)

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The contribution, scaled back into the ball."""
        return clipped(x, self.clip_norm)

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """The sum with this round's noise: (d,) float64, whole steps of a grid."""
        if self.noise_multiplier == 0.0:
            raise ValueError("this plan's noise multiplier was not computed yet: call calibrate() first")
        return grid_noise.noisy(total, self.clip_norm, self.multiplier(turn), source)

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """What this round costs."""
        return Event("gaussian", self.multiplier(turn), sampling, sampling_rate)
