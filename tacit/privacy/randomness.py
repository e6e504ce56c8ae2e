"""Random streams: AES-256-CTR keyed by the operating system, or by a seed where a plan says `simulation`.

Normal values are double-precision Box-Muller values: for simulations. Mechanisms draw whole steps of a grid instead
(`discrete_noise`, `grid_noise`), since low bits of noise in floats give it away (I. Mironov: "On Significance of the
Least Significant Bits for Differential Privacy", CCS 2012).
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from tacit.core.values import Array


class Stream:
    """One AES-256-CTR key stream, read from its beginning. Its key never shows."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError(f"an AES-256 key has 32 bytes, got {len(key)}")
        self._cipher: CipherContext = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def __repr__(self) -> str:
        return "Stream(key hidden)"

    def bytes(self, count: int) -> bytes:
        """The next `count` bytes."""
        return self._cipher.update(bytes(count))

    def uniform(self, count: int) -> Array:
        """(count,) float64 in the open interval (0, 1), 53 random bits each."""
        words = np.frombuffer(self.bytes(8 * count), np.uint64) >> np.uint64(11)
        return np.minimum((words.astype(np.float64) + 0.5) * 2.0**-53, 1.0 - 2.0**-53)  # the largest rounds up to 1

    def normal(self, count: int) -> Array:
        """(count,) float64 standard normal values by Box and Muller (1958)."""
        half = (count + 1) // 2
        radius = np.sqrt(-2.0 * np.log(self.uniform(half)))
        angle = (2.0 * np.pi) * self.uniform(half)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def secure() -> Stream:
    """A stream keyed with 32 bytes of the operating system's randomness: for noise, masks, cohorts and rounding."""
    return Stream(os.urandom(32))


def simulated(*parts: object) -> Stream:
    """A reproducible stream keyed by the parts' repr. Whoever knows the parts knows every value: simulation only."""
    return Stream(hashlib.blake2b(repr(parts).encode(), digest_size=32, person=b"tacit-simulate").digest())
