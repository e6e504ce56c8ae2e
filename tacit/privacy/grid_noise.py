"""Gaussian noise on a grid, so that the low bits of what is published say nothing.

Sums of floats are rounded to whole steps, and discrete Gaussian noise is added in whole steps. Normal noise in floats
would give itself away by which doubles can be reached from which sum (I. Mironov: "On Significance of the Least
Significant Bits for Differential Privacy", CCS 2012, https://doi.org/10.1145/2382196.2382264; N. Holohan, S. Braghin:
"Secure Random Sampling in Differential Privacy", ESORICS 2021, https://doi.org/10.1007/978-3-030-88428-4_26), and sums
of floats can move further than their clients do (S. Casacuberta, M. Shoemate, S. Vadhan, C. Wagaman: "Widespread
Underestimation of Sensitivity in Differentially Private Libraries and How to Fix It", CCS 2022,
https://arxiv.org/abs/2207.10635).
The grid is that of Google's differential privacy libraries ("Secure Noise Generation", 2020). Differs from it: the
noise is an exact discrete Gaussian (`discrete_noise`) and not a binomial approximation, and instead of a sensitivity
that is enlarged when it is accounted, the noise is enlarged by SLACK: a mechanism costs what its multiplier says.

What SLACK = 2^-12 pays for, each as a part of the clip norm:
rounding two neighbouring sums of d values, which moves them apart by a step times sqrt(d): 2^-13 at most;
clipping and adding up in doubles: 2^-19, and 2^-15 for up to 2^18 contributions of the clip norm;
and discrete instead of normal noise: 2^-21, for noise of 2^12 steps or more can to one part in 10^130 be computed from
a normal one whose variance is 16 steps^2 less (`transforms/distributed_gaussian.py`).
"""

from __future__ import annotations

import math

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Array, Vector
from tacit.privacy.discrete_noise import discrete_gaussian

SLACK = 2.0**-12  # by so much the noise is larger than the multiplier says
_GRID = 2.0**-13  # of the clip norm: rounding moves two neighbouring sums of d values apart by no more
_COARSEST = 2.0**-12  # of the noise: steps are no coarser, however small the multiplier


def step(clip_norm: float, noise_multiplier: float, size: int) -> float:
    """A power of two that depends on public numbers alone."""
    fine = min(_GRID / math.sqrt(max(size, 1)), _COARSEST * noise_multiplier)
    return 2.0 ** math.floor(math.log2(clip_norm * fine))


def gaussian(clip_norm: float, noise_multiplier: float, size: int, source: Randomness) -> Array:
    """(size,) float64: whole steps of the grid, of deviation noise_multiplier * clip_norm * (1 + SLACK).

    Raises:
        ValueError: noise_multiplier * sqrt(size) is beyond some 10^7, so that the grid would have too many steps.
    """
    grain = step(clip_norm, noise_multiplier, size)
    return discrete_gaussian(noise_multiplier * clip_norm * (1.0 + SLACK) / grain, size, source) * grain


def noisy(total: Vector, clip_norm: float, noise_multiplier: float, source: Randomness) -> Vector:
    """(d,) float64: the sum, rounded to the grid, with Gaussian noise; in whole steps of the grid.

    Where a sum is so large that doubles do not hold its steps, the result is rounded once more, which reveals nothing.

    Guarantees:
        what is released is a whole number of steps that do not depend on the data.
        rounding moves two neighbouring sums apart by at most 2^-13 of the clip norm.
        the noise is larger than the multiplier says by one part in 4096.
    """
    grain = step(clip_norm, noise_multiplier, len(total))
    return np.asarray(np.rint(total / grain) * grain + gaussian(clip_norm, noise_multiplier, len(total), source))
