"""CKKS by TenSEAL under one secret key that all parties share and the server never holds. Needs the extra `he`.

J. H. Cheon, A. Kim, M. Kim, Y. Song: "Homomorphic Encryption for Arithmetic of Approximate Numbers", ASIACRYPT 2017,
https://eprint.iacr.org/2016/421, by Microsoft SEAL. It trusts more than a threshold scheme does: any one party together
with the server opens every party's vector. It is here to compare with, and for parties that trust each other.

Degree 4096 with primes of 54 and 54 bits: within the security table (109 bits for 128), additions only; errors of some
1e-8 for values around 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError

_DEGREE, _PRIMES, _SCALE = 4096, [54, 54], 2.0**40
SLOTS = _DEGREE // 2
REACH = 2.0**12  # largest absolute value of a sum: beyond, 54 bits less the scale leave no room


def _library() -> Any:
    try:
        import tenseal
    except ImportError:
        raise PlanError("CKKS needs TenSEAL: install the extra `he` (pip install 'tacit[he]')") from None
    return tenseal


class Party:
    """Who may encrypt and open: holds the secret key, or receives it from another party, never by the server."""

    __slots__ = ("_context",)

    def __init__(self, key: bytes | None = None) -> None:
        """A fresh key, or the one that `secret` of another party wrote.

        Raises:
            PlanError: TenSEAL is not installed.
            ProtocolError: not a key.
        """
        library = _library()
        if key is None:
            self._context = library.context(library.SCHEME_TYPE.CKKS, _DEGREE, coeff_mod_bit_sizes=_PRIMES, n_threads=1)
            self._context.global_scale = _SCALE
            return
        try:
            self._context = library.context_from(key, n_threads=1)
        except (ValueError, RuntimeError, TypeError):
            raise ProtocolError("these bytes are no CKKS context") from None
        if not self._context.has_secret_key():
            raise ProtocolError("this CKKS context holds no secret key: a party needs the one that parties share")

    def __repr__(self) -> str:
        return "Party(key hidden)"

    def secret(self) -> bytes:
        """The key, for other parties only: whoever reads it opens everything."""
        return bytes(self._context.serialize(save_secret_key=True))

    def public(self) -> bytes:
        """What the server needs to add; it opens nothing."""
        return bytes(self._context.serialize(save_secret_key=False))

    def encrypt(self, values: Array, parties: int) -> Iterator[bytes]:
        """Ciphertexts of 2,048 values each, one at a time.

        Raises:
            ProtocolError: not (d,) finite real numbers, or beyond 4,096 / parties in absolute value.
        """
        if values.ndim != 1 or values.dtype.kind not in "fiu":
            raise ProtocolError(f"a vector of real numbers is needed, got {values.dtype} {values.shape}")
        if not np.all(np.abs(values.astype(np.float64)) <= REACH / parties):
            raise ProtocolError(f"a contribution holds NaN, infinity, or a value beyond {REACH:g} / {parties} parties")
        library = _library()
        for low in range(0, len(values), SLOTS):
            chunk = values[low : low + SLOTS].astype(np.float64).tolist()
            yield bytes(library.ckks_vector(self._context, chunk).serialize())

    def open(self, total: bytes) -> Array:
        """(2048 or fewer,) float64 of one summed ciphertext.

        Raises:
            ProtocolError: not a ciphertext under this key.
        """
        try:
            return np.array(_library().ckks_vector_from(self._context, total).decrypt())
        except (ValueError, RuntimeError, TypeError):
            raise ProtocolError("these bytes are no CKKS ciphertext under this key") from None


class Server:
    """Who adds, holding no key."""

    __slots__ = ("_context", "_total")

    def __init__(self, public: bytes) -> None:
        """From what a party's `public` wrote.

        Raises:
            PlanError: TenSEAL is not installed.
            ProtocolError: not a context, or one with the secret key in it: the server must never hold that.
        """
        try:
            self._context = _library().context_from(public, n_threads=1)
        except (ValueError, RuntimeError, TypeError):
            raise ProtocolError("these bytes are no CKKS context") from None
        if self._context.has_secret_key():
            raise ProtocolError("the server was handed the secret key of the parties: refused")
        self._total: Any = None

    def __repr__(self) -> str:
        return "Server(no key)"

    def add(self, ciphertext: bytes) -> None:
        """Add one ciphertext to the sum of this chunk.

        Raises:
            ProtocolError: not a ciphertext of this key, or of another length.
        """
        try:
            found = _library().ckks_vector_from(self._context, ciphertext)
            if self._total is None:
                self._total = found
            elif self._total.size() != found.size():
                raise ValueError
            else:
                self._total += found
        except (ValueError, RuntimeError, TypeError):
            raise ProtocolError("these bytes are no CKKS ciphertext of this chunk") from None

    def total(self) -> bytes:
        """The sum of this chunk, still encrypted; the next chunk begins.

        Raises:
            ProtocolError: nothing was added.
        """
        if self._total is None:
            raise ProtocolError("nothing was added to this chunk")
        out, self._total = bytes(self._total.serialize()), None
        return out


def added(parties: list[Party], server: Server, vectors: list[Array]) -> Array:
    """(d,) float64: the sum of the parties' (d,) vectors, chunk by chunk: encrypted, added, opened by the first.

    Raises:
        ProtocolError: a vector that cannot be encrypted, or lengths that differ.
    """
    if len({len(vector) for vector in vectors}) != 1:
        raise ProtocolError("vectors of one length are needed")
    out: list[Array] = []
    count = len(parties)
    for chunks in zip(*(party.encrypt(v, count) for party, v in zip(parties, vectors, strict=True)), strict=True):
        for chunk in chunks:
            server.add(chunk)
        out.append(parties[0].open(server.total()))
    return np.concatenate(out) if out else np.zeros(0)
