"""Shamir's secret sharing of 32-byte secrets over the prime field of 2^256 + 297 elements.

A. Shamir: "How to share a secret", CACM 22(11), 1979, https://doi.org/10.1145/359168.359176. Shares stand at the points
1 to n. Python integers are not constant time: run this where nobody measures the time of single operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from tacit.privacy.secure_sum.entropy import RandomBytes

PRIME = 2**256 + 297
SHARE = 33  # bytes of one share
_WIDE = 40  # random bytes per coefficient: its distance from uniform is below 2^-63


def split(secret: bytes, threshold: int, count: int, source: RandomBytes) -> list[bytes]:
    """`count` shares of SHARE bytes, at the points 1 to count; any `threshold` of them give the secret, fewer nothing.

    Raises:
        ValueError: the secret is not 32 bytes, or not 1 <= threshold <= count.
    """
    if len(secret) != 32 or not 1 <= threshold <= count:
        raise ValueError(f"need 32 bytes and 1 <= threshold <= count, got {len(secret)}, {threshold}, {count}")
    noise = source.bytes(_WIDE * (threshold - 1))
    coefficients = [int.from_bytes(noise[low : low + _WIDE], "big") % PRIME for low in range(0, len(noise), _WIDE)] + [
        int.from_bytes(secret, "big")
    ]
    shares = []
    for point in range(1, count + 1):
        value = 0
        for coefficient in coefficients:  # Horner; the points are small, so one reduction at the end is cheapest
            value = value * point + coefficient
        shares.append((value % PRIME).to_bytes(SHARE, "big"))
    return shares


@lru_cache(maxsize=4096)
def weights(points: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's coefficients at zero for distinct points: secret = sum of weight times share, mod PRIME."""
    denominators = []
    numerator = 1
    for mine in points:
        numerator = numerator * mine % PRIME
        product = mine
        for other in points:
            if other != mine:
                product *= other - mine
        denominators.append(product % PRIME)
    running, before = 1, []
    for value in denominators:  # all inverses for the price of one (Montgomery's trick)
        before.append(running)
        running = running * value % PRIME
    inverse = pow(running, -1, PRIME) * numerator % PRIME
    out = []
    for value, earlier in zip(reversed(denominators), reversed(before), strict=True):
        out.append(inverse * earlier % PRIME)
        inverse = inverse * value % PRIME
    return tuple(reversed(out))


def combine(points: Sequence[int], shares: Sequence[bytes]) -> bytes | None:
    """The secret behind exactly `threshold` shares at these points; None where they are no shares of 32 bytes."""
    value = sum(
        weight * int.from_bytes(part, "big") for weight, part in zip(weights(tuple(points)), shares, strict=True)
    )
    value %= PRIME
    return value.to_bytes(32, "big") if value >> 256 == 0 else None
