"""The messages of a secure sum as core requests and replies: named arrays of fixed shape, nothing to unpickle.

stage      | request to a client                              | its reply
advertise  |                                                  | advert (112,)
share      | names, adverts (k, 112)                          | sealed (k, 94), wrapped (k, 32), commitments (2, 32)
commit     |                                                  | commitment (48,), proof (p,)
masked     | shared (k,), sealed (k, 94)                      | masked (d,) uint32
sign       | survivors (n / 8,), dropped (n / 8,)             | signature (64,), tags (k, 16)
unmask     | survivors, dropped, endorsed (k,), tags (k, 16)  | shares (k, 33)

Against a semi-honest server "sign" is left out, and so are `endorsed` and `tags`. "commit" is there only with a `proof`
(`tacit.privacy.proofs`); then `masked` has the limbs of a blinding factor behind the vector.

All but `masked` are uint8. Rows stand by slot: slot s of a client is its s-th neighbour on the ring. `names` are UTF-8
with line breaks between them; survivors and dropped are packed bits over the ring's places.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tacit.core.values import Array, Params, ProtocolError
from tacit.privacy.secure_sum.keys import ADVERT, TAG
from tacit.privacy.secure_sum.shamir import SHARE

STAGES = ("advertise", "share", "masked", "sign", "unmask")
COMMIT = "commit"  # between "share" and "masked", where something is proven
KIND = "secure-sum/"  # before the stage, in Request.kind
SEALED = 12 + 2 * SHARE + 16  # bytes: nonce of AES-GCM, a share of each secret, tag of AES-GCM


def check_awaited(sender: str, asked: Container[str], answered: Container[str], stage: str) -> None:
    """Check that a reply comes from a party that was asked in the open stage, and is its first.

    Raises:
        ProtocolError: it does not, or is not.
    """
    if sender not in asked:
        raise ProtocolError(f"{sender!r} was not asked in this stage ({stage}), or answers too late")
    if sender in answered:
        raise ProtocolError(f"{sender!r} has already answered in this stage ({stage})")


def traffic(n: int, k: int, values: int, names: int, signed: bool) -> tuple[int, int]:
    """Bytes (up, down) of one client in a round of n clients with k neighbours each where nobody drops out.

    `values` is the length of a vector, `names` that of the list of clients, `signed` whether survivors are endorsed.
    """
    lists = 2 * ((n + 7) // 8)
    up = ADVERT + k * (SEALED + 32) + 64 + 4 * values + k * SHARE + (64 + k * TAG if signed else 0)
    down = names + k * ADVERT + k * (1 + SEALED) + lists + (lists + k * (1 + TAG) if signed else 0)
    return up, down


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Shared:
    """What a client sends in the second stage: a row per neighbour, and two commitments."""

    sealed: Array  # (k, SEALED) uint8: shares, for that neighbour only
    wrapped: Array  # (k, 32) uint8: the pair seeds under R, for the server
    commitments: Array  # (2, 32) uint8: of b and of R


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Endorsement:
    """A client's word on who survived."""

    signature: Array  # (64,) uint8: Ed25519, for the record
    tags: Array  # (k, TAG) uint8: one for each neighbour


def as_array(raw: bytes) -> Array:
    """(n,) uint8, read-only."""
    return np.frombuffer(raw, np.uint8)


def as_rows(rows: Sequence[bytes], width: int) -> Array:
    """(rows, width) uint8."""
    return as_array(b"".join(rows)).reshape(len(rows), width)


def taken(arrays: Params, name: str, shape: tuple[int, ...], dtype: Any = np.uint8) -> Array:
    """The named array of a message, whose shape and dtype must be exactly these.

    Raises:
        ProtocolError: it is missing or not of this shape and dtype.
    """
    found = arrays.get(name)
    if not isinstance(found, np.ndarray) or found.dtype != np.dtype(dtype) or found.shape != shape:
        what = "nothing" if found is None else f"{getattr(found, 'dtype', type(found))} {getattr(found, 'shape', '')}"
        raise ProtocolError(f"a message of the secure sum must hold {name!r} as {np.dtype(dtype)} {shape}, got {what}")
    return found


def raw(arrays: Params, name: str) -> bytes:
    """The bytes of a named array of any length.

    Raises:
        ProtocolError: it is missing or not (n,) uint8.
    """
    found = arrays.get(name)
    flat = isinstance(found, np.ndarray) and found.ndim == 1
    return taken(arrays, name, np.shape(found) if flat else (0,)).tobytes()  # type: ignore[arg-type]


def flags(array: Array) -> Array:
    """(k,) bool of a (k,) uint8 that holds nothing but 0 and 1.

    Raises:
        ProtocolError: it holds something else.
    """
    if np.any(array > 1):
        raise ProtocolError("a list of flags holds something other than 0 and 1")
    return array.astype(bool)


def unpacked(arrays: Params, name: str, count: int) -> Array:
    """(count,) bool of packed bits; the spare ones must be zero.

    Raises:
        ProtocolError: missing, of another length, or spare bits are set.
    """
    bits = np.unpackbits(taken(arrays, name, ((count + 7) // 8,)))
    if np.any(bits[count:]):
        raise ProtocolError(f"{name!r} marks clients that do not exist")
    return bits[:count].astype(bool)
