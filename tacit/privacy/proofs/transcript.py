"""Fiat-Shamir: the verifier's coins as a hash of everything said so far, statement first.

A. Fiat, A. Shamir: "How To Prove Yourself", CRYPTO 1986. The strong form: a challenge depends on the statement, not
only on the prover's messages (D. Bernhard, O. Pereira, B. Warinschi, ASIACRYPT 2012, https://eprint.iacr.org/2016/771).
What that costs a proof of many rounds: T. Attema, S. Fehr, M. Klooss, TCC 2022, https://eprint.iacr.org/2021/1377: the
soundness error times (hash calls of the prover + 1).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tacit.privacy.proofs.group import Scalar, drawn

_DOMAIN = b"tacit proofs 1"


def _parts(*parts: bytes) -> bytes:
    """Lengths before bytes, so that no two lists look alike."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A chain of SHA-256 over labelled messages. A value: saying more gives a new transcript.

    Guarantees:
        another message, label, order or split of the same bytes gives other challenges.
    """

    state: bytes = bytes(32)

    @staticmethod
    def of(protocol: str, *statement: bytes) -> Transcript:
        """A transcript that begins with what is to be proven."""
        return Transcript(hashlib.sha256(_parts(_DOMAIN, protocol.encode(), *statement)).digest())

    def said(self, label: str, *messages: bytes) -> Transcript:
        """The transcript after a message of the prover."""
        return Transcript(hashlib.sha256(_parts(_DOMAIN, self.state, label.encode(), *messages)).digest())

    def coins(self, label: str, count: int) -> bytes:
        """`count` bytes of SHAKE-256 that nobody can foresee without this transcript."""
        return hashlib.shake_256(_parts(_DOMAIN, self.state, b"coins", label.encode())).digest(count)

    def challenge(self, label: str) -> Scalar:
        """A scalar, uniform up to 2^-128."""
        return drawn(self.coins(label, 48))[0]
