"""Coordinate-wise median: a robust stand-in for the mean.

D. Yin, Y. Chen, K. Ramchandran, P. Bartlett: "Byzantine-Robust Distributed Learning: Towards Optimal Statistical
Rates", ICML 2018, https://arxiv.org/abs/1803.01498, Definition 1. Differs from the paper: returned on the scale of the
sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tacit.core.values import Array, Vector


@dataclass(frozen=True, slots=True)
class Median:
    """n times the median of each coordinate. Needs each update, so it cannot stand behind a secure sum."""

    @property
    def sees(self) -> Literal["sum", "each"]:
        """Each update."""
        return "each"

    def __call__(self, updates: Array) -> Vector:
        """(n, d) -> (d,).

        Raises:
            ValueError: there is no update.
        """
        if len(updates) == 0:
            raise ValueError("the median needs at least 1 update, got 0")
        return np.asarray(np.median(updates, axis=0) * len(updates))
