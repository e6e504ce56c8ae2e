"""Real vectors as integers mod 2^32, so that a secure sum can add them: stochastic rounding, no overflow, no bias.

Stochastic rounding as in D. Alistarh et al.: "QSGD", NeurIPS 2017, https://arxiv.org/abs/1610.02132. Differs from the
paper: one fixed step for every client, from a public bound and not from a client's own norm, so that the integers of
different clients add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError, Vector
from tacit.privacy.secure_sum.entropy import RandomBytes

_REACH = 2**31 - 1  # no sum of all clients goes beyond, in absolute value
_STRETCH = 1 << 15  # values rounded at a time: their random bits stay in the cache


@numba.njit(cache=True)
def _encode(x: Array, bits: Array, bound: float, per_step: float, clamp: bool, out: Array) -> int:  # pragma: no cover
    """0, or 1 if a value is not finite, or 2 if one is out of bound and not clamped."""
    for i in range(x.shape[0]):
        value = float(x[i])
        if not -bound <= value <= bound:
            if not math.isfinite(value):
                return 1
            if not clamp:
                return 2
            value = bound if value > 0.0 else -bound
        scaled = value * per_step
        floor = math.floor(scaled)
        up = (scaled - floor) * 4294967296.0 > float(bits[i])
        out[i] = np.uint32(np.int64(floor) + (1 if up else 0))
    return 0


@numba.njit(cache=True)
def _encode_exact(x: Array, bound: float, clamp: bool, out: Array) -> int:  # pragma: no cover
    """As `_encode` for integers; 3 if a value is none."""
    for i in range(x.shape[0]):
        value = float(x[i])
        if not -bound <= value <= bound:
            if not math.isfinite(value):
                return 1
            if not clamp:
                return 2
            value = bound if value > 0.0 else -bound
        if value != math.floor(value):
            return 3
        out[i] = np.uint32(np.int64(value))
    return 0


@dataclass(frozen=True, slots=True)
class Quantiser:
    """Encodes (d,) floats as uint32 mod 2^32 and decodes the sum of up to `clients` of them.

    The step is the smallest with which no sum can overflow: bound / (floor((2^31 - 1) / clients) - 1). For 100 clients
    that is 24 bits and sign per value. `exact` parts keep step 1: counts and other integers come out as they went in.

    Guarantees: decode(sum of encode(x_i), n) is within n steps of the sum of x_i (clamped to the bound first, where
    that is asked for), and its expected value is the sum, up to 2^-20 of a step per client; equal in `exact` parts.

    Raises:
        PlanError: numbers out of range, as many bounds as parts are missing, or a step that is no step.
    """

    bound: float | tuple[float, ...] = 1.0  # largest |value|; of each part, if a tuple
    clients: int = 100  # most contributions that are ever summed
    lengths: tuple[int, ...] = ()  # of the parts that a vector consists of; () = one part of any length
    exact: bool | tuple[bool, ...] = False  # integers, step 1; of each part, if a tuple
    on_overflow: str = "refuse"  # values beyond the bound: "refuse" the vector, or "clamp" them

    def __post_init__(self) -> None:
        if self.clients < 1:
            raise PlanError(f"clients must be at least 1, got {self.clients}")
        if self.on_overflow not in ("refuse", "clamp"):
            raise PlanError(f"on_overflow must be 'refuse' or 'clamp', got {self.on_overflow!r}")
        if any(length < 0 for length in self.lengths):
            raise PlanError(f"lengths of parts must not be negative, got {self.lengths}")
        count = max(len(self.lengths), 1)
        for name, given in (("bound", self.bound), ("exact", self.exact)):
            if isinstance(given, tuple) and len(given) != count:
                raise PlanError(f"{name} has {len(given)} entries for {count} parts; give lengths for each part")
        if self._levels < 2:
            raise PlanError(f"{self.clients} clients are too many to be summed mod 2^32")
        for bound, exact in zip(self._bounds, self._exacts, strict=True):
            if not (math.isfinite(bound) and bound > 0.0):
                raise PlanError(f"a bound must be finite and above 0, got {bound}")
            if exact and (bound != math.floor(bound) or bound > self._levels):
                raise PlanError(
                    f"exact integers of up to {self.clients} clients need a whole bound of at most {self._levels}, "
                    f"got {bound}"
                )
            if not (math.isfinite(self._levels / bound) and bound / self._levels > 0.0):
                raise PlanError(f"a bound of {bound} leaves no step that a float can hold")

    @property
    def _levels(self) -> int:
        return _REACH // self.clients

    @property
    def _bounds(self) -> tuple[float, ...]:
        return self.bound if isinstance(self.bound, tuple) else (float(self.bound),) * max(len(self.lengths), 1)

    @property
    def _exacts(self) -> tuple[bool, ...]:
        return self.exact if isinstance(self.exact, tuple) else (self.exact,) * max(len(self.lengths), 1)

    @property
    def steps(self) -> tuple[float, ...]:
        """What one unit of the encoded integers stands for, in each part."""
        levels = self._levels - 1  # one is left for rounding up at the bound
        return tuple(1.0 if e else b / levels for b, e in zip(self._bounds, self._exacts, strict=True))

    def _parts(self, size: int) -> list[slice]:
        lengths = self.lengths or (size,)
        if sum(lengths) != size:
            raise ProtocolError(f"a vector of {sum(lengths)} values was expected, got {size}")
        ends = np.cumsum(lengths).tolist()
        return [slice(end - length, end) for length, end in zip(lengths, ends, strict=True)]

    def spread(self, size: int) -> float:
        """Upper bound on the L2 distance by which rounding moves a vector of (size,): what a sensitivity must add."""
        parts = zip(self._parts(size), self.steps, self._exacts, strict=True)
        return math.sqrt(sum((part.stop - part.start) * step**2 for part, step, exact in parts if not exact))

    def encode(self, x: Vector, source: RandomBytes) -> Array:
        """(d,) uint32 of (d,) floats or integers, rounded up or down by random bits of `source`.

        Args:
            x: float32 or float64, or integers.
            source: `randomness.secure()`; a numpy Generator or a seeded stream in simulation.

        Raises:
            ProtocolError: of another length, NaN or infinite, beyond the bound where that is refused, or not an integer
                in an exact part. The message names no value.
        """
        if x.ndim != 1 or x.dtype.kind not in "fiu":
            raise ProtocolError(f"a vector of real numbers is needed, got {x.dtype} of {x.ndim} dimensions")
        values = x if x.dtype in (np.float32, np.float64) else x.astype(np.float64)
        out = np.empty(len(x), np.uint32)
        clamp = self.on_overflow == "clamp"
        for part, bound, step, exact in zip(self._parts(len(x)), self._bounds, self.steps, self._exacts, strict=True):
            for low in range(part.start, part.stop, _STRETCH):
                chunk = slice(low, min(low + _STRETCH, part.stop))
                if exact:
                    found = _encode_exact(values[chunk], bound, clamp, out[chunk])
                else:
                    bits = np.frombuffer(source.bytes(4 * (chunk.stop - chunk.start)), "<u4")
                    found = _encode(values[chunk], bits, bound, 1.0 / step, clamp, out[chunk])
                if found:
                    raise ProtocolError(
                        (
                            "a contribution holds NaN or infinity and cannot be summed",
                            f"a contribution goes beyond its bound of {bound}: raise the bound, clip, or clamp",
                            "a contribution holds a value that is no integer where exact integers were promised",
                        )[found - 1]
                    )
        return out

    def decode(self, total: Array, n: int) -> Vector:
        """(d,) float64 of the sum mod 2^32 of n encoded vectors.

        Raises:
            ProtocolError: not (d,) uint32 of the right length, or n beyond `clients`.
        """
        if total.ndim != 1 or total.dtype != np.uint32:
            raise ProtocolError(f"a sum of uint32 is needed, got {total.dtype} of {total.ndim} dimensions")
        if not 0 <= n <= self.clients:
            raise ProtocolError(f"{n} contributions were summed, but the quantiser is made for {self.clients}")
        out: Vector = total.view(np.int32).astype(np.float64)
        for part, step in zip(self._parts(len(total)), self.steps, strict=True):
            out[part] *= step
        return out
