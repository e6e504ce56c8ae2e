"""The ring Z_q[X] / (X^N + 1) in residues modulo small primes, and its number-theoretic transform.

P. Longa, M. Naehrig: "Speeding up the Number Theoretic Transform for Faster Ideal Lattice-Based Cryptography", CANS
2016, https://eprint.iacr.org/2016/504, with the multiplication by a known factor of D. Harvey: "Faster arithmetic for
number-theoretic transforms", 2014, https://arxiv.org/abs/1205.2926. Differs from the papers: `lanes` polynomials lie
interleaved, so that every butterfly works on neighbours in memory whatever its stride, and vectorises.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np

from tacit.core.values import Array, PlanError

BITS = 27  # of a prime: four of them fill the 109 bits that the security table leaves degree 4096
LANES = 16  # polynomials worked on together: they fit the second-level cache with all their residues
_LARGEST = 2**BITS
# Largest log2 q for 128 bits of classical security with a uniform ternary secret and an error of deviation 3.2:
# M. Albrecht et al., "Homomorphic Encryption Security Standard", 2018, https://eprint.iacr.org/2019/939, Table 1.
SECURE = {4096: 109, 8192: 218}


@dataclass(frozen=True, slots=True)
class Ring:
    """Degree N and how many primes make up q. Only pairs within the 128-bit row of the security table exist.

    Raises:
        PlanError: another degree, or so many primes that q leaves fewer than 128 bits of security.
    """

    degree: int = 4096
    primes: int = 4

    def __post_init__(self) -> None:
        if self.degree not in SECURE:
            raise PlanError(f"the degree of the ring must be one of {sorted(SECURE)}, got {self.degree}")
        if not 2 <= self.primes <= SECURE[self.degree] // BITS:
            raise PlanError(
                f"a ring of degree {self.degree} takes 2 to {SECURE[self.degree] // BITS} primes of {BITS} bits for "
                f"128 bits of security, got {self.primes}"
            )

    @property
    def moduli(self) -> tuple[int, ...]:
        """The primes, largest first; each is 1 mod 2 * 8192."""
        return _moduli()[: self.primes]

    @property
    def q(self) -> int:
        """The modulus of the ring: the primes' product."""
        out = 1
        for prime in self.moduli:
            out *= prime
        return out

    def lanes(self, size: int) -> int:
        """How many polynomials hold `size` values, one value per coefficient."""
        return -(-size // self.degree)

    def blocks(self, size: int) -> list[tuple[slice, int]]:
        """Cuts `size` values into runs that are worked on together: (which values, how many polynomials)."""
        step = LANES * self.degree
        ends = [(low, min(low + step, size)) for low in range(0, size, step)]
        return [(slice(low, high), self.lanes(high - low)) for low, high in ends]

    def words(self, size: int) -> int:
        """How many uint32 the second half of a ciphertext of `size` values has."""
        return self.primes * self.degree * self.lanes(size)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tables:
    """Powers of the roots of unity and constants of a ring; each factor beside floor(factor * 2^32 / prime)."""

    p: Array  # (primes,) uint64
    forward: Array  # (primes, 2, N) uint32, bit-reversed
    backward: Array  # (primes, 2, N) uint32, bit-reversed; of the inverse roots
    shrink: Array  # (primes, 2) uint64: 1 / N
    lift: Array  # (primes, 2) uint64: (q / p)^-1 mod p
    share: Array  # (primes, 2) uint64: floor(2^91 / p), upper and lower 32 bits
    limbs: Array  # (primes, 3, 2) uint64: 2^0, 2^32, 2^64 mod p


@lru_cache(maxsize=1)
def _moduli() -> tuple[int, ...]:
    step = 2 * max(SECURE)
    found: list[int] = []
    candidate = _LARGEST - step + 1
    while len(found) < max(SECURE.values()) // BITS:
        if all(candidate % divisor for divisor in range(3, int(candidate**0.5) + 1, 2)):
            found.append(candidate)
        candidate -= step
    return tuple(found)


def beside(factor: Array, p: int) -> Array:
    """(2, ...) uint32: factors mod p, and what `times` needs beside them."""
    wide = factor.astype(np.uint64)
    return np.stack([wide, (wide << np.uint64(32)) // np.uint64(p)]).astype(np.uint32)


@lru_cache(maxsize=8)
def tables(ring: Ring) -> Tables:
    """What the kernels need to know about a ring."""
    n, bits = ring.degree, ring.degree.bit_length() - 1
    order = np.array([int(format(i, f"0{bits}b")[::-1], 2) for i in range(n)])
    forward: list[Array] = []
    backward: list[Array] = []
    shrink, lift, share, limbs = [], [], [], []
    for p in ring.moduli:
        root = next(
            x for g in range(2, p) if pow(x := pow(g, (p - 1) // (2 * n), p), n, p) == p - 1
        )  # of order 2 N: its N-th power is -1
        for base, out in ((root, forward), (pow(root, -1, p), backward)):
            powers = [1]
            for _ in range(n - 1):
                powers.append(powers[-1] * base % p)
            out.append(beside(np.array(powers, np.uint64)[order], p))
        shrink.append(beside(np.array(pow(n, -1, p)), p))
        lift.append(beside(np.array(pow(ring.q // p, -1, p)), p))
        share.append(divmod(2**91 // p, 2**32))
        limbs.append(beside(np.array([1, 2**32 % p, 2**64 % p], np.uint64), p).T)
    wide = np.uint64
    return Tables(
        np.array(ring.moduli, wide),
        np.stack(forward),
        np.stack(backward),
        np.array(shrink, wide),
        np.array(lift, wide),
        np.array(share, wide),
        np.array(limbs, wide),
    )


@numba.njit(inline="always")
def times(x, w, beside_w, p):  # type: ignore[no-untyped-def]  # pragma: no cover
    """X * w mod p in [0, 2 p), for x < 2^32 and w < p; all uint64."""
    return (x * w - ((x * beside_w) >> np.uint64(32)) * p) & np.uint64(0xFFFFFFFF)


@numba.njit(inline="always")
def once(x, p):  # type: ignore[no-untyped-def]  # pragma: no cover
    """X mod p for x < 2 p."""
    return min(x, (x - p) & np.uint64(0xFFFFFFFF))


@numba.njit(cache=True)
def transform(x: Array, roots: Array, prime: int) -> None:  # pragma: no cover
    """(N, lanes) uint32 residues below p to values at the odd powers of the root, in place, in bit-reversed order."""
    n, lanes = x.shape
    p = np.uint64(prime)
    groups, stride = 1, n // 2
    while groups < n:
        for group in range(groups):
            w, ws = np.uint64(roots[0, groups + group]), np.uint64(roots[1, groups + group])
            low = 2 * group * stride
            for j in range(low, low + stride):
                top, bottom = x[j], x[j + stride]
                for k in range(lanes):
                    u, v = np.uint64(top[k]), once(times(np.uint64(bottom[k]), w, ws, p), p)
                    top[k] = once(u + v, p)
                    bottom[k] = once(u + p - v, p)
        groups, stride = 2 * groups, stride // 2


@numba.njit(cache=True)
def restore(x: Array, roots: Array, shrink: Array, prime: int) -> None:  # pragma: no cover
    """The inverse of `transform`, in place; residues below p."""
    n, lanes = x.shape
    p = np.uint64(prime)
    groups, stride = n // 2, 1
    while groups >= 1:
        for group in range(groups):
            w, ws = np.uint64(roots[0, groups + group]), np.uint64(roots[1, groups + group])
            low = 2 * group * stride
            for j in range(low, low + stride):
                top, bottom = x[j], x[j + stride]
                for k in range(lanes):
                    u, v = np.uint64(top[k]), np.uint64(bottom[k])
                    top[k] = once(u + v, p)
                    bottom[k] = once(times(u + p - v, w, ws, p), p)
        groups, stride = groups // 2, 2 * stride
    for j in range(n):
        for k in range(lanes):
            x[j, k] = once(times(np.uint64(x[j, k]), shrink[0], shrink[1], p), p)
