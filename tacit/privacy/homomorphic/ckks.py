"""CKKS by TenSEAL under one secret key that all parties share and the server never holds. Needs the extra `he`.

J. H. Cheon, A. Kim, M. Kim, Y. Song: "Homomorphic Encryption for Arithmetic of Approximate Numbers", ASIACRYPT 2017,
https://eprint.iacr.org/2016/421, by Microsoft SEAL, with the secret key on both sides. It trusts more than a threshold
scheme does: any one party together with the server opens every party's vector.

Degree 4096 with primes of 54 and 54 bits: within the security table (109 bits for 128), additions only; errors of some
1e-9 for values around 1. What is opened is approximate, and the error tells of the key to whoever sees it (B. Li, D.
Micciancio, EUROCRYPT 2021, https://eprint.iacr.org/2020/1533). `whole` rounds it away: integers of 32 bits come out as
they went in, and nothing else is ever said.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError

_DEGREE, _PRIMES, _SCALE = 4096, [54, 54], 2.0**40
SLOTS = _DEGREE // 2
REACH = 2.0**12  # largest absolute value of a sum: beyond, 54 bits less the scale leave no room
UNIT = 2.0**-20  # what an integer 1 is encrypted as: sums of 32 bits fill the reach
_LENGTH = 8  # bytes before a piece
_ROOM = 66_560  # bytes for a ciphertext, written: 2 * 4096 words, and what stands around them
_SCALED = b"\x19" + struct.pack("<d", _SCALE)  # how TenSEAL ends a ciphertext
_SURE = 0.25  # of a unit: how far from an integer a sum of integers may be opened


def _library() -> Any:
    try:
        import tenseal
    except ImportError:
        raise PlanError("CKKS needs TenSEAL: install the extra `he` (pip install 'tacit[he]')") from None
    return tenseal


def needed() -> None:
    """Refuse to begin without TenSEAL.

    Raises:
        PlanError: it is not installed.
    """
    _library()


def _fresh() -> Any:
    """A context with a key of its own, the same parameters in every process."""
    library = _library()
    kind, way = library.SCHEME_TYPE.CKKS, library.ENCRYPTION_TYPE.SYMMETRIC
    primes = list(_PRIMES)
    context = library.context(kind, _DEGREE, coeff_mod_bit_sizes=primes, encryption_type=way, n_threads=1)
    context.global_scale = _SCALE
    return context


def _checked(written: bytes) -> bytes:
    """A ciphertext from anybody, once what TenSEAL puts around it is exactly what it writes itself.

    TenSEAL reads outside of its memory, or ends the process, where there are more or fewer sizes than ciphertexts.

    Raises:
        ValueError: something else stands around it.
    """
    if not 2**14 < len(written) <= _ROOM:
        raise ValueError
    wide = written[1] == 2  # one size of 1 to SLOTS, in two bytes or in one
    size = (written[2] & 127) + (written[3] << 7) if wide else written[2]
    if not 0 < size <= SLOTS:
        raise ValueError
    sized = bytes([size & 127 | 128, size >> 7]) if size >= 128 else bytes([size])
    length = len(written) - len(sized) - 15  # of SEAL's ciphertext
    told = bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14])
    if not written.startswith(bytes([10, len(sized)]) + sized + b"\x12" + told) or not written.endswith(_SCALED):
        raise ValueError
    return written


class Key:
    """Who may encrypt and open: holds the secret key, its own or one that another party sent."""

    __slots__ = ("_context",)

    def __init__(self, written: bytes | None = None) -> None:
        """A fresh key, or the one that `secret` of another party wrote.

        Raises:
            PlanError: TenSEAL is not installed.
            ProtocolError: not a key, or not of these parameters.
        """
        if written is None:
            self._context = _fresh()
            return
        try:
            self._context = _library().context_from(written, n_threads=1)
            fits = self._context.has_secret_key() and self._context.global_scale == _SCALE
        except (ValueError, RuntimeError, TypeError):
            raise ProtocolError("these bytes are no CKKS context") from None
        if not fits:
            raise ProtocolError("this CKKS context holds no secret key, or has another scale than parties agreed on")

    def __repr__(self) -> str:
        return "Key(hidden)"

    def secret(self) -> bytes:
        """The key, for other parties only: whoever reads it opens everything."""
        return bytes(self._context.serialize(save_secret_key=True, save_galois_keys=False, save_relin_keys=False))

    def encrypt(self, values: Array, parties: int) -> Iterator[bytes]:
        """Ciphertexts of 2,048 of (d,) real numbers each, one at a time, for a sum over so many parties.

        Raises:
            ProtocolError: not (d,) finite real numbers, or beyond 4,096 / parties in absolute value.
        """
        if values.ndim != 1 or values.dtype.kind not in "fiu":
            raise ProtocolError(f"a vector of real numbers is needed, got {values.dtype} {values.shape}")
        for low in range(0, len(values), SLOTS):
            chunk = values[low : low + SLOTS].astype(np.float64)
            if not np.all(np.abs(chunk) <= REACH / parties):
                raise ProtocolError(f"a contribution holds NaN, infinity, or a value beyond {REACH:g} / {parties}")
            yield self._encrypted(chunk)

    def _encrypted(self, chunk: Array) -> bytes:
        try:
            return bytes(_library().ckks_vector(self._context, chunk.tolist()).serialize())
        except (ValueError, RuntimeError):  # of a leader that made a context of another kind
            raise ProtocolError("the CKKS context of this round encrypts nothing: made for something else") from None

    def encrypt_integers(self, values: Array) -> Iterator[bytes]:
        """Ciphertexts of (d,) uint32, read as signed, 2,048 at a time.

        Their sum must be below 2^32 in absolute value: a quantiser's is, and one of words that hold several values.

        Raises:
            ProtocolError: not (d,) uint32.
        """
        if values.ndim != 1 or values.dtype != np.uint32:
            raise ProtocolError(f"integers mod 2^32 are needed as uint32 (d,), got {values.dtype} {values.shape}")
        for low in range(0, len(values), SLOTS):
            yield self._encrypted(values[low : low + SLOTS].view(np.int32) * UNIT)

    def open(self, total: bytes | memoryview) -> Array:
        """(2048 or fewer,) float64 of one summed ciphertext.

        Raises:
            ProtocolError: not a ciphertext of these parameters.
        """
        try:
            return np.array(_library().ckks_vector_from(self._context, _checked(bytes(total))).decrypt(), np.float64)
        except (ValueError, RuntimeError, TypeError, IndexError):
            raise ProtocolError("these bytes are no CKKS ciphertext under this key") from None

    def open_integers(self, total: bytes | memoryview) -> Array:
        """(2048 or fewer,) int64 of one summed ciphertext of integers, exactly.

        Raises:
            ProtocolError: not a ciphertext of these parameters, or one whose values are no integers: of another key.
        """
        return whole(self.open(total) / UNIT)


def whole(found: Array) -> Array:
    """(n,) int64 of integers that were opened approximately; the error of n parties is below a hundredth.

    Raises:
        ProtocolError: these are no integers of 33 bits and sign.
    """
    small = np.abs(found) < 2.0**33  # false for NaN
    rounded = np.rint(np.where(small, found, 0.0))
    if not (np.all(small) and np.all(np.abs(found - rounded) < _SURE)):
        raise ProtocolError("what was opened is no sum of integers: another key's, or changed")
    return rounded.astype(np.int64)


class Adder:
    """Who adds, holding no key: one sum for each place of a ciphertext, written down in one stretch of memory."""

    __slots__ = ("_context", "_lengths", "_written")

    def __init__(self) -> None:
        """Parameters are the same for all: nothing is handed over.

        Raises:
            PlanError: TenSEAL is not installed.
        """
        keyless = _fresh().serialize(save_secret_key=False, save_galois_keys=False, save_relin_keys=False)
        self._context = _library().context_from(keyless, n_threads=1)
        self._written, self._lengths = bytearray(), list[int]()  # SEAL would keep what it has freed

    def __repr__(self) -> str:
        return f"Adder(no key, {len(self._lengths)} sums)"

    def add(self, place: int, ciphertext: bytes | memoryview) -> None:
        """Add one ciphertext to the sum at its place, which is one that has a sum, or the next.

        Raises:
            ProtocolError: not a ciphertext of these parameters, of another length than those there, or of no place.
        """
        library, here = _library(), len(self._lengths)
        try:
            found = library.ckks_vector_from(self._context, _checked(bytes(ciphertext)))
            if place < here:
                known = library.ckks_vector_from(self._context, self.total(place))
                if known.size() != found.size():
                    raise ValueError
                known += found
                found = known
            written = found.serialize()
            if not 0 <= place <= here or len(written) + _LENGTH > _ROOM:
                raise ValueError
        except (ValueError, RuntimeError, TypeError, IndexError):
            raise ProtocolError("these bytes are no CKKS ciphertext of this chunk") from None
        if place == here:
            self._written += bytes(_ROOM)
            self._lengths.append(0)
        self._written[place * _ROOM : place * _ROOM + len(written)] = written
        self._lengths[place] = len(written)

    def total(self, place: int) -> bytes:
        """The sum at this place, still encrypted.

        Raises:
            ProtocolError: nothing was added.
        """
        if not 0 <= place < len(self._lengths):
            raise ProtocolError("nothing was added to this chunk")
        return bytes(memoryview(self._written)[place * _ROOM : place * _ROOM + self._lengths[place]])

    def all(self) -> Array:
        """(n,) uint8 of all sums as `pieces.packed` would write them, in place: nothing can be added any more."""
        end = 0
        for place, length in enumerate(self._lengths):
            piece = length.to_bytes(_LENGTH, "little") + self.total(place)
            self._written[end : end + len(piece)] = piece
            end += len(piece)
        self._lengths = []
        return np.frombuffer(self._written, np.uint8)[:end]


def added(parties: list[Key], server: Adder, vectors: list[Array]) -> Array:
    """(d,) float64: the approximate sum of the parties' (d,) vectors; encrypted, added, opened by the first.

    Raises:
        ProtocolError: a vector that cannot be encrypted, or lengths that differ.
    """
    if len({len(vector) for vector in vectors}) != 1:
        raise ProtocolError("vectors of one length are needed")
    out: list[Array] = []
    count = len(parties)
    for chunks in zip(*(party.encrypt(v, count) for party, v in zip(parties, vectors, strict=True)), strict=True):
        for chunk in chunks:
            server.add(len(out), chunk)
        out.append(parties[0].open(server.total(len(out))))
    return np.concatenate(out) if out else np.zeros(0)
