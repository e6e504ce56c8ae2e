"""Identities, key adverts, and the secrets that two clients share without saying them.

Three layers, each bound to what it serves by HKDF-SHA256 (RFC 5869): an Ed25519 identity (RFC 8032) known outside the
server signs a client's X25519 key (RFC 7748) of an epoch; X25519 gives each pair of neighbours one secret of the epoch;
from it every round derives a mask seed, a key for the shares (AES-256-GCM) and a key for the survivor tags (HMAC).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from tacit.core.values import ProtocolError
from tacit.privacy.secure_sum.entropy import RandomBytes, System

KEY = 96  # bytes of a signed key: X25519 public key, Ed25519 signature
NONCE = 16  # bytes that a client draws afresh each round
ADVERT = KEY + NONCE
TAG = 16  # bytes of a survivor tag
_LABEL = b"tacit secure sum 1: "
_ROUND, _TAG, _SHARE = _LABEL + b"round", _LABEL + b"tag", _LABEL + b"share"  # before parts of fixed length


def pack(*parts: bytes | str | int) -> bytes:
    """The parts one after the other so that no two lists look alike: lengths before bytes, integers in 8 bytes."""
    out = bytearray(_LABEL)
    for part in parts:
        if isinstance(part, int):
            out += part.to_bytes(8, "big")
        else:
            raw = part.encode() if isinstance(part, str) else part
            out += len(raw).to_bytes(4, "big") + raw
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Identity:
    """A client's long-lived Ed25519 key. Its public half must reach the others on a way that the server cannot bend."""

    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, source: RandomBytes | None = None) -> Identity:
        """A new identity from 32 bytes of `source` (None: the operating system)."""
        return cls(Ed25519PrivateKey.from_private_bytes((source or System()).bytes(32)))

    @classmethod
    def load(cls, private: bytes) -> Identity:
        """The identity that `save` wrote.

        Raises:
            ProtocolError: not 32 bytes.
        """
        if len(private) != 32:
            raise ProtocolError(f"an Ed25519 private key has 32 bytes, got {len(private)}")
        return cls(Ed25519PrivateKey.from_private_bytes(private))

    def save(self) -> bytes:
        """The 32 private bytes. Whoever reads them can speak as this client."""
        return self._private.private_bytes_raw()

    @property
    def public(self) -> bytes:
        """32 bytes that others verify with."""
        return self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 signature."""
        return self._private.sign(message)


def check_listed(identity: Identity, name: str, trusted: Mapping[str, bytes]) -> None:
    """Check that a party's own key is the one that the directory of identities has under its name.

    Raises:
        ProtocolError: it is another, or there is none.
    """
    if trusted.get(name) != identity.public:
        raise ProtocolError(f"the directory of identities does not list {name!r} with its own key")


def verified(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the owner of the Ed25519 key `public` signed this message."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def signed_key(identity: Identity, key: X25519PrivateKey, name: str, run: bytes, epoch: int) -> bytes:
    """(KEY,) the public half of a client's key for this epoch of this run, with its signature."""
    public = key.public_key().public_bytes_raw()
    return public + identity.sign(pack("key", run, epoch, name, public))


@lru_cache(maxsize=16384)  # a process that hosts many clients checks each advert once
def check_key(key: bytes, name: str, public: bytes | None, run: bytes, epoch: int) -> None:
    """Refuse a key that `name`, who has the identity `public`, did not sign for this epoch of this run.

    Raises:
        ProtocolError: the client is no member, or the signature does not hold.
    """
    if public is None:
        raise ProtocolError(f"{name!r} is not among the clients whose identity is known here")
    if len(key) != KEY or not verified(public, key[32:], pack("key", run, epoch, name, key[:32])):
        raise ProtocolError(f"the key advert of {name!r} is not signed by it for epoch {epoch} of this run")


def pair_secret(mine: X25519PrivateKey, own: str, peer: str, key: bytes, run: bytes, epoch: int) -> bytes:
    """The 32 bytes that two neighbours share in this epoch, the same on both sides; `key` is the peer's, checked.

    Raises:
        ProtocolError: the peer's key is one of the few with which X25519 keeps no secret.
    """
    theirs = key[:32]
    try:
        shared = mine.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise ProtocolError(f"the key of {peer!r} is degenerate: no secret can be agreed with it") from None
    ends = sorted([(own, mine.public_key().public_bytes_raw()), (peer, theirs)])
    info = pack("pair", epoch, ends[0][0], ends[0][1], ends[1][0], ends[1][1])
    return HKDF(SHA256(), 32, run, info).derive(shared)


def round_keys(secret: bytes, digest: bytes, low: bytes, high: bytes) -> tuple[bytes, bytes, bytes]:
    """(mask seed, share key, tag key) of a pair in one round.

    `digest` names round and roster, `low` and `high` are the nonces of the two, ring order first: either one drawn
    afresh makes all three fresh.
    """
    keys = HKDFExpand(SHA256(), 96, b"".join((_ROUND, digest, low, high))).derive(secret)
    return keys[:32], keys[32:64], keys[64:]


def survivor_tag(key: bytes, sender: str, statement: bytes) -> bytes:
    """(TAG,) the sender's word to one neighbour that it has seen this survivor statement."""
    return hmac.digest(key, b"".join((_TAG, statement, sender.encode())), "sha256")[:TAG]


def commitment(kind: str, digest: bytes, name: str, secret: bytes) -> bytes:
    """32 bytes by which the server knows a secret again when shares have opened it; `kind` is "self" or "pairs"."""
    return hashlib.sha256(pack("commitment", kind, digest, name, secret)).digest()


def sealing(digest: bytes, sender: str, receiver: str, sent: bytes, received: bytes) -> bytes:
    """What a sealed share is bound to: the round's roster, both ends, both nonces."""
    ends = sender.encode(), receiver.encode()
    return b"".join((_SHARE, digest, sent, received, len(ends[0]).to_bytes(4, "big"), *ends))
