"""The messages of a sum by CKKS under a shared key, what their signatures say, and what parties agree on.

stage     | request to a party                       | its reply
advertise |                                          | key (96,): X25519, signed
lead      | names, keys (n, 96)                      | of the leader alone: sealed, wraps (n, 48)
masked    | sealed, wrap (48,)                       | sent, signature (64,)
check     | survivors, total (32,)                   | signature
open      | total, signers, signatures (k, 64)       | opened (d,) uint32, signature

Without a type: uint8. `sent` and `total` in "open" are packed pieces, a ciphertext each; in "check" `total` is a hash.
Names, survivors and signers are UTF-8 with line breaks between them. The leader changes from round to round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tacit.core.values import PlanError
from tacit.privacy.homomorphic.ckks import SLOTS
from tacit.privacy.homomorphic.ckks_tags import LENGTH
from tacit.privacy.secure_sum.keys import KEY, pack

STAGES = ("advertise", "lead", "masked", "check", "open")
INSTITUTIONS = 3  # fewest parties whose sum may be opened, unless `minimum` says otherwise
PARTIES = 1000  # more are refused: errors would add up to more than rounding surely takes off
WRAP = 32 + 16  # bytes: a secret and the tag of AES-GCM


@dataclass(frozen=True, slots=True)
class Rules:
    """What all parties of a sum by CKKS agree on beforehand.

    Raises:
        PlanError: the minimum is out of range.
    """

    minimum: int = 0  # fewest parties whose sum may be opened; 0 = 3
    parts: tuple[str, ...] = ()  # names of parameters to encrypt, the rest goes under masks; () = all

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= PARTIES or self.minimum == 1:
            raise PlanError(
                f"minimum must be 2 (a sum of one is that one) to {PARTIES} parties, or 0 (chosen), got {self.minimum}"
            )

    @property
    def least(self) -> int:
        """Fewest parties whose sum may be opened."""
        return self.minimum or INSTITUTIONS

    @property
    def stages(self) -> tuple[str, ...]:
        """The messages of a round, in order; in "masked" parties compute their vectors."""
        return STAGES

    @property
    def hides(self) -> str:
        """What happens to a contribution before it leaves, for the report."""
        what = f"{', '.join(self.parts)} encrypted, the rest masked" if self.parts else "encrypted"
        return f"{what} (under one key that every party holds and the server does not)"

    def traffic(self, parties: int, size: int, names: int) -> tuple[int, int]:
        """Bytes (up, down) of each party in a round of so many that sum `size` values, in TenSEAL's round numbers.

        `names` bytes name the parties.
        """
        chunks = 61_750 * -(-(size + LENGTH) // SLOTS)
        key = 61_850  # of the leader to everybody
        return KEY + key // parties + WRAP + 3 * 64 + chunks + 4 * size, 3 * names + 160 * parties + key + chunks


@dataclass(frozen=True, slots=True)
class Session:
    """What all signatures and keys of one round are bound to. What is long comes as its SHA-256."""

    run: bytes
    round: int

    def _hash(self, *parts: bytes | str | int) -> bytes:
        return hashlib.sha256(pack("shared-key ckks", self.run, self.round, *parts)).digest()

    def leader(self, names: Sequence[str]) -> str:
        """Who makes the key of this round."""
        return names[self.round % len(names)]

    def roster(self, names: Sequence[str], keys: bytes) -> bytes:
        """32 bytes that name who takes part, and the keys by which they agree on secrets."""
        return self._hash("roster", *names, keys)

    def sent(self, name: str, roster: bytes, ciphertexts: bytes) -> bytes:
        """What a party signs with its ciphertexts."""
        return self._hash("sent", name, roster, ciphertexts)

    def statement(self, roster: bytes, survivors: Sequence[str], total: bytes) -> bytes:
        """32 bytes, of which a party signs one a round: who is in the sum, and the ciphertexts to be opened."""
        return self._hash("statement", roster, *survivors, total)

    def opened(self, name: str, statement: bytes, values: bytes) -> bytes:
        """What a party signs with what it opened."""
        return self._hash("opened", name, statement, values)


def expanded(secret: bytes, what: str, roster: bytes) -> bytes:
    """32 bytes for one purpose in one round: every message has a key of its own, so that nonces need not differ."""
    return HKDFExpand(SHA256(), 32, b"tacit ckks 1: " + what.encode() + b" " + roster).derive(secret)
