"""Linear fingerprints: whoever sees those of all summands recognises their sum without seeing the summands.

A random linear map over each prime, drawn by a hash of what everybody committed to, as in batch verification. A sum
that was not formed from the committed masks fits with a chance of at most 2^-26 per row and prime where it differs,
2^-130 over the rows; drawing again needs another commitment.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numba
import numpy as np

from tacit.core.values import Array
from tacit.privacy.homomorphic.ring import BITS, Ring
from tacit.privacy.randomness import Stream

ROWS = 5


@numba.njit(cache=True)
def dot(x: Array, weights: Array, prime: int) -> Any:  # pragma: no cover
    """Sum of products mod a prime of 27 bits; both below it."""
    flat = x.reshape(-1)
    p, total = np.uint64(prime), np.uint64(0)
    for low in range(0, flat.shape[0], 512):  # of products below 2^54
        part = np.uint64(0)
        for i in range(low, min(low + 512, flat.shape[0])):
            part += np.uint64(flat[i]) * np.uint64(weights[i])
        total += part % p
    return total % p


def fingerprint(ring: Ring, mask: Array, size: int, challenge: bytes) -> Array:
    """(ROWS, primes) uint32 of a mask of `size` values, by a map that the challenge draws."""
    out = np.zeros((ROWS, ring.primes), np.uint64)
    seeds = [hashlib.sha256(b"tacit homomorphic 1: map %d " % row + challenge).digest() for row in range(ROWS)]
    streams = [Stream(seed) for seed in seeds]
    low = 0
    for _, lanes in ring.blocks(size):
        count = ring.degree * lanes
        parts = mask[low : low + ring.primes * count].reshape(ring.primes, count)
        low += parts.size
        for row, stream in enumerate(streams):
            weights = np.frombuffer(stream.bytes(4 * count), np.uint32) >> np.uint32(32 - BITS)
            for column, p in enumerate(ring.moduli):
                out[row, column] += np.uint64(dot(parts[column], weights, p))
    return (out % np.array(ring.moduli, np.uint64)).astype(np.uint32)


def added(ring: Ring, prints: Array) -> Array:
    """(ROWS, primes) uint32: the fingerprint that the sum must have, of (n, ROWS, primes) uint32."""
    total: Array = prints.astype(np.uint64).sum(axis=0) % np.array(ring.moduli, np.uint64)
    return total.astype(np.uint32)
