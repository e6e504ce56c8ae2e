"""Compiled loops of this folder, and repeatable random numbers inside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


def kernel(function: F) -> F:
    """Compile with Numba on first use and keep the machine code beside the source; the type stays the function's."""
    return cast(F, njit(cache=True)(function))


@kernel
def mix(state: np.uint64) -> np.uint64:
    """Output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): 64 mixed bits. For simulation, never secrets."""
    z = state
    z = (z ^ (z >> _S30)) * _FIRST
    z = (z ^ (z >> _S27)) * _SECOND
    return z ^ (z >> _S31)


@kernel
def start(seed: np.uint64, row: int) -> np.uint64:
    """State of the random stream of one row; streams of different rows or seeds are unrelated."""
    return mix(seed ^ mix(np.uint64(row) + _GOLDEN))


@kernel
def advance(state: np.uint64) -> np.uint64:
    """The next state of a stream."""
    return state + _GOLDEN


@kernel
def below(state: np.uint64, limit: int) -> int:
    """An integer in [0, limit) from a state, for limit < 2^32; its bias is under limit / 2^32."""
    return int(np.int64(((mix(state) >> _S32) * np.uint64(limit)) >> _S32))


@kernel
def unit(state: np.uint64) -> float:
    """A number in (0, 1) from a state."""
    return (float(mix(state) >> np.uint64(12)) + 0.5) / 4503599627370496.0
