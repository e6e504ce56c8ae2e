"""Masks: the AES-256-CTR key stream of a 32-byte seed, read as little-endian uint32 and added mod 2^32.

A seed serves for one mask only, so the counter starts at zero. Stretches of 128 kB keep key stream, zeros and sum in
the second-level cache (512 kB a core where this was tuned); all masks of a stretch are added before the next begins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from tacit.core.values import Array

_STRETCH = 32 * 1024  # values of 4 bytes
_OPEN = 512  # ciphers open at a time, about 1 kB each
_START = modes.CTR(bytes(16))
_ZEROS = memoryview(bytes(4 * _STRETCH))


def stream(seed: bytes) -> CipherContext:
    """The key stream of a 32-byte seed, from its beginning: `update(bytes(n))` gives the next n bytes."""
    return Cipher(algorithms.AES(seed), _START).encryptor()


def add(total: Array, plus: Sequence[bytes], minus: Sequence[bytes]) -> None:
    """Add the masks of the seeds in `plus` to `total` (d,) uint32, and subtract those in `minus`, in place, mod 2^32.

    Raises:
        ValueError: `total` is not one contiguous, writable stretch of uint32.
    """
    if total.dtype != np.uint32 or total.ndim != 1 or not total.flags.c_contiguous or not total.flags.writeable:
        raise ValueError("masks are added to a contiguous, writable (d,) array of uint32")
    signed = [(seed, np.add) for seed in plus] + [(seed, np.subtract) for seed in minus]
    space = bytearray(4 * min(_STRETCH, len(total)) + 15)  # update_into asks for one block more, less one byte
    mask = np.frombuffer(space, "<u4", count=min(_STRETCH, len(total)))
    for first in range(0, len(signed), _OPEN):
        streams = [(stream(seed).update_into, sign) for seed, sign in signed[first : first + _OPEN]]
        for low in range(0, len(total), _STRETCH):
            part = total[low : low + _STRETCH]
            zeros, values = _ZEROS[: 4 * len(part)], mask[: len(part)]
            for fill, sign in streams:
                fill(zeros, space)
                sign(part, values, out=part)
