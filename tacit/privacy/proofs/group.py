"""The group of all proofs: G1 of BLS12-381, prime order, about 117 bits of security; arithmetic by arkworks.

The curve: S. Bowe, "BLS12-381: New zk-SNARK Elliptic Curve Construction", 2017; parameters as in RFC 9380, section 8.8.
Nothing here uses its pairing. `py_arkworks_bls12381` (MIT or Apache-2.0) is imported when it is first needed. Its
functions that are named unchecked trust their input, so points from others pass through `decoded` and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from tacit.core.values import PlanError, ProtocolError

Point: TypeAlias = Any  # py_arkworks_bls12381.G1Point
Scalar: TypeAlias = Any  # py_arkworks_bls12381.Scalar: an integer mod ORDER

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001  # of the group: a prime of 255 bits
POINT = 48  # bytes of an encoded point: x, and three flags in the bits that x leaves free
SCALAR = 32  # bytes of an encoded scalar, the least significant first


@lru_cache(maxsize=1)
def library() -> Any:
    """The module that computes.

    Raises:
        PlanError: it is not installed.
    """
    try:
        import py_arkworks_bls12381
    except ImportError:
        raise PlanError(
            "proofs on hidden updates need the package py_arkworks_bls12381, which is not installed: "
            "pip install 'tacit[proofs]'"
        ) from None
    return py_arkworks_bls12381


def scalar(value: int) -> Scalar:
    """The scalar that an integer of any sign stands for."""
    return library().Scalar.from_le_bytes((value % ORDER).to_bytes(SCALAR, "little"))


def scalars(values: Sequence[int]) -> list[Scalar]:
    """As `scalar`, of each."""
    read = library().Scalar.from_le_bytes
    return [read((value % ORDER).to_bytes(SCALAR, "little")) for value in values]


def drawn(random: bytes) -> list[Scalar]:
    """A uniform scalar of every 48 random bytes, biased by less than 2^-128."""
    read = library().Scalar.from_le_bytes_mod_order
    return [read(random[low : low + 48]) for low in range(0, len(random), 48)]


def dot(one: Sequence[Scalar], other: Sequence[Scalar]) -> Scalar:
    """The inner product of two vectors of the same length."""
    return sum((a * b for a, b in zip(one, other, strict=True)), start=scalar(0))


def combined(points: Sequence[Point], weights: Sequence[Scalar]) -> Point:
    """The sum of weight times point: one multi-exponentiation."""
    if len(points) != len(weights):  # the library would cut off the longer one
        raise ValueError(f"{len(points)} points cannot be weighted by {len(weights)} scalars")
    return library().G1Point.multiexp_unchecked(list(points), list(weights))


def encoded(point: Point) -> bytes:
    """(POINT,) bytes."""
    return bytes(point.to_compressed_bytes())


def decoded(data: bytes) -> Point:
    """The point of (POINT,) bytes from anybody.

    Raises:
        ProtocolError: not on the curve, outside the subgroup, or not written as `encoded` writes it.
    """
    try:
        point = library().G1Point.from_compressed_bytes(data)
    except (ValueError, TypeError):
        raise ProtocolError(f"{POINT} bytes of a point of the curve are needed; these are none") from None
    if encoded(point) != data:
        raise ProtocolError("a point of the curve is not written in its one canonical form")
    return point


def written(value: Scalar) -> bytes:
    """(SCALAR,) bytes."""
    return bytes(value.to_le_bytes())


def read(data: bytes) -> Scalar:
    """The scalar of (SCALAR,) bytes from anybody.

    Raises:
        ProtocolError: another length, or not below ORDER.
    """
    if len(data) != SCALAR or int.from_bytes(data, "little") >= ORDER:
        raise ProtocolError(f"{SCALAR} bytes of a number below the order of the group are needed; these are none")
    return library().Scalar.from_le_bytes(data)
