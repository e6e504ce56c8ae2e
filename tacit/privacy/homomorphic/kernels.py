"""What encryption does to polynomials mod a prime, lane by lane: sums, products, noise, fractions of q."""

from __future__ import annotations

import numba
import numpy as np

from tacit.core.values import Array
from tacit.privacy.homomorphic.ring import once, times


@numba.njit(cache=True)
def residues(small: Array, out: Array, p: int) -> None:  # pragma: no cover
    """Small signed integers mod p."""
    for j in range(small.shape[0]):
        for k in range(small.shape[1]):
            out[j, k] = small[j, k] + (p if small[j, k] < 0 else 0)


@numba.njit(cache=True)
def product(x: Array, factor: Array, prime: int, out: Array) -> None:  # pragma: no cover
    """Each polynomial of x times one transformed polynomial."""
    p = np.uint64(prime)
    for j in range(x.shape[0]):
        w, ws = np.uint64(factor[0, j]), np.uint64(factor[1, j])
        for k in range(x.shape[1]):
            out[j, k] = once(times(np.uint64(x[j, k]), w, ws, p), p)


@numba.njit(cache=True)
def add_residues(x: Array, y: Array, prime: int) -> None:  # pragma: no cover
    """X += y mod p, both below p, in place."""
    flat, other = x.reshape(-1), y.reshape(-1)
    p = np.uint64(prime)
    for i in range(flat.shape[0]):
        flat[i] = once(np.uint64(flat[i]) + np.uint64(other[i]), p)


@numba.njit(cache=True)
def fractions(x: Array, prime: int, lift: Array, share: Array, out: Array) -> None:  # pragma: no cover
    """Add what residues mod p contribute to x / q, in units of 2^-64; too little by two units at most."""
    p = np.uint64(prime)
    flat = x.reshape(-1)
    for i in range(out.shape[0]):
        y = once(times(np.uint64(flat[i]), lift[0], lift[1], p), p)
        out[i] += ((y * share[0]) << np.uint64(5)) + ((y * share[1]) >> np.uint64(27))


@numba.njit(cache=True)
def smudge(x: Array, noise: Array, half: int, limbs: Array, prime: int) -> None:  # pragma: no cover
    """X += noise - half mod p; `noise` (3, N, lanes) limbs."""
    p, less = np.uint64(prime), np.uint64(prime) - np.uint64(half)
    for j in range(x.shape[0]):
        for k in range(x.shape[1]):
            total = np.uint64(x[j, k]) + less
            for n in range(3):
                total += times(np.uint64(noise[n, j, k]), limbs[n, 0], limbs[n, 1], p)
            x[j, k] = total % p
