"""Scaling a vector back into an L1 ball, in whole steps, so that its norm is exact."""

from __future__ import annotations

import math

import numpy as np

from tacit.core.values import Array, Vector

_ROOM = 1.0 - 2.0**-30  # where the rounding of floats would carry a vector beyond the ball


def steps(x: Vector, norm: float, most: int) -> Array:
    """(d,) int64: x scaled to L1 norm at most `norm`, in steps of norm / most, each value rounded towards 0.

    Guarantees:
        the magnitudes add up to at most `most`, whatever x.
        a vector inside the ball moves by at most a step in each value.

    Raises:
        ValueError: x holds NaN or infinity.
    """
    peak = float(np.max(np.abs(x), initial=0.0))
    if not math.isfinite(peak):
        raise ValueError("a contribution holds NaN or infinity: it cannot be clipped and must not be sent")
    if peak == 0.0:
        return np.zeros(len(x), np.int64)
    shape = np.asarray(x, np.float64) / peak  # a sum may overflow where the values do not
    scale = min(peak / norm, 1.0 / float(np.sum(np.abs(shape))))
    found = np.trunc(shape * (scale * most)).astype(np.int64)
    if int(np.abs(found).sum()) <= most:
        return found
    return np.trunc(shape * (scale * most * _ROOM)).astype(np.int64)
