"""Values of any size as a few whole numbers that sum exactly, for statistics whose scale nobody knows beforehand."""

from __future__ import annotations

import numpy as np

from tacit.core.values import Array, ProtocolError

LIMBS = 4
BITS = 20  # per limb: the sum of 2,000 parties' limbs stays below 2^31
FRACTION = 24  # binary digits behind the point
LIMIT = 2.0 ** (LIMBS * BITS - FRACTION - 1)  # 2^55


def split(x: Array) -> Array:
    """(...) float64 -> (LIMBS, ...) whole numbers below 2^20 in absolute value, the least significant first.

    Guarantees: join(sum of split(x_i)) is within n * 2^-25 of the sum of n values, beside float64's own rounding of it.

    Raises:
        ProtocolError: a value is NaN or beyond 2^55.
    """
    values = np.asarray(x, np.float64)
    if not np.all(np.abs(values) < LIMIT):
        raise ProtocolError("a statistic is NaN or beyond 2^55 and cannot be summed: rescale the column it comes from")
    rest = np.rint(values * 2.0**FRACTION)  # exact: scaling by a power of two, then at most 53 significant bits
    limbs = np.empty((LIMBS, *values.shape))
    for number in range(LIMBS - 1, 0, -1):
        unit = 2.0 ** (BITS * number)
        limbs[number] = np.trunc(rest / unit)
        rest = rest - limbs[number] * unit
    limbs[0] = rest
    return limbs


def join(limbs: Array) -> Array:
    """(LIMBS, ...) sums of whole numbers -> (...) float64."""
    units = 2.0 ** (BITS * np.arange(LIMBS) - FRACTION)
    return np.asarray(np.tensordot(units, np.asarray(limbs, np.float64), axes=1))
