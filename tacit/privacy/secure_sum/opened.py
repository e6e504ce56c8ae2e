"""How a secure sum ends: opened, with the proof of whose vectors it adds, or aborted with nothing opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tacit.core.values import Array, ProtocolError, VerificationError
from tacit.privacy.secure_sum import keys


class SecureSumAborted(ProtocolError):
    """Too few parties are left, or shares do not fit: the round ends and nothing of any client is opened."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A finished secure sum, with the proof of whose vectors it adds."""

    total: Array  # (d,) uint32: the sum mod 2^32 of the survivors' vectors
    survivors: tuple[str, ...]
    dropped: tuple[str, ...]  # asked, but not in the sum
    statement: bytes  # 32 bytes that name round, survivors and dropped
    signatures: Mapping[str, bytes]  # Ed25519, of those that endorsed the statement

    def __repr__(self) -> str:
        return f"Opened({len(self.total)} values, {len(self.survivors)} survivors, {len(self.dropped)} dropped)"

    def verify(self, trusted: Mapping[str, bytes]) -> None:
        """Check the signatures under the statement against the directory of identities.

        Raises:
            VerificationError: one does not hold; names the client.
        """
        for name, signature in self.signatures.items():
            if not keys.verified(trusted.get(name, b""), signature, self.statement):
                raise VerificationError(f"{name!r} has not signed the survivors of this round")
