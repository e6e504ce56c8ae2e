"""Item-table updates of low rank: all clients of a round project on the same public random directions.

N.-H. Nguyen, T.-A. Nguyen, T. Nguyen, V. T. Hoang, D. D. Le, K.-S. Wong: "Towards Efficient Communication and Secure
Federated Recommendation System via Low-rank Training", WWW 2024, https://arxiv.org/abs/2401.03748 (CoLR). Differs from
the paper: a client trains the whole table and projects its update afterwards, so that any algorithm's update can be
sent so; directions are orthonormal; and `unbiased` scales the sum so that its mean over rounds is the update itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Array, Turn, Vector
from tacit.privacy.layer import Layer
from tacit.privacy.within import within


@dataclass(frozen=True, slots=True)
class LowRank(Layer):
    """Sends `rank` numbers for every row of `columns`: the row's coordinates along directions drawn anew each round.

    Guarantees:
        encoding is linear, so it goes through any sum.
        with as many directions as columns the sum comes back.
        the mean of what comes back over rounds is the sum.
        no contribution grows.
    """

    per_client = True  # every client projects what it sends

    columns: int = 32  # of the item table; a contribution is cut into rows of so many values, the last one filled up
    rank: int = 2
    unbiased: bool = True  # scale by columns / rank; False under error feedback, which sends the rest later

    def __post_init__(self) -> None:
        if self.columns < 1 or not 1 <= self.rank <= self.columns:
            raise ValueError(f"LowRank needs columns >= 1 and a rank from 1 to columns, got {self!r}")

    @property
    def lossy(self) -> bool:
        """What is orthogonal to a round's directions does not come back in this round."""
        return self.rank < self.columns

    @property
    def linear(self) -> bool:
        """A projection is linear: a node may add up its clients before it encodes."""
        return True

    def length(self, turn: Turn) -> int:
        """`rank` values for each row."""
        return -(-turn.size // self.columns) * self.rank

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """(rows * rank,) coordinates."""
        rows = np.zeros(-(-len(x) // self.columns) * self.columns)
        rows[: len(x)] = within(x)
        return np.asarray(rows.reshape(-1, self.columns) @ basis(self.columns, self.rank, turn.seed)).ravel()

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """(d,) the vector with these coordinates, scaled if `unbiased`."""
        rows = total.reshape(-1, self.rank) @ basis(self.columns, self.rank, turn.seed).T
        if self.unbiased:
            rows *= self.columns / self.rank
        return np.asarray(rows).ravel()[: turn.size]


@lru_cache(maxsize=4)
def basis(columns: int, rank: int, seed: int) -> Array:
    """(columns, rank) orthonormal directions, uniform over all such; the same on every machine but for rounding.

    By Gram and Schmidt, twice, and not by a library's decomposition, whose signs depend on the library.
    """
    out = np.random.default_rng(seed).standard_normal((columns, rank))
    for _ in range(2):
        for k in range(rank):
            out[:, k] -= out[:, :k] @ (out[:, :k].T @ out[:, k])
            out[:, k] /= math.sqrt(float(out[:, k] @ out[:, k]))
    out.flags.writeable = False
    return out
