"""Laplace noise on each client's own contribution: epsilon without a delta, and without trust in anybody.

J. C. Duchi, M. I. Jordan, M. J. Wainwright: "Local Privacy and Statistical Minimax Rates", FOCS 2013, for the setting;
the mechanism is that of `laplace.py`, with the same grid. The sum of n clients carries sqrt(n) times the noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Event, Turn, Vector
from tacit.privacy import l1_ball, noise_settings
from tacit.privacy.clip import clipped
from tacit.privacy.discrete_noise import discrete_laplace
from tacit.privacy.layer import Layer

_MOST = 1 << 19  # steps in the clip norm
_FAR = 40.0  # a noisy contribution is longer than its reach with a chance of 2 e^-40


@dataclass(frozen=True, slots=True)
class LocalLaplace(Layer):
    """Clip to L1 norm `clip_norm`, then add noise of scale `noise_multiplier * clip_norm` before anything leaves.

    The statement is about one client's message: whatever it holds instead (replace-one), as if it took part in every
    round, for the server sees who does. So each round costs 2 / noise_multiplier.

    Guarantees:
        what leaves a client is its bounded contribution plus discrete Laplace noise on each value.
        no sampling is claimed and one client may be replaced for twice the cost.
    """

    noisy = True  # encoding adds noise that the accountant charges
    per_client = True  # every client adds its own
    lossy = True  # values are rounded towards 0

    clip_norm: float = 1.0  # L1 norm
    noise_multiplier: float = 2.0  # noise scale / clip norm, dimensionless; 0 = from `epsilon`
    epsilon: float = 0.0  # target of all rounds; used only when noise_multiplier is 0
    delta: float = 0.0  # of the stated (epsilon, delta); above 0 many rounds cost less together

    def __post_init__(self) -> None:
        noise_settings.check(self, pure=True)

    @property
    def against(self) -> str:
        """Who never sees less than all of the noise."""
        return "everybody, the server included: each client adds all of the noise itself"

    @property
    def bound(self) -> float | None:
        """None: noise has no bound. A plan puts a Clip before it."""
        return None

    def reach(self, bound: float, turn: Turn) -> float:
        """What a noisy contribution exceeds once in 10^17 times; it is then scaled back to this.

        No L2 norm is above the root of L1 norm times largest value, and these have the tails of gamma and exponential.
        """
        whole = turn.size + math.sqrt(2.0 * turn.size * _FAR) + _FAR
        noise = math.sqrt(whole * (math.log(max(turn.size, 1)) + _FAR))
        return min(bound, self.clip_norm) + self.noise_multiplier * self.clip_norm * noise

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The contribution, scaled back into the ball, with noise: (d,) float64, whole steps."""
        if self.noise_multiplier == 0.0:
            raise ValueError("this plan's noise multiplier was not computed yet: call calibrate() first")
        noise = discrete_laplace(self.noise_multiplier * _MOST, len(x), source)
        sent = (l1_ball.steps(x, self.clip_norm, _MOST) + noise) * (self.clip_norm / _MOST)
        return clipped(np.asarray(sent), self.reach(self.clip_norm, turn))

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """The sum, with everybody's noise."""
        return total

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """What one round costs: a client that is replaced, without sampling."""
        return Event("discrete laplace", self.noise_multiplier, "fixed", 1.0)
