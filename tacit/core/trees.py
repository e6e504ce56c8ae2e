"""Laying named arrays end to end, taking them apart again, and deriving seeds."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection

import numpy as np

from tacit.core.values import Array, Params, Vector


def flatten(params: Params, dtype: type = np.float64) -> Vector:
    """All arrays end to end, in name order: (d,)."""
    if not params:
        return np.zeros(0, dtype)
    return np.concatenate([np.asarray(params[name], dtype).ravel() for name in sorted(params)])


def marked(like: Params, names: Collection[str]) -> Array:
    """(d,) bool: which values of the arrays, laid end to end in name order, belong to these names."""
    return flatten({name: np.full(np.shape(value), name in names) for name, value in like.items()}, bool)


def unflatten(vector: Vector, like: Params) -> Params:
    """The inverse of `flatten`: arrays shaped as in `like`, in the vector's own dtype.

    Raises:
        ValueError: the vector does not hold exactly as many values as `like`.
    """
    needed = size(like)
    if vector.shape != (needed,):
        raise ValueError(f"a vector of shape ({needed},) was needed, got {vector.shape}")
    out, low = {}, 0
    for name in sorted(like):
        shape = np.shape(like[name])
        high = low + math.prod(shape)
        out[name] = vector[low:high].reshape(shape)
        low = high
    return out


def size(params: Params) -> int:
    """Number of values in all arrays."""
    return sum(math.prod(np.shape(value)) for value in params.values())


def norm(params: Params) -> float:
    """L2 norm over all arrays, in float64."""
    return math.sqrt(sum(float(np.sum(np.square(value, dtype=np.float64))) for value in params.values()))


def seed_of(*parts: object) -> int:
    """63 bits of blake2b over the parts' repr: the same in every process, unlike `hash`. Never for noise."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
