"""Tags inside a ciphertext that only parties who share a secret can make, and that add up as the ciphertexts do.

A linear fingerprint of what is encrypted, plus a pad of its own for each party: the opened sum fits the opened tags
only if it is the sum of exactly the parties that are said to be in it, each counted once and unchanged. As in S.
Agrawal, D. Boneh: "Homomorphic MACs: MAC-Based Integrity for Network Coding", ACNS 2009. Differs from the paper:
integers, not vectors over a field, hence a row for each of several primes; tags travel encrypted. A forged sum fits a
row with a chance of 2^-26, and one row of five at most for free (an error that is a multiple of its prime): 2^-104.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

import numpy as np

from tacit.core.values import Array, ProtocolError
from tacit.privacy.homomorphic.fingerprint import ROWS, dot
from tacit.privacy.homomorphic.ring import BITS, Ring
from tacit.privacy.randomness import Stream

_HALF = 14  # bits: a residue travels in two halves, which grow with the number of parties
LENGTH = 2 * ROWS  # values behind those that are summed
_PRIMES = Ring(8192, ROWS).moduli
_STRETCH = 1 << 16
NO_SUM = "what was to be opened is not the sum of what these parties encrypted: nothing is said of it"


def _stream(secret: bytes, *what: str) -> Stream:
    return Stream(hmac.digest(secret, "\n".join(("tacit ckks tags 1", *what)).encode(), hashlib.sha256))


def _fingerprint(secret: bytes, values: Array) -> Array:
    """(ROWS,) int64 of (d,) integers, each row mod its prime."""
    out = np.zeros(ROWS, np.int64)
    for row, p in enumerate(_PRIMES):
        stream = _stream(secret, "map", str(row))
        for low in range(0, len(values), _STRETCH):
            part = (values[low : low + _STRETCH].astype(np.int64) % p).astype(np.uint32)
            weights = np.frombuffer(stream.bytes(4 * len(part)), np.uint32) >> np.uint32(32 - BITS)
            out[row] = (int(out[row]) + int(dot(part, weights, p))) % p
    return out


def _pad(secret: bytes, name: str) -> Array:
    words = np.frombuffer(_stream(secret, "pad", name).bytes(8 * ROWS), np.uint64)
    return (words % np.array(_PRIMES, np.uint64)).astype(np.int64)


def tagged(secret: bytes, name: str, values: Array) -> Array:
    """(d + LENGTH,) uint32: the values of one party, read as signed, and its tag."""
    tag = (_fingerprint(secret, values.view(np.int32)) + _pad(secret, name)) % np.array(_PRIMES)
    return np.concatenate([values, (tag & (2**_HALF - 1)).astype(np.uint32), (tag >> _HALF).astype(np.uint32)])


def untagged(secret: bytes, names: Iterable[str], total: Array) -> Array:
    """(d,) int64 of (d + LENGTH,) opened integers, once it is sure that they are the sum over exactly these parties.

    Raises:
        ProtocolError: they are not.
    """
    primes = np.array(_PRIMES)
    values, low, high = total[:-LENGTH], total[-LENGTH:-ROWS], total[-ROWS:]
    expected = (_fingerprint(secret, values) + sum(_pad(secret, name) for name in names)) % primes
    found = (low % primes + (high % primes) * 2**_HALF) % primes
    if not hmac.compare_digest(expected.astype(np.int64).tobytes(), found.astype(np.int64).tobytes()):
        raise ProtocolError(NO_SUM)
    return values
