"""Several small integers in one 32-bit word, so that a masked upload shrinks with the number of bits.

A word mod 2^32 is a number of `places` digits in base `clients * levels + 1`: no sum of up to `clients` digits, each
from 0 to `levels`, carries into the next, so words add as digits do. The room that the sum of many clients needs is
what a secure sum costs low-bit rounding (K. Bonawitz, F. Salehi, J. Konecny, B. McMahan, M. Gruteser: "Federated
Learning with Autotuned Communication-Efficient Secure Aggregation", 2019, https://arxiv.org/abs/1912.00131, section 3).
Differs from the paper: the base need not be a power of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError, Vector
from tacit.privacy.secure_sum.entropy import RandomBytes

_WORD = 2**32
_OFF = 1e-3  # of a step: what floats may lie beside the grid


def places(clients: int, levels: int) -> int:
    """How many digits from 0 to `levels` a word holds so that the sum of `clients` words is exact; 0 = not even one."""
    base, count = clients * levels + 1, 0
    while base ** (count + 1) <= _WORD:
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Packed:
    """Packs (size,) floats of the grid step * (k - levels / 2), k from 0 to `levels`; reads the sum of up to `clients`.

    Guarantees:
        unpacking the sum of packed vectors gives their sum exactly on the grid.
        a packed vector has as many words as places in a word require.

    Raises:
        PlanError: numbers out of range, or sums that do not fit into a word.
    """

    size: int = 0  # values of a vector
    levels: int = 1  # 2^bits - 1
    step: float = 1.0  # between neighbours of the grid
    clients: int = 100  # most vectors that are ever summed

    def __post_init__(self) -> None:
        if self.size < 0 or self.levels < 1 or self.clients < 1:
            raise PlanError(f"size must not be negative, levels and clients at least 1, got {self!r}")
        if not (math.isfinite(self.step) and self.step > 0.0):
            raise PlanError(f"the step of a grid must be finite and above 0, got {self.step}")
        if places(self.clients, self.levels) < 1:
            raise PlanError(f"the sum of {self.clients} numbers up to {self.levels} does not fit into 32 bits")

    @property
    def base(self) -> int:
        """One more than the largest sum of a digit."""
        return self.clients * self.levels + 1

    @property
    def lengths(self) -> tuple[int, ...]:
        """Words that leave, as one part."""
        return (-(-self.size // places(self.clients, self.levels)),)

    @property
    def steps(self) -> tuple[float, ...]:
        """What one unit of a digit stands for."""
        return (self.step,)

    def spread(self, size: int) -> float:
        """How far packing moves a vector of the grid: not at all."""
        return 0.0

    def encode(self, x: Vector, source: RandomBytes) -> Array:
        """(words,) uint32 of (size,) floats of the grid; needs no randomness.

        Raises:
            ProtocolError: another length, or a value beside the grid. The message names no value.
        """
        if x.shape != (self.size,) or x.dtype.kind not in "fiu":
            raise ProtocolError(f"a vector of {self.size} real numbers was expected, got {x.dtype} of shape {x.shape}")
        exact = np.nan_to_num(x / self.step, nan=np.inf) + self.levels / 2.0
        digits = np.rint(np.clip(exact, 0.0, self.levels))
        if not np.all(np.abs(exact - digits) <= _OFF):
            raise ProtocolError("a contribution holds a value beside the grid that its plan rounds to: not packed")
        return pack(digits.astype(np.uint32), self.base)

    def decode(self, total: Array, n: int) -> Vector:
        """(size,) float64 of the sum mod 2^32 of n packed vectors.

        Raises:
            ProtocolError: not (words,) uint32, n beyond `clients`, or digits that n vectors cannot sum to.
        """
        if total.shape != self.lengths or total.dtype != np.uint32:
            raise ProtocolError(
                f"{self.lengths[0]} words of uint32 were expected, got {total.dtype} of shape {total.shape}"
            )
        if not 0 <= n <= self.clients:
            raise ProtocolError(f"{n} contributions were summed, but there is room for {self.clients}")
        digits = unpack(total, self.base, self.size)
        if np.any(digits > n * self.levels):
            raise ProtocolError(f"a sum of {n} packed contributions is larger than any of them allow: not decoded")
        return self.step * (digits.astype(np.float64) - n * self.levels / 2.0)


def pack(digits: Array, base: int) -> Array:
    """(size,) uint32 below `base` -> words (ceil(size / places),) uint32, the first digit of a word the least."""
    count = _count(base)
    padded = np.zeros(-(-len(digits) // count) * count, np.uint32)
    padded[: len(digits)] = digits
    units = np.array([base**place for place in range(count)], np.uint32)
    packed: Array = (padded.reshape(-1, count) * units).sum(axis=1, dtype=np.uint32)
    return packed


def unpack(words: Array, base: int, size: int) -> Array:
    """(size,) uint32 digits of packed words."""
    count = _count(base)
    rest = words.astype(np.uint32, copy=True)
    digits = np.empty((len(words), count), np.uint32)
    for place in range(count - 1):
        rest, digits[:, place] = np.divmod(rest, np.uint32(base))
    digits[:, count - 1] = rest  # what is left, so that a word that nobody could have packed shows
    return digits.reshape(-1)[:size]


def _count(base: int) -> int:
    count = 1
    while base ** (count + 1) <= _WORD:
        count += 1
    return count
