"""Pedersen commitments to integer vectors, which add: 48 bytes that hide a vector and hold its sender to it.

T. P. Pedersen: "Non-Interactive and Information-Theoretic Secure Verifiable Secret Sharing", CRYPTO 1991. The check of
a sum against the sum of commitments: J. Bell et al.: "ACORN: Input Validation for Secure Aggregation", USENIX Security
2023, https://eprint.iacr.org/2022/1461 (detection). Differs from the paper: blinding factors travel as limbs through
the same secure sum as the vectors.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from tacit.core.values import Array, ProtocolError
from tacit.privacy.proofs.errors import OpeningError
from tacit.privacy.proofs.generators import LONGEST, blind, generators
from tacit.privacy.proofs.group import ORDER, Point, combined, decoded, drawn, encoded, library, scalar
from tacit.privacy.secure_sum.entropy import RandomBytes

LIMBS = 16  # of a blinding factor, in the secure sum
BITS = 16  # of a limb: sums of up to 2^16 clients stay below 2^32
_OFFSET = 2**31  # added before, and taken off after: scalars of 32 bits cost a fifth of negative ones


@lru_cache(maxsize=8)
def _offset(size: int) -> Point:
    return combined(generators("vector", size), [library().Scalar(1)] * size) * scalar(-_OFFSET)


def blinding(source: RandomBytes) -> int:
    """A fresh blinding factor: uniform below ORDER, secret, for one commitment only."""
    return int(drawn(source.bytes(48))[0])


def commit(values: Array, factor: int) -> bytes:
    """48 bytes that commit to `values` under the blinding factor.

    Guarantees:
        commitments to vectors add up to a commitment to the sum of the vectors under the sum of the factors.
        commitments to the same vector under different factors differ.

    Args:
        values: (n,) uint32 as `Quantiser.encode` gives them (read as signed), or int32.
        factor: from `blinding`.

    Raises:
        ProtocolError: not (n,) of 32-bit integers, or more than LONGEST.
    """
    if values.ndim != 1 or values.dtype not in (np.uint32, np.int32) or not 0 < len(values) <= LONGEST:
        raise ProtocolError(
            f"a commitment takes 1 to {LONGEST} integers of 32 bits, got {values.dtype} of shape {values.shape}"
        )
    number = library().Scalar
    shifted = np.ascontiguousarray(values).view(np.uint32) ^ np.uint32(_OFFSET)  # as signed, plus 2^31
    weights = [number(value) for value in shifted.tolist()]
    vector = combined([*generators("vector", len(values)), blind()], [*weights, scalar(factor)])
    return encoded(vector + _offset(len(values)))


def added(commitments: Iterable[bytes]) -> bytes:
    """The commitment to the sum.

    Raises:
        ProtocolError: one of them is no point of the curve.
    """
    return encoded(sum((decoded(it) for it in commitments), start=library().G1Point.identity()))


def limbs(factor: int) -> Array:
    """(LIMBS,) uint32 of a blinding factor, the least significant first, to go behind the vector in a secure sum."""
    return np.frombuffer((factor % ORDER).to_bytes(2 * LIMBS, "little"), "<u2").astype(np.uint32)


def factor_of(summed: Array) -> int:
    """The sum of blinding factors mod ORDER, of the (LIMBS,) uint32 sum of their limbs."""
    return sum(int(limb) << (BITS * number) for number, limb in enumerate(summed.tolist())) % ORDER


def check_opening(commitments: Sequence[bytes], opened: Array, factor: int) -> None:
    """Hold an opened sum against what the clients in it had committed to.

    Guarantees:
        the sum of the committed vectors under the sum of their factors passes.
        a sum that differs in any coordinate is refused.
        a sum that overflowed is refused.

    It passes otherwise only for who can compute discrete logarithms. It says that somebody lied, never who.

    Args:
        commitments: of exactly those clients whose vectors are in the sum; at most 2^16.
        opened: (n,) uint32, their sum mod 2^32, read as signed.
        factor: the sum of their blinding factors mod ORDER.

    Raises:
        OpeningError: it does not match.
        ProtocolError: a commitment is no point of the curve, or there are none or too many.
    """
    if not 0 < len(commitments) <= 2 ** (32 - BITS):
        raise ProtocolError(f"1 to {2 ** (32 - BITS)} commitments can be checked at once, got {len(commitments)}")
    if not hmac.compare_digest(added(commitments), commit(opened, factor)):
        raise OpeningError(
            f"the opened sum is not the sum of what {len(commitments)} clients committed to: at least one of them sent "
            "another vector than it had committed to, or the sum went beyond 31 bits. The round is refused; nobody "
            "is named by this check."
        )
