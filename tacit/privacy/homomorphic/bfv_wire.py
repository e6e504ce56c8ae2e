"""The messages of a sum by OpenFHE, and what parties agree on.

stage  | request to a party                  | its reply
lead   | (to the first party alone)          | context, key
join   | context, first                      | key (of the first party: the same again)
masked | keys                                | sent
open   | total                               | part, signature (64,)

All uint8; what consists of several pieces is packed as a message to a worker is. Keys last for one round.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tacit.core.values import Array, PlanError, ProtocolError
from tacit.privacy.homomorphic import bfv_worker
from tacit.privacy.secure_sum.keys import pack
from tacit.privacy.secure_sum.wire import as_array

STAGES = ("lead", "join", "masked", "open")
INSTITUTIONS = 3  # fewest parties whose sum may be opened, unless `minimum` says otherwise


def packed(frames: Sequence[bytes]) -> Array:
    """(n,) uint8 that holds these pieces."""
    stream = io.BytesIO()
    bfv_worker.write(stream, list(frames))
    return as_array(stream.getvalue())


def pieces(message: bytes) -> list[bytes]:
    """What `packed` packed.

    Raises:
        ProtocolError: something else.
    """
    stream = io.BytesIO(message)
    try:
        found = bfv_worker.read(stream)
    except (ValueError, struct.error):
        raise ProtocolError("a message of the homomorphic sum breaks off") from None
    if not found or stream.read(1):
        raise ProtocolError("a message of the homomorphic sum is empty, or longer than it says")
    return found


def statement(run: bytes, round: int, total: bytes) -> bytes:
    """32 bytes that name a round and the ciphertexts that it opens: what all parties sign."""
    return hashlib.sha256(pack("threshold bfv", run, round, hashlib.sha256(total).digest())).digest()


@dataclass(frozen=True, slots=True)
class Rules:
    """What all parties of a sum by OpenFHE agree on beforehand.

    Raises:
        PlanError: the minimum is out of range.
    """

    minimum: int = 0  # fewest parties whose sum may be opened; 0 = 3
    flooding: bool = True  # hide keys by statistical smudging when opening; False: by noise of fixed size, cheaper

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
        return STAGES

    @property
    def hides(self) -> str:
        """What happens to a contribution before it leaves, for the report."""
        return "encrypted"

    def traffic(self, parties: int, size: int, names: int) -> tuple[int, int]:
        """Bytes (up, down) of each party in a round of so many that sum `size` values, in OpenFHE's round numbers.

        `names` is not needed: parties are not told each other's names.
        """
        slots, ciphertext = (16384, 2**20) if self.flooding else (8192, 2**18)
        batches = -(-size // slots)
        up = ciphertext + batches * ciphertext * 3 // 2 + 64
        return up, (parties + 1 + batches) * ciphertext
