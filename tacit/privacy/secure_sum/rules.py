"""What all parties of a secure sum agree on beforehand: how small a sum may be, and how many neighbours are enough."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tacit.core.values import PlanError
from tacit.privacy.secure_sum.graph import choose, threshold, thresholds
from tacit.privacy.secure_sum.keys import pack
from tacit.privacy.secure_sum.roster import Roster, ring

COMPLETE = 100  # up to so many clients everybody is everybody's neighbour, unless `neighbours` says otherwise


@dataclass(frozen=True, slots=True)
class Rules:
    """Numbers of a secure sum, and the roster of a round that follows from them.

    Raises:
        PlanError: a number is out of range, or two contradict each other.
    """

    minimum: int = 20  # fewest contributions that may be opened together
    neighbours: int = 0  # with whom each client masks, even; 0 = everybody up to 100 clients, then the least that holds
    threshold: int = 0  # shares that open a secret; 0 = what the bounds say
    dropout: float = 0.1  # share of a cohort that may vanish
    colluding: float = 0.05  # share of a cohort that may work together with the server
    lying: bool = False  # hold even against a server that lies about who dropped out, with more than 100 clients
    renew: int = 0  # rounds after which clients change keys and neighbours; 0 = once per run

    def __post_init__(self) -> None:
        if self.minimum < 2:
            raise PlanError(f"minimum must be at least 2: a sum of one is that one, got {self.minimum}")
        if self.neighbours < 0 or self.neighbours % 2:
            raise PlanError(f"neighbours must be 0 (chosen) or an even number, got {self.neighbours}")
        if self.threshold < 0 or 0 < self.neighbours < self.threshold:
            raise PlanError(f"threshold must lie between 1 and neighbours, or be 0 (chosen), got {self.threshold}")
        if min(self.dropout, self.colluding) < 0.0 or not self.dropout + self.colluding < 1.0:
            raise PlanError(
                "dropout and colluding must be shares that leave somebody over, "
                f"got {self.dropout} and {self.colluding}"
            )
        if self.renew < 0:
            raise PlanError(f"renew must be 0 (once per run) or a number of rounds, got {self.renew}")

    def shape(self, n: int) -> tuple[int, int]:
        """(neighbours k, threshold t) for a round of n clients.

        Raises:
            PlanError: fewer than two clients, or the numbers that were set cannot hold for n.
        """
        if n < 2:
            raise PlanError(f"a secure sum needs at least 2 clients, got {n}")
        k, t = self.neighbours, self.threshold
        if k >= n - 1 or (k == 0 and n <= COMPLETE):
            k = n - 1
        elif k == 0:
            k, chosen = choose(n, self.dropout, self.colluding, self.lying)
            t = t or chosen
        t = t or threshold(n, k, self.dropout, self.colluding)
        least, _, safe = thresholds(n, k, self.dropout, self.colluding)
        if t < min(safe if self.lying else least, k + 1):
            raise PlanError(
                f"{n} clients with {k} neighbours each get a threshold of {t}, but {safe if self.lying else least} is "
                "needed against those that collude. Set more neighbours, a lower dropout, or leave both at 0 (chosen)."
            )
        if t > k:
            raise PlanError(f"threshold {t} cannot be reached among {k} neighbours; lower it or enlarge the cohort")
        return k, t

    def resists_lying(self, n: int) -> bool:
        """Whether a round of n clients also holds against a server that lies about who dropped out (see `SecAgg`)."""
        k, t = self.shape(n)
        return t >= thresholds(n, k, self.dropout, self.colluding)[2]

    def epoch(self, round: int) -> int:
        """Counts the changes of keys and neighbours."""
        return round // self.renew if self.renew else 0

    def roster(self, run: bytes, round: int, joined: bytes) -> Roster:
        """The roster of a round among these names (see `roster.join`), the same for every party that reckons it.

        Raises:
            ProtocolError: a name twice, or none.
            PlanError: these rules cannot hold for so few.
        """
        epoch = self.epoch(round)
        circle = ring(hashlib.sha256(pack("seed", run, epoch)).digest(), joined)
        k, t = self.shape(len(circle.names))
        digest = hashlib.sha256(pack("roster", run, round, epoch, k, t, self.minimum, circle.digest)).digest()
        return Roster(circle, epoch, k, t, digest)
