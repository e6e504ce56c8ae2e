"""Scaling a vector back into an L2 ball."""

from __future__ import annotations

import math

import numpy as np

from tacit.core.values import Vector


def factor(norm: float, bound: float) -> float:
    """What to multiply a vector of this norm by so that its norm is at most `bound`: at most 1, and 1 inside."""
    return 1.0 if norm <= bound else bound / norm


def clipped(x: Vector, bound: float) -> Vector:
    """The vector scaled to L2 norm at most `bound`.

    Guarantees:
        the result has L2 norm at most `bound`, up to one part in 10^6, whatever x.
        a vector inside the ball is unchanged.

    Raises:
        ValueError: x holds NaN or infinity, which no scaling can bound.
    """
    with np.errstate(over="ignore"):
        norm = math.sqrt(float(np.sum(np.square(x, dtype=np.float64))))
    if not math.isfinite(norm):  # a square may overflow where the value itself does not
        peak = float(np.max(np.abs(x)))
        if not math.isfinite(peak):
            raise ValueError("a contribution holds NaN or infinity: it cannot be clipped and must not be sent")
        norm = peak * math.sqrt(float(np.sum(np.square(x / peak))))
    scale = factor(norm, bound)
    return x if scale == 1.0 else np.multiply(x, scale, dtype=np.float64).astype(x.dtype, copy=False)
