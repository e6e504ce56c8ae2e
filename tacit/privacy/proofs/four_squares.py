"""Every whole number as four squares (Lagrange), so that a norm below a bound can be filled up to exactly the bound.

M. O. Rabin, J. O. Shallit: "Randomized Algorithms in Number Theory", Communications on Pure and Applied Mathematics 39,
1986, https://doi.org/10.1002/cpa.3160390713. Differs from the paper: the number is halved four-wise until it is odd or
twice an odd number, and primes are tested by Miller and Rabin with the bases that decide below 3.3 * 10^24.
"""

from __future__ import annotations

import math

from tacit.privacy.secure_sum.entropy import RandomBytes

_BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)  # J. Sorenson, J. Webster, Math. Comp. 86, 2017
LIMIT = 2**80
_SMALL = 64  # below: by trying


def _prime(n: int) -> bool:
    """Whether n is prime; n < 3.3 * 10^24."""
    if n < 2:
        return False
    for base in _BASES:
        if n % base == 0:
            return n == base
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in _BASES:
        x = pow(base, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def _two(prime: int) -> tuple[int, int]:
    """A prime of the form 4 k + 1 as two squares, by Euclid's algorithm on a root of -1 (Hermite, Serret)."""
    base = next(base for base in range(2, prime) if pow(base, (prime - 1) // 2, prime) == prime - 1)
    a, b = prime, pow(base, (prime - 1) // 4, prime)
    while b * b > prime:
        a, b = b, a % b
    return b, math.isqrt(prime - b * b)


def _tried(n: int) -> tuple[int, int, int, int]:
    """By trying."""
    reach = range(math.isqrt(n) + 1)
    for a in reach:
        for b in reach:
            for c in reach:
                rest = n - a * a - b * b - c * c
                if rest >= 0 and math.isqrt(rest) ** 2 == rest:
                    return a, b, c, math.isqrt(rest)
    raise AssertionError("Lagrange 1770")


def four_squares(n: int, source: RandomBytes) -> tuple[int, int, int, int]:
    """Four whole numbers whose squares add up to n.

    Guarantees:
        the squares add up to n.

    It takes a few milliseconds that depend on n: not for who can measure a client's time to the millisecond.

    Raises:
        ValueError: n is below 0 or not below LIMIT.
    """
    if not 0 <= n < LIMIT:
        raise ValueError(f"four squares are found for whole numbers from 0 to {LIMIT}")
    scale = 1
    while n and n % 4 == 0:
        n, scale = n // 4, 2 * scale
    if n < _SMALL:
        a, b, c, d = _tried(n)
        return a * scale, b * scale, c * scale, d * scale
    reach = math.isqrt(n)
    while True:
        random = source.bytes(32)
        a = int.from_bytes(random[:16], "big") % (reach + 1)
        b = int.from_bytes(random[16:], "big") % (math.isqrt(n - a * a) + 1)
        rest = n - a * a - b * b
        if rest % 4 == 1 and _prime(rest):
            c, d = _two(rest)
            return a * scale, b * scale, c * scale, d * scale
