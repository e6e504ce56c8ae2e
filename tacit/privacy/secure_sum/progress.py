"""What a client knows in one round, and the order in which it may come to know it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tacit.core.values import Array, ProtocolError
from tacit.privacy.secure_sum.roster import Roster
from tacit.privacy.secure_sum.wire import STAGES


@dataclass(slots=True, repr=False)
class Progress:
    """One round at one client; all of it, secrets included, is dropped with the round."""

    number: int
    nonce: bytes
    stage: int = 0  # index of the last stage that was answered
    roster: Roster | None = None  # from "share" on
    place: int = -1
    around: Array = field(default_factory=lambda: np.zeros(0, np.int64))  # (k,) places of the neighbours
    nonces: list[bytes] = field(default_factory=list)  # by slot
    pairs: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)  # by slot: mask seed, share key, tag key
    self_seed: bytes = b""
    held: list[bytes] = field(default_factory=list)  # by slot: that neighbour's two shares, or empty
    statement: bytes = b""  # what was signed

    def expect(self, stage: str) -> None:
        """Refuse a stage that is not the next one.

        Raises:
            ProtocolError: there is no such stage, or it is not its turn.
        """
        if stage not in STAGES:
            raise ProtocolError(f"the secure sum has no stage {stage!r}")
        if self.stage + 1 != STAGES.index(stage):
            raise ProtocolError(f"{stage!r} came after {STAGES[self.stage]!r} in round {self.number}: out of order")

    def seated(self) -> Roster:
        """The roster of the round.

        Raises:
            ProtocolError: the round has not come so far.
        """
        if self.roster is None:
            raise ProtocolError(f"the clients of round {self.number} are not known yet")
        return self.roster
