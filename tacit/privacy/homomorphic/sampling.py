"""Draws what encryption needs: ternary secrets, binomial errors, smudging noise, and the common public polynomial."""

from __future__ import annotations

import hashlib

import numba
import numpy as np

from tacit.core.values import Array
from tacit.privacy.homomorphic.ring import BITS, Ring
from tacit.privacy.randomness import Stream
from tacit.privacy.secure_sum.entropy import RandomBytes


@numba.njit(cache=True)
def _trits(raw: Array, out: Array, done: int) -> int:  # pragma: no cover
    """Five ternary values of each byte below 3^5, the others are passed over; how many are filled."""
    for byte in raw:
        if byte < 243:
            left = int(byte)
            for _ in range(5):
                if done == out.shape[0]:
                    return done
                out[done] = left % 3 - 1
                left //= 3
                done += 1
    return done


@numba.njit(cache=True)
def _binomial(raw: Array, out: Array) -> None:  # pragma: no cover
    """Heads less tails of 21 and 21 coins, from the lower 42 bits of each word."""
    coins = np.uint64(2**21 - 1)
    odd, pairs, nibbles = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
    for i in range(raw.shape[0]):
        word = (raw[i] & coins) | (((raw[i] >> np.uint64(21)) & coins) << np.uint64(32))
        word = (word & odd) + ((word >> np.uint64(1)) & odd)
        word = (word & pairs) + ((word >> np.uint64(2)) & pairs)
        word = (word & nibbles) + ((word >> np.uint64(4)) & nibbles)
        word = word + (word >> np.uint64(8))
        word = word + (word >> np.uint64(16))
        out[i] = np.int64(word & np.uint64(63)) - np.int64((word >> np.uint64(32)) & np.uint64(63))


def ternary(shape: tuple[int, int], source: RandomBytes) -> Array:
    """Int8 of -1, 0 and 1, uniform."""
    out, done = np.empty(shape[0] * shape[1], np.int8), 0
    while done < len(out):
        raw = np.frombuffer(source.bytes((len(out) - done) * 11 // 50 + 64), np.uint8)
        done = _trits(raw, out, done)
    return out.reshape(shape)


def error(shape: tuple[int, int], source: RandomBytes) -> Array:
    """Int8 of a centred binomial of 42 coins: deviation 3.24, never beyond 21."""
    out = np.empty(shape[0] * shape[1], np.int8)
    _binomial(np.frombuffer(source.bytes(8 * len(out)), np.uint64), out)
    return out.reshape(shape)


def uniform(shape: tuple[int, int], bits: int, source: RandomBytes) -> Array:
    """(3, ...) uint32 limbs, lowest first, of integers that are uniform in [0, 2^bits), bits at most 96."""
    limbs = np.frombuffer(source.bytes(12 * shape[0] * shape[1]), np.uint32).reshape(3, *shape).copy()
    for number in range(3):
        kept = min(max(bits - 32 * number, 0), 32)
        limbs[number] &= np.uint32(2**kept - 1)
    return limbs


def common(ring: Ring, seed: bytes) -> Array:
    """(primes, N) uint32: the polynomial a, uniform, that every party reckons from a public seed; nobody chose it."""
    out = np.empty((ring.primes, ring.degree), np.uint32)
    for row, p in zip(out, ring.moduli, strict=True):
        stream = Stream(hashlib.sha256(b"tacit homomorphic 1: common " + p.to_bytes(4, "big") + seed).digest())
        done = 0
        while done < ring.degree:
            drawn = np.frombuffer(stream.bytes(4 * ring.degree), np.uint32) >> np.uint32(32 - BITS)
            fit = drawn[drawn < p][: ring.degree - done]
            row[done : done + len(fit)] = fit
            done += len(fit)
    return out
