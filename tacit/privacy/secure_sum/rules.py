"""What all parties of a secure sum agree on beforehand: how small a sum may be, and how many neighbours are enough."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tacit.core.values import PlanError
from tacit.privacy.proofs import terms
from tacit.privacy.secure_sum import wire
from tacit.privacy.secure_sum.graph import choose, threshold, thresholds
from tacit.privacy.secure_sum.keys import pack
from tacit.privacy.secure_sum.roster import Roster, ring

COMPLETE = 100  # up to so many clients everybody is everybody's neighbour, unless `neighbours` says otherwise
CUSTOMERS = 20  # fewest contributions that may be opened together, unless `minimum` says otherwise
SERVERS = ("auto", "semi-honest", "malicious")


@dataclass(frozen=True, slots=True)
class Rules:
    """Numbers of a secure sum, and the roster of a round that follows from them.

    Raises:
        PlanError: a number is out of range, or two contradict each other.
    """

    minimum: int = 0  # fewest contributions that may be opened together; 0 = 20, in a plan between nodes 3
    against: str = "auto"  # a server: "semi-honest", "malicious", or "auto" = malicious up to 100 clients (see SecAgg)
    groups: int = 1  # sums that a round is cut into, for a robust rule across them; `minimum` holds for each
    neighbours: int = 0  # with whom each client masks, even; 0 = everybody up to 100 clients, then the least that holds
    threshold: int = 0  # shares that open a secret; 0 = what the bounds say
    dropout: float = 0.1  # share of a cohort that may vanish
    colluding: float = 0.05  # share of a cohort that may work together with the server
    secrecy: int = 40  # bits: a round exposes an honest client with a chance of at most 2^-secrecy
    correctness: int = 30  # bits: a round with no more dropouts than that fails with a chance of at most 2^-correctness
    renew: int = 0  # rounds after which clients change keys and neighbours; 0 = once per run
    proof: str = ""  # before the sum: "opening" = commitments that it must open, "norm" = and a proof of the L2 norm
    proof_of: tuple[str, ...] = ()  # names of the parameters that this is about; () = all

    def __post_init__(self) -> None:
        if self.minimum < 0 or self.minimum == 1:
            raise PlanError(f"minimum must be at least 2: a sum of one is that one; or 0 (chosen), got {self.minimum}")
        if self.against not in SERVERS:
            raise PlanError(f"against must be one of {SERVERS}, got {self.against!r}")
        if self.groups < 1:
            raise PlanError(f"groups must be at least 1, got {self.groups}")
        if self.neighbours < 0 or self.neighbours % 2:
            raise PlanError(f"neighbours must be 0 (chosen) or an even number, got {self.neighbours}")
        if self.threshold < 0 or 0 < self.neighbours < self.threshold:
            raise PlanError(f"threshold must lie between 1 and neighbours, or be 0 (chosen), got {self.threshold}")
        if min(self.dropout, self.colluding) < 0.0 or not self.dropout + self.colluding < 1.0:
            raise PlanError(
                "dropout and colluding must be shares that leave somebody over, "
                f"got {self.dropout} and {self.colluding}"
            )
        if not (1 <= self.secrecy <= 128 and 1 <= self.correctness <= 128):
            raise PlanError(f"secrecy and correctness must be 1 to 128 bits, got {self.secrecy} and {self.correctness}")
        if self.renew < 0:
            raise PlanError(f"renew must be 0 (once per run) or a number of rounds, got {self.renew}")
        if self.proof not in terms.KINDS:
            raise PlanError(f"proof must be one of {terms.KINDS}, got {self.proof!r}")
        if self.proof_of and not self.proof:
            raise PlanError(f"proof_of names what is proven, but nothing is: set proof, or drop {self.proof_of!r}")

    @property
    def least(self) -> int:
        """Fewest contributions that may be opened together."""
        return self.minimum or CUSTOMERS

    @property
    def stages(self) -> tuple[str, ...]:
        """The messages of a round: against a semi-honest server nobody needs to endorse the survivors."""
        found = [stage for stage in wire.STAGES if stage != "sign" or self.against != "semi-honest"]
        if self.proof:
            found.insert(found.index("masked"), wire.COMMIT)
        return tuple(found)

    @property
    def working(self) -> str:
        """The stage in which clients compute their vectors: that in which they first have to say something of them."""
        return wire.COMMIT if self.proof else "masked"

    def shape(self, n: int) -> tuple[int, int]:
        """(neighbours k, threshold t) for a round of n clients.

        Raises:
            PlanError: fewer than two clients, or the numbers that were set cannot hold for n.
        """
        if n < 2:
            raise PlanError(f"a secure sum needs at least 2 clients, got {n}")
        k, t, malicious = self.neighbours, self.threshold, self.against == "malicious"
        bounds = (self.dropout, self.colluding, self.secrecy, self.correctness)
        if k >= n - 1 or (k == 0 and n <= COMPLETE):
            k = n - 1
        elif k == 0:
            k, chosen = choose(n, self.dropout, self.colluding, malicious, self.secrecy, self.correctness)
            t = t or chosen
        t = t or threshold(n, k, self.dropout, self.colluding, malicious, self.secrecy, self.correctness)
        least, _, safe = thresholds(n, k, *bounds)
        needed = safe if malicious else min(least, k + 1)
        if t < needed:
            raise PlanError(
                f"{n} clients with {k} neighbours each get a threshold of {t}, but {needed} is "
                "needed against those that collude. Set more neighbours, a lower dropout, or leave both at 0 (chosen)."
            )
        if t > k:
            raise PlanError(f"threshold {t} cannot be reached among {k} neighbours; lower it or enlarge the cohort")
        return k, t

    def resists_lying(self, n: int) -> bool:
        """Whether a round of n clients also holds against a server that lies about who dropped out (see `SecAgg`)."""
        k, t = self.shape(n)
        safe = thresholds(n, k, self.dropout, self.colluding, self.secrecy, self.correctness)[2]
        return t >= safe and self.against != "semi-honest"

    def traffic(self, n: int, values: int, names: int, proven: int | None = None) -> tuple[int, int]:
        """Bytes (up, down) of each client in a round of n where nobody drops out; see `wire.traffic`.

        `proven` is how many of the values something is proven of; all of them unless given.
        """
        up, down = wire.traffic(n, self.shape(n)[0], values, names, "sign" in self.stages)
        return up + terms.added_bytes(self.proof, values if proven is None else proven), down

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
        agreed = pack("roster", run, round, epoch, k, t, self.least, len(self.stages), circle.digest)
        return Roster(circle, epoch, k, t, hashlib.sha256(agreed).digest())
