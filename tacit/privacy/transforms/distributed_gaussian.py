"""The Gaussian mechanism without a trusted server: every party adds its share of the noise inside the secure sum.

P. Kairouz, Z. Liu, T. Steinke: "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
Aggregation", ICML 2021, https://arxiv.org/abs/2102.06387, Algorithms 1 and 2, Proposition 14 (the sum of discrete
Gaussians). Differs from the paper: no rotation, since the quantiser has 2^31 / parties steps within the bound; rounding
cannot lengthen a contribution, which is shrunk by as much first, and where single examples are protected the noise is
larger by what rounding adds to an example's part; what a noisy sum needs beyond the bound is left free, and a sum that
wraps all the same (2^-60 for each value) costs no privacy, only its accuracy.
It is accounted as the Gaussian mechanism, tighter than the paper's concentrated bound. With s the sum's deviation in
steps: a normal value of variance s^2 - 16, rounded to a whole number by a discrete Gaussian of deviation 4 around it,
has the weights of the discrete Gaussian of variance s^2 but for a factor of 1 +- 10^-130 (C. Peikert: "An Efficient and
Parallel Gaussian Sampler for Lattices", CRYPTO 2010, Theorem 3.1), and a sum of shares has them but for a factor of
e^(+-tau) in each value (`log_closeness`): at 64 steps a share, which is the least that is accepted, 10^-17000 for any
number of parties and values. So the release is, to that factor, computed from a Gaussian one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tacit.core.protocols import Randomness
from tacit.core.values import Array, Event, PlanError, Turn, Vector
from tacit.privacy import noise_settings
from tacit.privacy.clip import clipped
from tacit.privacy.discrete_noise import discrete_gaussian
from tacit.privacy.layer import Layer

LEAST = 64.0  # steps: a share's smallest standard deviation; tests prove what the accounting makes of it
_ROUNDING = 4.0  # steps: the standard deviation of a rounding that makes a normal value a discrete Gaussian one


@dataclass(frozen=True, slots=True)
class DistributedGaussian(Layer):
    """Clip to L2 norm `clip_norm`; each party adds discrete Gaussian noise; the sum of enough shares is the noise.

    Of the parties whose contributions are opened, `survivors_at_least` less `colluding` add noise of
    `noise_multiplier * clip_norm` to each value. More survivors mean more noise, never less: set the secure sum's
    `minimum` to `survivors_at_least`, so that fewer cannot be opened. The server, whoever breaks into it and every
    reader of the sum see only what has all of this noise on it.

    With `examples` the unit is a single example: the work must clip each example's part to `clip_norm`, and a client
    may hold up to so many (scaling its sum into the ball of clip_norm * examples moves two sums no further apart).

    Guarantees:
        the sum of the shares of the stated survivors is noise of noise_multiplier * clip_norm on each value.
        fewer dropouts than stated leave more noise, and never less.
        one client moves the sum before noise by at most clip_norm in L2.
        what rounding adds to the part of an example is covered by as much more noise.
        a share that is too coarse for the accounting is refused.
    """

    noisy = True  # shares of noise are added, which the accountant charges

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0  # noise standard deviation / clip norm, dimensionless; 0 = from `epsilon`
    epsilon: float = 0.0  # target; used only when noise_multiplier is 0
    delta: float = 1e-5  # of the stated (epsilon, delta); take it well below 1 / units
    survivors_at_least: int = 20  # parties whose shares make up the noise: the cohort less the stated dropouts
    colluding: int = 0  # of these, parties that may tell the server their shares
    examples: int = 0  # 0 = the unit is a client; else an example, of which a client holds at most so many

    def __post_init__(self) -> None:
        noise_settings.check(self)
        if not 0 <= self.colluding < self.survivors_at_least or self.examples < 0:
            raise ValueError(
                "DistributedGaussian needs 0 <= colluding < survivors_at_least and examples >= 0, got "
                f"{self.colluding}, {self.survivors_at_least} and {self.examples}"
            )

    @property
    def unit(self) -> str | None:
        """Whose presence is hidden; None = whoever a client of the plan is."""
        return "example" if self.examples else None

    @property
    def against(self) -> str:
        """Who never sees less than all of the noise."""
        return f"everybody, the server included: {self.survivors_at_least} shares of noise are in whatever is opened"

    @property
    def bound(self) -> float | None:
        """L2 norm that no encoded contribution exceeds."""
        return self.clip_norm * max(self.examples, 1)

    def _share(self, size: int, step: float) -> float:
        """Standard deviation of one party's noise on each of `size` values that are rounded to steps.

        A client's own contribution is shrunk by what rounding adds to it before it is rounded. An example's part of a
        contribution is not: two sums that differ by an example may be rounded apart by a step in each value.
        """
        if self.noise_multiplier == 0.0:
            raise ValueError("this plan's noise multiplier was not computed yet: call calibrate() first")
        moved = self.clip_norm + (step * math.sqrt(size) if self.examples else 0.0)
        return self.noise_multiplier * moved / math.sqrt(self.survivors_at_least - self.colluding)

    def reach(self, bound: float, turn: Turn) -> float:
        """The bound."""
        return min(bound, self.clip_norm * max(self.examples, 1))

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The contribution, scaled back into the ball; its noise comes as integers, see `share`."""
        return clipped(x, self.clip_norm * max(self.examples, 1))

    def headroom(self, turn: Turn, step: float) -> float:
        """What the noise of all parties together exceeds with a chance of 2^-60 in each value."""
        whole = math.hypot(self._share(turn.size, step), step) * math.sqrt(max(turn.parties, self.survivors_at_least))
        return whole * math.sqrt(2.0 * 61.0 * math.log(2.0))

    def share(self, size: int, step: float, turn: Turn, source: Randomness) -> Array:
        """(size,) int64: one party's noise, in steps.

        Raises:
            PlanError: a step so coarse that the accounting would not hold.
        """
        share = self._share(size, step)
        if share < LEAST * step:
            raise PlanError(
                f"one share of noise ({share:.3g}) is less than {LEAST:g} steps of the secure sum ({step:.3g}): "
                "use fewer parties, a larger noise multiplier or fewer examples"
            )
        return discrete_gaussian(share / step, size, source)

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """The sum as it was opened, with its noise."""
        return total

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """What one round costs: a Gaussian whose noise lacks what the rounding adds."""
        variance = LEAST**2 * (self.survivors_at_least - self.colluding)  # in steps, at least
        left = math.sqrt(1.0 - _ROUNDING**2 / variance) * (1.0 - 1e-12)
        return Event("gaussian", self.noise_multiplier * left, sampling, sampling_rate)


def log_closeness(share: float, parties: int) -> float:
    """Natural logarithm of tau: every chance of the sum of shares is within e^(+-tau) of the discrete Gaussian's.

    tau = 10 sum_k exp(-2 pi^2 share^2 k / (k + 1)), k = 1 to parties - 1 (Proposition 14), is bounded by the number of
    its terms times the largest. Epsilon grows by 2 tau for each value that is released, and delta by a factor of e^tau.

    Args:
        share: standard deviation of one party's noise, in steps; at least 1/2.
        parties: whose shares are summed.
    """
    return math.log(10.0 * max(parties - 1, 1)) - math.pi**2 * share**2
