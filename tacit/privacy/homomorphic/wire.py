"""The messages of a homomorphic sum, and what their signatures say: named arrays of fixed shape, nothing to unpickle.

stage   | request to a party                                   | its reply
commit  | ring (2,) int64                                      | commitment (32,), signature (64,)
keys    | names, commitments (n, 32), signatures (n, 64)       | key (primes, N) uint32
masked  | names, keys (n, primes, N) uint32                    | digest (32,), signature (64,)
upload  | digests (n, 32), signatures (n, 64)                  | body (d,) uint64, mask (words,) uint32
check   | total (32,)                                          | print (5, primes) uint32, statement, signature (64,)
open    | mask (words,), prints (n, 5, primes), signatures,    | part (d,) uint64
        | and to audit: bodies (n, 32), masks (n, words)       |

Without a type: uint8. Rows stand in the order of the names, which are UTF-8 with line breaks between them. "masked" is
where a party computes its vector, as in the secure sum by masks: it answers with no more than a hash of its ciphertext.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tacit.core.values import Array, ProtocolError
from tacit.privacy.homomorphic.ring import Ring
from tacit.privacy.secure_sum.keys import pack, verified
from tacit.privacy.secure_sum.opened import SecureSumAborted
from tacit.privacy.secure_sum.roster import join
from tacit.privacy.secure_sum.wire import KIND

__all__ = ["KIND", "STAGES", "Session"]
STAGES = ("commit", "keys", "masked", "upload", "check", "open")


@dataclass(frozen=True, slots=True)
class Session:
    """What all signatures of one round are bound to."""

    run: bytes
    round: int
    ring: Ring

    @property
    def seed(self) -> bytes:
        """Names the common polynomial of this round's keys."""
        return self._hash("seed")

    def _hash(self, *parts: bytes | str | int) -> bytes:
        ring = (self.ring.degree, self.ring.primes)
        return hashlib.sha256(pack("homomorphic", self.run, self.round, *ring, *parts)).digest()

    def commitment(self, name: str, key: Array) -> bytes:
        """32 bytes by which a share of the public key is known again when it is shown."""
        return self._hash("key", name, hashed(key))

    def committed(self, name: str, commitment: bytes) -> bytes:
        """What a party signs in "commit"."""
        return self._hash("committed", name, commitment)

    def roster(self, names: Sequence[str], keys: Array) -> bytes:
        """32 bytes that name who takes part, and every share of the key."""
        return self._hash("roster", *names, hashed(keys))

    def digest(self, name: str, roster: bytes, body: bytes, mask: Array) -> bytes:
        """32 bytes by which a ciphertext, with this hash of its body, is known again when it is sent."""
        return self._hash("ciphertext", name, roster, body, hashed(mask))

    def promised(self, name: str, roster: bytes, digest: bytes) -> bytes:
        """What a party signs in "masked": no other ciphertext of it belongs to this round."""
        return self._hash("promised", name, roster, digest)

    def statement(self, roster: bytes, digests: Array, total: bytes) -> bytes:
        """32 bytes, the same for all parties: who took part, every ciphertext, and their sum's mask. Draws the map."""
        return self._hash("statement", roster, digests.tobytes(), total)

    def printed(self, name: str, statement: bytes, print: Array) -> bytes:
        """What a party signs in "check": the fingerprint of its own mask."""
        return self._hash("printed", name, statement, print.tobytes())


def hashed(array: Array) -> bytes:
    """SHA-256 of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(array).data).digest()


def check_cohort(cohort: Sequence[str], least: int) -> None:
    """Check that a round of this cohort may begin.

    Raises:
        SecureSumAborted: the cohort is smaller than the minimum.
        ProtocolError: a name twice, empty, or with a line break.
    """
    if len(cohort) < least:
        raise SecureSumAborted(f"{len(cohort)} parties were asked, but the minimum is {least}")
    if len(set(cohort)) != len(cohort):
        raise ProtocolError("the cohort names a party twice")
    join(cohort)  # refuses names that cannot be sent


def listed(joined: bytes, me: str, least: int) -> list[str]:
    """The parties of a round, from UTF-8 with line breaks between them.

    Raises:
        ProtocolError: not text, not sorted, one twice or empty, without this party, or fewer than the minimum.
    """
    try:
        names = joined.decode().split("\n")
    except UnicodeDecodeError:
        raise ProtocolError("the list of parties is not text in UTF-8") from None
    if "" in names or names != sorted(set(names)):
        raise ProtocolError("the list of parties is not sorted, names one of them twice, or none")
    if me not in names:
        raise ProtocolError("the round does not list this party")
    if len(names) < least:
        raise ProtocolError(f"a sum of {len(names)} parties is refused: the minimum is {least}")
    return names


def signed(public: bytes | None, signature: Array, message: bytes, who: str, what: str) -> None:
    """Refuse a message that `who` did not sign.

    Raises:
        ProtocolError: the party is not known here, or the signature does not hold.
    """
    if public is None:
        raise ProtocolError(f"{who!r} is not among the parties whose identity is known here")
    if not verified(public, signature.tobytes(), message):
        raise ProtocolError(f"the {what} of {who!r} is not signed by it for this round")
