"""Stochastic rounding to a few bits on a public grid, after a public random rotation.

Stochastic rounding: D. Alistarh, D. Grubic, J. Li, R. Tomioka, M. Vojnovic: "QSGD", NeurIPS 2017,
https://arxiv.org/abs/1610.02132. Rotation by signs and a Hadamard matrix: A. T. Suresh, F. X. Yu, S. Kumar,
H. B. McMahan: "Distributed Mean Estimation with Limited Communication", ICML 2017, https://arxiv.org/abs/1611.00429.
Differs from the papers: the grid follows from a public norm, not from a client's own values, so that contributions of
different clients add as integers; it spans the cube inside the ball of that norm, so that rounding up cannot leave the
ball; and the Hadamard matrix is applied to blocks of at most 1,024 places of a random order, with at most 3 % padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from tacit.core.protocols import Randomness
from tacit.core.values import Array, Turn, Vector
from tacit.privacy.layer import Layer
from tacit.privacy.within import within

_LARGEST = 10  # binary digits of the largest block
_PADDING = 1.03


@dataclass(frozen=True, slots=True)
class LowBit(Layer):
    """Rounds every value up or down, by chance, to one of 2^bits points between -norm / sqrt(d) and norm / sqrt(d).

    Values outside are cut off, so `norm` should be about three times what a contribution measures: put a `Clip` before.
    Between clients of a secure sum, several values share one 32-bit word (see `packing`).

    Guarantees:
        every encoded value is a point of the grid.
        no encoded contribution is longer than norm.
        the mean of what comes back over roundings is the contribution where nothing is cut off.
    """

    per_client = True  # every client rounds what it sends
    lossy = True  # rounding loses the lower bits

    bits: int = 8  # per value: 8, 4, 2 or 1, say
    norm: float = 1.0  # L2 norm that no encoded contribution exceeds; the grid spans norm / sqrt(d)
    rotate: bool = True  # spread few large values over many places first; costs at most 3 % more values

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise ValueError(f"LowBit needs 1 to 16 bits, got {self.bits}")
        if not self.norm > 0.0 or not math.isfinite(self.norm):
            raise ValueError(f"LowBit needs a finite norm > 0, got {self.norm}")

    @property
    def bound(self) -> float:
        """L2 norm that no encoded contribution exceeds."""
        return self.norm

    def length(self, turn: Turn) -> int:
        """The values, filled up to whole blocks."""
        return _padded(turn.size, _digits(turn.size)) if self.rotate else turn.size

    def reach(self, bound: float, turn: Turn) -> float:
        """The norm: with one bit every contribution is exactly as long."""
        return self.norm

    def grid(self, turn: Turn) -> tuple[float, int]:
        """(step, levels): encoded values are step * (k - levels / 2), k from 0 to levels."""
        levels = 2**self.bits - 1
        return 2.0 * self.norm / (math.sqrt(max(self.length(turn), 1)) * levels), levels

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """(length,) points of the grid.

        Raises:
            ValueError: x holds NaN or infinity.
        """
        if not np.all(np.isfinite(x)):
            raise ValueError("a contribution holds NaN or infinity: it cannot be rounded and must not be sent")
        step, levels = self.grid(turn)
        near = within(x)
        mixed = rotated(near, turn.seed) if self.rotate else np.array(near, np.float64)
        _round(mixed, np.frombuffer(source.bytes(4 * len(mixed)), "<u4"), step, levels)
        return mixed

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """(d,) the sum, rotated back."""
        return rotated_back(total, turn.size, turn.seed) if self.rotate else total


def rotated(x: Vector, seed: int) -> Vector:
    """(padded,) the same length in L2, its values mixed: places in a random order, random signs, Hadamard by blocks."""
    digits = _digits(len(x))
    order, signs = _draw(_padded(len(x), digits), seed)
    out = np.zeros(len(order))
    out[: len(x)] = x
    return _hadamard(out[order] * signs, digits)


def rotated_back(y: Vector, size: int, seed: int) -> Vector:
    """(size,) the inverse of `rotated`."""
    order, signs = _draw(len(y), seed)
    out = np.empty(len(y))
    out[order] = _hadamard(y, _digits(size)) * signs
    return out[:size]


def _padded(size: int, digits: int) -> int:
    return -(-size >> digits) << digits


@lru_cache(maxsize=64)
def _digits(size: int) -> int:
    """Binary digits of the largest block that costs at most 3 % padding."""
    return max(d for d in range(_LARGEST + 1) if _padded(size, d) <= _PADDING * size)


@lru_cache(maxsize=4)
def _draw(length: int, seed: int) -> tuple[Array, Array]:
    """(length,) order and (length,) signs: the round's public draw."""
    random = np.random.default_rng(seed)
    order = random.permutation(length)
    signs = 2.0 * random.integers(0, 2, length) - 1.0
    order.flags.writeable = signs.flags.writeable = False
    return order, signs


@njit(cache=True)
def _round(x, random, step, levels):  # type: ignore[no-untyped-def]
    """Values to points of the grid in place, up with a chance of what is left over, to 2^-32."""
    for i in range(len(x)):
        place = min(max(x[i] / step + levels / 2.0, 0.0), float(levels))
        low = np.floor(place)
        k = low + 1.0 if (place - low) * 4294967296.0 > random[i] else low
        x[i] = step * (k - levels / 2.0)


@njit(cache=True)
def _mix(x, digits):  # type: ignore[no-untyped-def]
    """Butterflies of every block of 2^digits values, in place."""
    for low in range(0, len(x), 2**digits):
        half = 1
        while half < 2**digits:
            for start in range(low, low + 2**digits, 2 * half):
                for i in range(start, start + half):
                    one, other = x[i], x[i + half]
                    x[i], x[i + half] = one + other, one - other
            half *= 2


def _hadamard(x: Vector, digits: int) -> Vector:
    """Orthonormal Walsh and Hadamard transform of each block of 2^digits values; its own inverse."""
    out = x * 2.0 ** (-digits / 2.0)
    _mix(out, digits)
    return np.asarray(out)
