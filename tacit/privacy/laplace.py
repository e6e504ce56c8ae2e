"""The Laplace mechanism for numbers and counts, on whole numbers of steps so that low bits say nothing.

C. Dwork, F. McSherry, K. Nissim, A. Smith: "Calibrating Noise to Sensitivity in Private Data Analysis", TCC 2006;
discrete noise as in A. Ghosh, T. Roughgarden, M. Sundararajan: "Universally Utility-Maximizing Privacy Mechanisms",
STOC 2009, https://arxiv.org/abs/0811.2841. Differs from the papers: numbers are rounded to steps before noise is added,
and the sensitivity is enlarged by what rounding may add, which closes the attack of I. Mironov (CCS 2012).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Array, Event
from tacit.privacy.discrete_noise import discrete_laplace

_FINE = 2.0**-20  # a step, as a part of the scale: noise is rounded no coarser


@dataclass(frozen=True, slots=True)
class Laplace:
    """Adds two-sided exponential noise of scale sensitivity / epsilon: epsilon-private without a delta.

    Guarantees:
        counts stay whole numbers and get discrete noise.
        released numbers are whole multiples of a step that does not depend on the data.
        the chance of any output changes by at most a factor of e to the epsilon.
        the event is epsilon.
    """

    epsilon: float = 1.0  # of one release
    sensitivity: float = 1.0  # L1 distance by which one unit can move the released vector
    whole: bool = True  # the values are counts: steps of 1

    def __post_init__(self) -> None:
        if not 0.0 < self.epsilon < math.inf or not 0.0 < self.sensitivity < math.inf:
            raise ValueError(
                f"Laplace needs finite epsilon and sensitivity > 0, got {self.epsilon}, {self.sensitivity}"
            )

    def step(self, size: int) -> float:
        """What released numbers are multiples of."""
        if self.whole:
            return 1.0
        return 2.0 ** math.floor(math.log2(self.sensitivity / self.epsilon * _FINE / max(size, 1)))

    def release(self, values: Array, source: Randomness) -> Array:
        """(d,) float64 values with noise.

        Raises:
            ValueError: values that are not finite, or not whole where counts were promised.
        """
        if not np.all(np.isfinite(values)) or (self.whole and np.any(values != np.rint(values))):
            raise ValueError("Laplace needs finite values, and whole ones where whole = True")
        step = self.step(len(values))
        moved = self.sensitivity / step if self.whole else self.sensitivity / step + len(values)  # rounding: 1/2 + 1/2
        noise = discrete_laplace(moved / self.epsilon, len(values), source)
        return np.asarray((np.rint(np.asarray(values, np.float64) / step) + noise) * step)

    def event(self) -> Event:
        """What one release costs."""
        return Event("laplace" if not self.whole else "discrete laplace", 1.0 / self.epsilon, "all", 1.0)
