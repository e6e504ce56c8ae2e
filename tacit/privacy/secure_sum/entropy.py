"""Where secret bytes come from: the operating system, or anything else that has `bytes(count)`."""

from __future__ import annotations

import builtins
import os
from typing import Protocol


class RandomBytes(Protocol):
    """What masks, keys and rounding draw from: `System`, a stream of privacy.randomness, a numpy Generator."""

    def bytes(self, count: int, /) -> builtins.bytes: ...  # noqa: D102 - the class says it


class System:
    """The operating system's generator, asked anew each time, so that a forked process never repeats its parent."""

    __slots__ = ()

    def bytes(self, count: int, /) -> builtins.bytes:
        """`count` unpredictable bytes."""
        return os.urandom(count)
