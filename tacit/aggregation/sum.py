"""The plain sum of updates that the server sees one by one: what robust rules are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tacit.core.values import Array, Vector


@dataclass(frozen=True, slots=True)
class Sum:
    """Adds the updates. A plan without an aggregator sums too, but each node then sends one sum."""

    @property
    def sees(self) -> Literal["sum", "each"]:
        """The sum is enough."""
        return "sum"

    def __call__(self, updates: Array) -> Vector:
        """(n, d) -> (d,)."""
        return np.asarray(np.sum(updates, axis=0))
