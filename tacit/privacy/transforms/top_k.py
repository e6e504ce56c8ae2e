"""Top-k sparsification: each client keeps its own largest values. Which ones these are tells of the customer.

A. F. Aji, K. Heafield: "Sparse Communication for Distributed Gradient Descent", EMNLP 2017,
https://arxiv.org/abs/1704.05021. Differs from the paper: k is exact, and what is left out is forgotten unless
`ErrorFeedback` wraps it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Turn, Vector
from tacit.privacy.layer import Layer


@dataclass(frozen=True, slots=True)
class TopK(Layer):
    """Sends the largest one in `ratio` values and their places.

    Not linear: places differ by client. In the clear they leave with the values, and they *are* the customer's history,
    so a plan without a secure sum must set `reveals_support`. Under a secure sum zeros are masked like everything else:
    nothing is revealed, and nothing is saved either (`RandomK` and `LowRank` save there).

    Guarantees:
        no more values than one in ratio are other than zero.
        what is left out is no larger than what is sent.
        no contribution grows.
    """

    per_client = True  # every client chooses its own places

    ratio: float = 16.0  # values / values that are sent
    reveals_support: bool = False  # True: the plan accepts that item numbers leave in the clear

    def __post_init__(self) -> None:
        if not 1.0 <= self.ratio <= 1e9:
            raise ValueError(f"TopK needs a ratio from 1 to 10^9, got {self.ratio}")

    @property
    def lossy(self) -> bool:
        """Small values do not come back."""
        return self.ratio > 1.0

    def length(self, turn: Turn) -> int:
        """All values: most of them zero. In the clear they leave as places and values (see `message`)."""
        return turn.size

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """(d,) with zeros at all but the largest values."""
        keep = self.kept(len(x))
        if keep >= len(x):
            return x
        chosen = np.argpartition(np.abs(x), len(x) - keep)[len(x) - keep :]
        out = np.zeros(len(x))
        out[chosen] = x[chosen]
        return out

    def kept(self, size: int) -> int:
        """How many values are sent."""
        return int(np.ceil(size / self.ratio))
