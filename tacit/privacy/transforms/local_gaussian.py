"""Noise on each client's own contribution: local differential privacy, which trusts nobody.

J. C. Duchi, M. I. Jordan, M. J. Wainwright: "Local Privacy and Statistical Minimax Rates", FOCS 2013, for the setting;
the mechanism is the Gaussian one. The sum of n clients carries sqrt(n) times the noise: use it where there is neither a
secure sum nor a server that is trusted to add the noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tacit.core.protocols import Randomness
from tacit.core.values import Event, Turn, Vector
from tacit.privacy import grid_noise, noise_settings
from tacit.privacy.clip import clipped
from tacit.privacy.layer import Layer


@dataclass(frozen=True, slots=True)
class LocalGaussian(Layer):
    """Clip to L2 norm `clip_norm`, then add normal noise of `noise_multiplier * clip_norm` before anything leaves.

    The statement is about one client's message: whatever it holds instead (replace-one), as if it took part in every
    round, for the server sees who does.

    Guarantees:
        what leaves a client is its bounded contribution plus noise of noise_multiplier * clip_norm on each value.
        no sampling is claimed and one client may be replaced.
    """

    noisy = True  # encoding adds noise that the accountant charges
    per_client = True  # every client adds its own

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0  # noise standard deviation / clip norm, dimensionless; 0 = from `epsilon`
    epsilon: float = 0.0  # target; used only when noise_multiplier is 0
    delta: float = 1e-5  # of the stated (epsilon, delta)

    def __post_init__(self) -> None:
        noise_settings.check(self)

    @property
    def against(self) -> str:
        """Who never sees less than all of the noise."""
        return "everybody, the server included: each client adds all of the noise itself"

    @property
    def bound(self) -> float | None:
        """None: noise has no bound. A plan puts a Clip before it."""
        return None

    def reach(self, bound: float, turn: Turn) -> float:
        """What a noisy contribution exceeds once in 10^17 times; it is then scaled back to this."""
        deviation = self.noise_multiplier * self.clip_norm * (1.0 + grid_noise.SLACK)
        return min(bound, self.clip_norm) + deviation * (math.sqrt(turn.size) + 9.0)

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The contribution, scaled back into the ball, with noise: (d,) float64."""
        if self.noise_multiplier == 0.0:
            raise ValueError("this plan's noise multiplier was not computed yet: call calibrate() first")
        sent = grid_noise.noisy(clipped(x, self.clip_norm), self.clip_norm, self.noise_multiplier, source)
        return clipped(sent, self.reach(self.clip_norm, turn))

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """The sum, with everybody's noise."""
        return total

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """What one round costs: a client that is replaced, without sampling."""
        return Event("gaussian", self.noise_multiplier, "fixed", 1.0)
