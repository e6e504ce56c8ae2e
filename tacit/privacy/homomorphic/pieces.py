"""Long messages: several pieces of bytes in one array, made and read without a copy of the whole."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

import numpy as np

from tacit.core.values import Array, Params, ProtocolError
from tacit.privacy.secure_sum.wire import taken


class Pieces:
    """Pieces of any length, one after the other in one growing stretch of memory: 8 bytes of length before each."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = bytearray()

    def append(self, piece: bytes | memoryview) -> None:
        """One more piece."""
        self._bytes += struct.pack("<Q", len(piece))
        self._bytes += piece

    def array(self) -> Array:
        """(n,) uint8 of the pieces so far, not copied: nothing can be appended any more."""
        return np.frombuffer(self._bytes, np.uint8)


def packed(frames: Iterable[bytes | memoryview]) -> Array:
    """(n,) uint8 that holds these pieces."""
    out = Pieces()
    for frame in frames:
        out.append(frame)
    return out.array()


def pieces(message: Array) -> list[memoryview]:
    """What `packed` packed, not copied.

    Raises:
        ProtocolError: something else, or nothing.
    """
    view, low, out = np.ascontiguousarray(message).data, 0, list[memoryview]()
    while low < len(view):
        size = int.from_bytes(view[low : low + 8], "little")
        low += 8 + size
        if low > len(view):
            raise ProtocolError("a message of the homomorphic sum breaks off")
        out.append(view[low - size : low])
    if not out:
        raise ProtocolError("a message of the homomorphic sum is empty")
    return out


def flat(arrays: Params, name: str) -> Array:
    """The named array of a message, (n,) uint8 of any length.

    Raises:
        ProtocolError: it is missing or something else.
    """
    found = arrays.get(name)
    length = len(found) if isinstance(found, np.ndarray) and found.ndim == 1 else 0
    return np.ascontiguousarray(taken(arrays, name, (length,)))


def hashed(message: bytes | memoryview | Array) -> bytes:
    """SHA-256 of what is too long to be signed."""
    return hashlib.sha256(np.ascontiguousarray(message).data if isinstance(message, np.ndarray) else message).digest()
