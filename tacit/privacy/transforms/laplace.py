"""The Laplace mechanism on the sum: epsilon without a delta.

C. Dwork, F. McSherry, K. Nissim, A. Smith: "Calibrating Noise to Sensitivity in Private Data Analysis", TCC 2006, for
sums of contributions of bounded L1 norm; discrete noise as in A. Ghosh, T. Roughgarden, M. Sundararajan: "Universally
Utility-Maximizing Privacy Mechanisms", STOC 2009, https://arxiv.org/abs/0811.2841. Differs from the papers:
contributions are rounded towards 0 to steps of a public grid, so sums and noise are integers and low bits say nothing.
It is accounted as the worst mechanism of its epsilon, a bit flipped at random: the loss of a vector's noise depends on
how a client's norm is spread over the values, and is never more than that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Event, Turn, Vector
from tacit.privacy import l1_ball, noise_settings
from tacit.privacy.discrete_noise import discrete_laplace
from tacit.privacy.layer import Layer


@dataclass(frozen=True, slots=True)
class Laplace(Layer):
    """Clip each client to L1 norm `clip_norm`; the server adds noise of scale `noise_multiplier * clip_norm`, once.

    Each round costs 1 / noise_multiplier. For few values (counts, a scorer of a table): of many small values the L1
    norm is large, and `Gaussian`, which bounds the L2 norm, then adds far less noise.

    Guarantees:
        one client moves the sum before noise by at most clip_norm in L1.
        what is released is a whole number of steps that do not depend on the data.
        the noise on each value is discrete Laplace of scale noise_multiplier * clip_norm.
        a round costs one over the noise multiplier without a delta.
    """

    noisy = True  # decoding adds noise that the accountant charges
    per_client = True  # trainers bound L2 norms only: each client's own contribution is bounded here
    lossy = True  # values are rounded towards 0

    clip_norm: float = 1.0  # L1 norm; it bounds the L2 norm too
    noise_multiplier: float = 1.0  # noise scale / clip norm, dimensionless; 0 = from `epsilon`
    epsilon: float = 0.0  # target of all rounds; used only when noise_multiplier is 0
    delta: float = 0.0  # of the stated (epsilon, delta); above 0 many rounds cost less together
    bits: int = 20  # a step is 2 * clip_norm / 2^bits; under a secure sum of n clients bits + log2(n) <= 31

    def __post_init__(self) -> None:
        noise_settings.check(self, pure=True)
        if not 8 <= self.bits <= 24:
            raise ValueError(f"Laplace needs 8 to 24 bits, got {self.bits}")

    @property
    def bound(self) -> float:
        """L2 norm that no encoded contribution exceeds: no L2 norm is above the L1 norm."""
        return self.clip_norm

    @property
    def _most(self) -> int:
        """Steps in the clip norm."""
        return 1 << (self.bits - 1)

    def grid(self, turn: Turn) -> tuple[float, int]:
        """(step, levels): encoded values are step * (k - levels / 2), k from 0 to levels."""
        return self.clip_norm / self._most, 2 * self._most

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """(d,) the contribution, scaled back into the ball, in whole steps."""
        return np.asarray(l1_ball.steps(x, self.clip_norm, self._most) * (self.clip_norm / self._most))

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """The sum with noise: (d,) float64, whole steps."""
        if self.noise_multiplier == 0.0:
            raise ValueError("this plan's noise multiplier was not computed yet: call calibrate() first")
        step = self.clip_norm / self._most
        noise = discrete_laplace(self.noise_multiplier * self._most, len(total), source)
        return np.asarray((np.rint(total / step) + noise) * step)

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """What one round costs."""
        return Event("discrete laplace", self.noise_multiplier, sampling, sampling_rate)
