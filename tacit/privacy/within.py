"""Keeping values where sums of their squares do not overflow."""

from __future__ import annotations

import numpy as np

from tacit.core.values import Vector

LARGEST = 1e150


def within(x: Vector) -> Vector:
    """(d,) the values, those beyond 1e150 cut off: nothing that learns sends such, and linear maps of it overflow."""
    return np.asarray(np.clip(x, -LARGEST, LARGEST))
