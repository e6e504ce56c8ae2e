"""What a client knows in one round, and the order in which it may come to know it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tacit.core.values import Array, ProtocolError
from tacit.privacy.secure_sum.roster import Roster
from tacit.privacy.secure_sum.wire import STAGES, taken


@dataclass(slots=True, repr=False)
class Progress:
    """One round at one client; all of it, secrets included, is dropped with the round."""

    number: int
    nonce: bytes
    stages: tuple[str, ...] = STAGES
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
        if stage not in self.stages:
            raise ProtocolError(f"the secure sum has no stage {stage!r}")
        if self.stage + 1 != self.stages.index(stage):
            raise ProtocolError(
                f"{stage!r} came after {self.stages[self.stage]!r} in round {self.number}: out of order"
            )

    def check(self, survivors: Array, dropped: Array, minimum: int) -> None:
        """Refuse lists of (n,) bool by place on the ring with which two secrets of a client could be played off.

        Raises:
            ProtocolError: not (n,) bool; a client on both lists or, being a neighbour that sent shares, on neither; a
                survivor that sent no shares; this client not a survivor; fewer survivors than the minimum, or fewer
                among the neighbours than the threshold.
        """
        roster = self.seated()
        for name, listed in (("survivors", survivors), ("dropped", dropped)):
            taken({name: listed}, name, (len(roster),), bool)
        if np.any(survivors & dropped):
            raise ProtocolError("a client is listed both as survivor and as dropped out: both its secrets were wanted")
        if not survivors[self.place]:
            raise ProtocolError("this client uploaded, but is not listed as a survivor")
        if int(survivors.sum()) < minimum:
            raise ProtocolError(f"{int(survivors.sum())} survivors are fewer than the minimum of {minimum}")
        near = self.around
        if int(survivors[near].sum()) < roster.threshold:
            raise ProtocolError("fewer neighbours survived than the threshold: the sum would not hide this client")
        if np.any((survivors | dropped)[near] != np.array([bool(it) for it in self.held])):
            raise ProtocolError("survivors and dropped do not match the neighbours that sent shares to this client")

    def seated(self) -> Roster:
        """The roster of the round.

        Raises:
            ProtocolError: the round has not come so far.
        """
        if self.roster is None:
            raise ProtocolError(f"the clients of round {self.number} are not known yet")
        return self.roster
