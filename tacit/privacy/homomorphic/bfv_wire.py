"""The messages of a sum by OpenFHE, what their signatures say, and what parties agree on.

stage  | request to a party                    | its reply
lead   | lead (1,)                             | of the first party, whose `lead` is 1: key, signature (64,)
join   | first                                 | key, signature (of the first party: the same again)
masked | names, keys, signatures (n, 64)       | sent, signature
open   | total                                 | part, statement (64,), signature

All uint8. What consists of several pieces (keys, sent, total, part) is packed as a message to a worker is. Names are
UTF-8 with line breaks between them. Keys last for one round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tacit.core.values import PlanError
from tacit.privacy.homomorphic.chosen import beside_masks
from tacit.privacy.homomorphic.slots import count
from tacit.privacy.secure_sum.keys import pack

STAGES = ("lead", "join", "masked", "open")
INSTITUTIONS = 3  # fewest parties whose sum may be opened, unless `minimum` says otherwise


@dataclass(frozen=True, slots=True)
class Session:
    """What all signatures of one round are bound to. Keys, ciphertexts, totals and parts come `hashed`."""

    run: bytes
    round: int

    def _hash(self, *parts: bytes | str | int) -> bytes:
        return hashlib.sha256(pack("threshold bfv", self.run, self.round, *parts)).digest()

    def joined(self, name: str, key: bytes) -> bytes:
        """What a party signs with its share of the public key."""
        return self._hash("joined", name, key)

    def roster(self, names: Sequence[str], keys: Sequence[bytes]) -> bytes:
        """32 bytes that name who takes part, and every share of the key."""
        return self._hash("roster", *names, *keys)

    def sent(self, name: str, roster: bytes, ciphertexts: bytes) -> bytes:
        """What a party signs with its ciphertexts."""
        return self._hash("sent", name, roster, ciphertexts)

    def statement(self, roster: bytes, total: bytes) -> bytes:
        """32 bytes that name a round, who took part, and the ciphertexts that it opens: what all parties sign."""
        return self._hash("statement", roster, total)

    def part(self, name: str, statement: bytes, part: bytes) -> bytes:
        """What a party signs with its part in opening."""
        return self._hash("part", name, statement, part)


@dataclass(frozen=True, slots=True)
class Rules:
    """What all parties of a sum by OpenFHE agree on beforehand.

    Raises:
        PlanError: the minimum is out of range.
    """

    minimum: int = 0  # fewest parties whose sum may be opened; 0 = 3
    flooding: bool = True  # hide keys by statistical smudging when opening; False: by noise of fixed size, cheaper
    parts: tuple[str, ...] = ()  # names of parameters to encrypt, the rest goes under masks; () = all

    def __post_init__(self) -> None:
        if self.minimum < 0 or self.minimum == 1:
            raise PlanError(f"minimum must be at least 2: a sum of one is that one; or 0 (chosen), got {self.minimum}")

    @property
    def least(self) -> int:
        """Fewest parties whose sum may be opened."""
        return self.minimum or INSTITUTIONS

    @property
    def stages(self) -> tuple[str, ...]:
        """The messages of a round, in order; in "masked" parties compute their vectors."""
        return beside_masks(STAGES) if self.parts else STAGES

    @property
    def hides(self) -> str:
        """What happens to a contribution before it leaves, for the report."""
        return f"{', '.join(self.parts)} encrypted, the rest masked" if self.parts else "encrypted"

    def traffic(self, parties: int, size: int, names: int) -> tuple[int, int]:
        """Bytes (up, down) of each party in a round of so many that sum `size` values, in OpenFHE's round numbers.

        `names` bytes name the parties.
        """
        slots, ciphertext = (16384, 2**20) if self.flooding else (8192, 2**18)
        batches = -(-count(size, parties) // slots)
        up = ciphertext + batches * ciphertext * 3 // 2 + 4 * 64
        return up, (parties + 1 + batches) * ciphertext + 64 * parties + names
