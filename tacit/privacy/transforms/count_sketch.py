"""Count sketches: every value lands, with a random sign, in one bucket of each row of a small table.

M. Charikar, K. Chen, M. Farach-Colton: "Finding Frequent Items in Data Streams", ICALP 2002; for gradients N. Ivkin,
D. Rothchild, E. Ullah, V. Braverman, I. Stoica, R. Arora: "Communication-efficient Distributed SGD with Sketching",
NeurIPS 2019, https://arxiv.org/abs/1903.04488. Differs from the papers: hashes are public random draws of the round,
not families of limited independence, and rows are scaled so that a contribution's size is bounded tightly.
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
class CountSketch(Layer):
    """Sends a table of `rows` times d / (ratio * rows) buckets; a value is read back as a mean or median over rows.

    Guarantees:
        encoding is linear, so it goes through any sum.
        the mean of what comes back over rounds is the sum.
        no contribution grows beyond the square root of the fullest bucket.
    """

    per_client = True  # every client sketches what it sends
    lossy = True  # values that share a bucket come back mixed

    ratio: float = 16.0  # values / buckets
    rows: int = 1  # hashes of each value; more find large values in small ones, and leave fewer buckets to each
    median: bool = False  # read the median over rows, which large values disturb less; then the third line is no mean

    def __post_init__(self) -> None:
        if not 1.0 <= self.ratio <= 1e9 or self.rows < 1:
            raise ValueError(f"CountSketch needs a ratio from 1 to 10^9 and at least one row, got {self!r}")

    @property
    def linear(self) -> bool:
        """Adding into buckets is linear: a node may add up its clients before it encodes."""
        return True

    def length(self, turn: Turn) -> int:
        """Buckets of all rows."""
        return self.rows * self._width(turn.size)

    def reach(self, bound: float, turn: Turn) -> float:
        """The bound times the sketch's norm as a matrix: at most the square root of the fullest bucket's count."""
        return bound * _norm(turn.size, self.rows, self._width(turn.size), turn.seed)

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """(rows * width,) buckets, scaled by 1 / sqrt(rows)."""
        width, near = self._width(turn.size), within(x)
        buckets, signs = _hashes(turn.size, self.rows, width, turn.seed)
        table = [np.bincount(b, s * near, width) for b, s in zip(buckets, signs, strict=True)]
        return np.concatenate(table) / math.sqrt(self.rows)

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """(d,) mean or median over rows of each value's bucket."""
        width = self._width(turn.size)
        buckets, signs = _hashes(turn.size, self.rows, width, turn.seed)
        table = total.reshape(self.rows, width) * math.sqrt(self.rows)
        read = signs * np.take_along_axis(table, buckets, axis=1)
        return np.asarray(np.median(read, axis=0) if self.median else read.mean(axis=0))

    def _width(self, size: int) -> int:
        return max(1, math.ceil(size / (self.ratio * self.rows))) if size else 0


@lru_cache(maxsize=4)
def _hashes(size: int, rows: int, width: int, seed: int) -> tuple[Array, Array]:
    """(rows, size) buckets int64, and (rows, size) signs float64: the round's public draw."""
    random = np.random.default_rng(seed)
    buckets = random.integers(0, max(width, 1), (rows, size))
    signs = 2.0 * random.integers(0, 2, (rows, size)) - 1.0
    buckets.flags.writeable = signs.flags.writeable = False
    return buckets, signs


@lru_cache(maxsize=4)
def _norm(size: int, rows: int, width: int, seed: int) -> float:
    """Upper bound on how much a sketch lengthens a vector: root of the mean over rows of the fullest bucket's count."""
    buckets, _ = _hashes(size, rows, width, seed)
    fullest = [int(np.bincount(row, minlength=1).max(initial=0)) for row in buckets]
    return math.sqrt(sum(fullest) / rows) if size else 1.0
