"""What one client's encoded contribution is when it leaves unmasked: arrays whose bytes the report counts.

Their size follows from the plan and the round alone, never from the values, so that it tells nothing either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit

from tacit.core.protocols import Shared, Transform
from tacit.core.values import Array, Params, ProtocolError, Turn, Vector
from tacit.privacy.transforms.error_feedback import ErrorFeedback
from tacit.privacy.transforms.laplace import Laplace
from tacit.privacy.transforms.low_bit import LowBit
from tacit.privacy.transforms.top_k import TopK


def grid(transforms: Sequence[Transform], turns: Sequence[Turn]) -> tuple[float, int] | None:
    """(step, levels) of the grid that encoded contributions lie on, if they do: values step * (k - levels / 2).

    What only bounds may stand after the rounding, as long as its bound is no smaller than the grid's.
    """
    tightest = math.inf
    for transform, turn in zip(reversed(transforms), reversed(turns), strict=True):
        inner = transform.compress if isinstance(transform, ErrorFeedback) else transform
        if isinstance(inner, LowBit | Laplace):
            return inner.grid(turn) if tightest >= inner.bound else None
        if transform.per_client or isinstance(transform, Shared):
            return None
        tightest = min(tightest, transform.bound if transform.bound is not None else math.inf)
    return None


def message(transforms: Sequence[Transform], turns: Sequence[Turn], encoded: Vector) -> dict[str, Array]:
    """The arrays that leave: packed bits; places and values where the plan reveals them; or float32 values."""
    if (found := grid(transforms, turns)) is not None:
        step, levels = found
        places = np.rint(encoded / step + levels / 2.0).astype(np.uint32)
        return {"bits": to_bits(places, levels.bit_length())}
    if (sparse := _sparse(transforms)) is not None:
        kept = sparse.kept(len(encoded))
        chosen = np.sort(np.argpartition(np.abs(encoded), len(encoded) - kept)[len(encoded) - kept :])
        return {"places": chosen.astype(np.uint32), "values": encoded[chosen].astype(np.float32)}
    return {"values": encoded.astype(np.float32)}


def opened(transforms: Sequence[Transform], turns: Sequence[Turn], arrays: Params) -> Vector:
    """The encoded contribution (length,) float64 in a message.

    Raises:
        ProtocolError: arrays that no such message has.
    """
    length = transforms[-1].length(turns[-1]) if transforms else 0
    if (found := grid(transforms, turns)) is not None:
        step, levels = found
        width = levels.bit_length()
        _check(arrays, {"bits": (np.dtype(np.uint8), -(-length * width // 8))})
        return np.asarray(step * (from_bits(arrays["bits"], width, length).astype(np.float64) - levels / 2.0))
    if (sparse := _sparse(transforms)) is not None:
        kept = sparse.kept(length)
        _check(arrays, {"places": (np.dtype(np.uint32), kept), "values": (np.dtype(np.float32), kept)})
        if kept and (arrays["places"].max() >= length or np.any(np.diff(arrays["places"].astype(np.int64)) <= 0)):
            raise ProtocolError("a sparse message names places that do not rise, or that do not exist")
        out = np.zeros(length)
        out[arrays["places"]] = arrays["values"]
        return out
    _check(arrays, {"values": (np.dtype(np.float32), length)})
    return np.asarray(arrays["values"], np.float64)


def size(arrays: Params) -> int:
    """Bytes of a message."""
    return sum(int(value.nbytes) for value in arrays.values())


def to_bits(values: Array, width: int) -> Array:
    """(n,) integers of `width` bits -> (ceil(n * width / 8),) uint8, the highest bit of each first."""
    out = np.zeros(-(-len(values) * width // 8), np.uint8)
    _write(np.ascontiguousarray(values, np.uint32), width, out)
    return out


def from_bits(packed: Array, width: int, count: int) -> Array:
    """(count,) uint32: the inverse of `to_bits`."""
    out = np.zeros(count, np.uint32)
    _read(np.ascontiguousarray(packed, np.uint8), width, out)
    return out


@njit(cache=True)
def _write(values, width, out):  # type: ignore[no-untyped-def]
    held, bits, at = 0, 0, 0
    for value in values:
        held, bits = (held << width) | value, bits + width
        while bits >= 8:
            bits -= 8
            out[at] = (held >> bits) & 255
            at += 1
        held &= (1 << bits) - 1
    if bits:
        out[at] = (held << (8 - bits)) & 255


@njit(cache=True)
def _read(packed, width, out):  # type: ignore[no-untyped-def]
    held, bits, at = 0, 0, 0
    for k in range(len(out)):
        while bits < width:
            held, bits, at = (held << 8) | packed[at], bits + 8, at + 1
        bits -= width
        out[k] = held >> bits
        held &= (1 << bits) - 1


def _sparse(transforms: Sequence[Transform]) -> TopK | None:
    """The top-k rule whose zeros need not be sent: the last one that changes values, and the plan reveals places."""
    for transform in reversed(transforms):
        inner = transform.compress if isinstance(transform, ErrorFeedback) else transform
        if isinstance(inner, TopK):
            return inner if inner.reveals_support else None
        if transform.per_client:
            return None
    return None


def _check(arrays: Params, needed: dict[str, tuple[np.dtype[np.generic], int]]) -> None:
    found = {name: (np.asarray(value).dtype, len(value)) for name, value in arrays.items() if np.ndim(value) == 1}
    if found != needed or len(arrays) != len(needed):
        raise ProtocolError(f"a message of {needed} was expected, found {found}")
