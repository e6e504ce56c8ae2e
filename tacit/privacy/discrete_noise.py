"""Exact discrete Gaussian and discrete Laplace noise on integers, from random bits, many draws at a time.

C. Canonne, G. Kamath, T. Steinke: "The Discrete Gaussian for Differential Privacy", NeurIPS 2020,
https://arxiv.org/abs/2004.00010, Algorithms 2 and 3: rejection from a discrete Laplace, whose magnitude is put together
from a uniform and a geometric part. Differs from the paper: a draw is decided by comparing one uniform number with
exp(-x) in doubles, and by exact arithmetic on further random bits where doubles cannot tell (once in 10^13 draws). That
gives the same distribution in far less time. Time depends on the draws: do not let an adversary measure it.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Array

_DOUBT = 2.0**-44  # doubles err by less, in exp(-x) and in a uniform number of 53 bits
_MOST = 2.0**40  # largest standard deviation or scale, so that magnitudes stay exact in doubles and int64


def discrete_gaussian(sigma: float, count: int, source: Randomness) -> Array:
    """(count,) int64, P(k) proportional to exp(-k^2 / (2 sigma^2)).

    Raises:
        ValueError: sigma is not in (0, 2^40].
    """
    if not 0.0 < sigma <= _MOST:
        raise ValueError(f"a discrete Gaussian needs 0 < sigma <= 2^40, got {sigma}")
    scale, square = math.floor(sigma) + 1, Fraction(sigma) ** 2
    peak = sigma * sigma / scale

    def refusal(uniform: Array, whole: Array) -> Array:
        magnitude = uniform + scale * whole
        return np.asarray(uniform / scale + np.square(magnitude - peak) / (2.0 * sigma * sigma))

    def exact(uniform: int, whole: int) -> Fraction:
        return Fraction(uniform, scale) + (uniform + scale * whole - square / scale) ** 2 / (2 * square)

    return _signed(scale, count, source, refusal, exact)


def discrete_laplace(scale: float, count: int, source: Randomness) -> Array:
    """(count,) int64, P(k) proportional to exp(-|k| / scale).

    Raises:
        ValueError: scale is not in [2^-10, 2^40].
    """
    if not 2.0**-10 <= scale <= _MOST:
        raise ValueError(f"a discrete Laplace needs 2^-10 <= scale <= 2^40, got {scale}")
    parts = min(10**4, int(2**52 / max(scale, 1.0)))
    ratio = Fraction(math.ceil(scale * parts), parts)  # rounded up by 10^-4 of a step at most: never less noise
    return _signed(
        ratio.numerator,
        count,
        source,
        lambda uniform, whole: uniform / ratio.numerator,
        lambda uniform, whole: Fraction(uniform, ratio.numerator),
        ratio.denominator,
    )


def _signed(scale: int, count: int, source: Randomness, refusal, exact, divisor: int = 1) -> Array:  # type: ignore[no-untyped-def]
    """Draw uniform + scale * whole with probability exp(-refusal - whole), divide, and give it a sign."""
    out = np.zeros(count, np.int64)
    filled = 0
    while filled < count:
        tries = int(2.2 * (count - filled)) + 16
        uniform = _below(scale, tries, source)
        whole = _geometric(tries, source)
        kept = _accepted(refusal(uniform.astype(np.float64), whole.astype(np.float64)), uniform, whole, exact, source)
        magnitude = (uniform + scale * whole) // divisor
        negative = np.frombuffer(source.bytes(tries), np.uint8) & 1 == 1
        kept &= ~(negative & (magnitude == 0))  # else 0 would come twice
        values = np.where(negative, -magnitude, magnitude)[kept][: count - filled]
        out[filled : filled + len(values)] = values
        filled += len(values)
    return out


def _below(limit: int, count: int, source: Randomness) -> Array:
    """(count,) int64, uniform on 0 to limit - 1, without bias."""
    bits = limit.bit_length()
    out = np.zeros(count, np.int64)
    missing = np.arange(count)
    while len(missing):
        words = np.frombuffer(source.bytes(8 * len(missing)), np.uint64) >> np.uint64(64 - bits)
        out[missing] = words.astype(np.int64)
        missing = missing[out[missing] >= limit]
    return out


def _geometric(count: int, source: Randomness) -> Array:
    """(count,) int64, P(k) = (1 - 1/e) e^-k: how often in a row a coin of probability 1 / e falls."""
    out = np.zeros(count, np.int64)
    going = np.arange(count)
    while len(going):
        none = np.zeros(len(going), np.int64)
        on = _accepted(np.ones(len(going)), none, none, lambda u, w: Fraction(1), source)
        going = going[on]
        out[going] += 1
    return out


def _accepted(x: Array, uniform: Array, whole: Array, exact, source: Randomness) -> Array:  # type: ignore[no-untyped-def]
    """(n,) bool, true with probability exp(-x): by doubles, or where they cannot tell by `exact(uniform, whole)`."""
    words = np.frombuffer(source.bytes(8 * len(x)), np.uint64)
    drawn, chance = words.astype(np.float64) * 2.0**-64, np.exp(-x)
    out: Array = drawn < chance
    for place in np.flatnonzero(np.abs(drawn - chance) < _DOUBT):
        out[place] = _coin(exact(int(uniform[place]), int(whole[place])), int(words[place]), source)
    return out


def _coin(x: Fraction, word: int, source: Randomness) -> bool:
    """Whether a uniform number in [0, 1), whose first 64 bits are `word`, is below exp(-x)."""
    bits = 64
    while True:
        with localcontext() as context:
            context.prec = bits // 3 + 20
            chance = Fraction((-(Decimal(x.numerator) / Decimal(x.denominator))).exp())
        doubt = Fraction(1, 1 << (bits + 8))
        if Fraction(word + 1, 1 << bits) <= chance - doubt:
            return True
        if Fraction(word, 1 << bits) >= chance + doubt:
            return False
        word = (word << 64) | int.from_bytes(source.bytes(8), "big")
        bits += 64
