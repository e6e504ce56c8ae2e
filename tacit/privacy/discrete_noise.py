"""Exact discrete Gaussian and discrete Laplace noise on integers, from random bits, compiled.

C. Canonne, G. Kamath, T. Steinke: "The Discrete Gaussian for Differential Privacy", NeurIPS 2020,
https://arxiv.org/abs/2004.00010, Algorithms 2 and 3: rejection from a discrete Laplace, whose magnitude is put together
from a uniform and a geometric part. Differs from the paper: coins and the geometric part are decided by 32 random bits
beside doubles, and where these cannot tell (once in 10^8 tries) by exact arithmetic on further random bits. That gives
the same distribution in far less time. Time depends on the draws: do not let an adversary measure it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

import numba
import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Array

_DOUBT = 2.0**-44  # doubles err by less in exp(-x)
_WORD = 2.0**-32  # what the last of 32 bits stands for
_MOST = 2.0**40  # largest standard deviation or scale, so that magnitudes stay exact in doubles and int64
_STRETCH = 1 << 12  # tries at a time: their random bits stay in the cache
_FINE = 8  # parts of the scale, within each of which tries are uniform
_WIDE = 64.0  # deviations from which on it pays to have parts


def _edges(parts: int) -> tuple[Array, Array]:
    """2^32 times P(whole >= k) = exp(-k / parts), k = 1, 2, ...; and whole, at least, by 12 bits."""
    edges = np.array(
        [math.floor((Decimal(-k) / parts).exp() * 2**32) for k in range(1, math.floor(32 * parts * math.log(2)) + 1)]
    )
    return edges, np.array([np.sum(edges >= (high << 20)) for high in range(1, 4097)])


_TABLES = {parts: _edges(parts) for parts in (1, _FINE)}


@dataclass(frozen=True, slots=True)
class _Law:
    """Which draws are kept: m = uniform below `width` + width * geometric, with a chance of exp(-cost).

    Kept by the first part of the cost alone, m is discrete Laplace of scale width * parts.
    """

    width: int
    parts: int = _FINE  # P(geometric >= k) = exp(-k / parts)
    divisor: int = 1  # what m is divided by in the end
    variance: Fraction = Fraction(0)  # of a discrete Gaussian; 0 = discrete Laplace

    @property
    def peak(self) -> Fraction:
        """The magnitude at which a Gaussian is closest to the Laplace that it is drawn from."""
        return self.variance / (self.width * self.parts)

    def cost(self, uniform: int, whole: int) -> Fraction:
        """Exactly; `_try` computes it in doubles."""
        cost = Fraction(uniform, self.width * self.parts)
        return cost + ((uniform + self.width * whole - self.peak) ** 2 / (2 * self.variance) if self.variance else 0)


def discrete_gaussian(sigma: float, count: int, source: Randomness) -> Array:
    """(count,) int64, P(k) proportional to exp(-k^2 / (2 sigma^2)).

    Raises:
        ValueError: sigma is not in (0, 2^40].
    """
    if not 0.0 < sigma <= _MOST:
        raise ValueError(f"a discrete Gaussian needs 0 < sigma <= 2^40, got {sigma}")
    parts = _FINE if sigma >= _WIDE else 1
    return _drawn(_Law(math.floor(sigma / parts) + 1, parts, variance=Fraction(sigma) ** 2), count, source)


def discrete_laplace(scale: float, count: int, source: Randomness) -> Array:
    """(count,) int64, P(k) proportional to exp(-|k| / scale).

    Raises:
        ValueError: scale is not in [2^-10, 2^40].
    """
    if not 2.0**-10 <= scale <= _MOST:
        raise ValueError(f"a discrete Laplace needs 2^-10 <= scale <= 2^40, got {scale}")
    divisor = min(10**5, int(2**52 / max(scale, 1.0)))
    width = math.ceil(scale * divisor / _FINE)  # rounded up by 10^-4 of a step at most: never less noise
    return _drawn(_Law(width, divisor=divisor), count, source)


def _drawn(law: _Law, count: int, source: Randomness) -> Array:
    """(count,) int64 of the law, each with a fair sign."""
    out, filled = np.zeros(count, np.int64), 0
    edges, first = _TABLES[law.parts]
    peak, half = float(law.peak), float(1 / (2 * law.variance)) if law.variance else 0.0
    drawn, kept = np.zeros(_STRETCH, np.int64), np.zeros(_STRETCH, np.uint8)
    while filled < count:
        tries = min(_STRETCH, int(1.5 * (count - filled)) + 16)
        words = np.frombuffer(source.bytes(16 * tries), np.uint32)
        if _try(words, edges, first, law.width, law.divisor, law.parts, peak, half, drawn, kept):
            for place in np.flatnonzero(kept[:tries] == 2):
                found = _exactly(law, words[4 * place : 4 * place + 4].tolist(), source)
                drawn[place], kept[place] = (0, 0) if found is None else (found, 1)
        filled += _gather(drawn, kept, tries, out, filled)
    return out


@numba.njit(cache=True)
def _try(words, edges, first, width, divisor, parts, peak, half, drawn, kept):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Each four words to a draw, kept (1), refused (0) or to be decided exactly (2); how many of these there are."""
    doubts, top, share = 0, (np.int64(0x7FFFFFFFFFFFFFFF) // width) * width, 1.0 / (width * parts)
    for i in range(len(words) // 4):
        bits = np.int64(words[4 * i]) | (np.int64(words[4 * i + 1] >> np.uint32(1)) << np.int64(32))
        uniform = bits % width
        third = np.int64(words[4 * i + 2])
        whole = first[third >> 20]
        while whole < len(edges) and third < edges[whole]:
            whole += 1
        doubt = whole == len(edges) or third == edges[whole]
        magnitude = uniform + width * whole
        away = float(magnitude) - peak
        chance = math.exp(-(uniform * share + away * away * half))
        low = np.int64(words[4 * i + 3]) * _WORD
        sure = low + _WORD <= chance - _DOUBT
        if divisor != 1:
            magnitude //= divisor
        negative = np.int64(words[4 * i + 1] & np.uint32(1))
        drawn[i] = (magnitude ^ -negative) + negative
        kept[i] = sure & (bits < top) & ((magnitude | (1 - negative)) != 0)  # else small values and 0 would be likelier
        if bits < top and (doubt or low - _DOUBT < chance < low + _WORD + _DOUBT):
            kept[i] = 2
            doubts += 1
    return doubts


@numba.njit(cache=True)
def _gather(drawn, kept, tries, out, filled):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Append what was kept to `out`, as far as there is room; how many there were."""
    low = filled
    for i in range(tries):
        if filled == len(out):
            break
        out[filled] = drawn[i]
        filled += kept[i]
    return filled - low


def _exactly(law: _Law, words: list[int], source: Randomness) -> int | None:
    """What `_try` makes of four words where its doubles cannot tell; None = refused."""
    uniform = (words[0] | (words[1] >> 1) << 32) % law.width
    whole = _geometric(words[2], law.parts, source)
    magnitude = (uniform + law.width * whole) // law.divisor
    if not _coin(law.cost(uniform, whole), words[3], source) or (words[1] & 1 and magnitude == 0):
        return None
    return -magnitude if words[1] & 1 else magnitude


def _geometric(word: int, parts: int, source: Randomness) -> int:
    """P(at least k) = exp(-k / parts): the whole part of -parts log(u), u uniform, with `word` as its first 32 bits."""
    bits = 32
    while True:
        with localcontext() as context:
            context.prec = bits // 3 + 20
            doubt = Decimal(2) ** -(bits + 8)  # what the logarithms may err by
            low, high = Decimal(word) / 2**bits, Decimal(word + 1) / 2**bits
            if word and int(-parts * high.ln() - doubt) == (found := int(-parts * low.ln() + doubt)):
                return found
        word, bits = (word << 32) | int.from_bytes(source.bytes(4), "big"), bits + 32


def coin(x: Fraction, source: Randomness) -> bool:
    """True with a chance of exp(-x), exactly; x >= 0."""
    return _coin(x, int.from_bytes(source.bytes(4), "big"), source)


def _coin(x: Fraction, word: int, source: Randomness) -> bool:
    """Whether a uniform number in [0, 1), whose first 32 bits are `word`, is below exp(-x)."""
    bits = 32
    while True:
        with localcontext() as context:
            context.prec = bits // 3 + 20
            chance = Fraction((-(Decimal(x.numerator) / Decimal(x.denominator))).exp())
        doubt = Fraction(1, 1 << (bits + 8))
        if Fraction(word + 1, 1 << bits) <= chance - doubt:
            return True
        if Fraction(word, 1 << bits) >= chance + doubt:
            return False
        word = (word << 32) | int.from_bytes(source.bytes(4), "big")
        bits += 32
