"""What all parties of a homomorphic sum agree on beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from tacit.core.values import PlanError, ProtocolError
from tacit.privacy.homomorphic import wire
from tacit.privacy.homomorphic.fingerprint import ROWS
from tacit.privacy.homomorphic.parameters import PARTIES, choose, smudging, statistical
from tacit.privacy.homomorphic.ring import Ring

INSTITUTIONS = 3  # fewest parties whose sum may be opened, unless `minimum` says otherwise


@dataclass(frozen=True, slots=True)
class Rules:
    """Numbers of a homomorphic sum, and the ring that follows from them.

    Raises:
        PlanError: a number is out of range.
    """

    minimum: int = 0  # fewest parties whose sum may be opened; 0 = 3
    audit: bool = False  # every party receives all masks and adds them up by itself (see ThresholdRLWE)
    parts: tuple[str, ...] = ()  # names of parameters to encrypt, the rest goes under masks; () = all
    statistical: float = 40.0  # bits to which partial decryptions hide the key, over all values of a round

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= PARTIES or self.minimum == 1:
            raise PlanError(
                f"minimum must be 2 (a sum of one is that one) to {PARTIES} parties, or 0 (chosen), got {self.minimum}"
            )
        if not 20.0 <= self.statistical <= 128.0:
            raise PlanError(f"statistical must lie between 20 and 128 bits, got {self.statistical}")

    @property
    def least(self) -> int:
        """Fewest parties whose sum may be opened."""
        return self.minimum or INSTITUTIONS

    @property
    def stages(self) -> tuple[str, ...]:
        """The messages of a round, in order; in "masked" parties compute their vectors."""
        return wire.STAGES

    @property
    def hides(self) -> str:
        """What happens to a contribution before it leaves, for the report."""
        return f"{', '.join(self.parts)} encrypted, the rest masked" if self.parts else "encrypted"

    def traffic(self, parties: int, size: int, names: int) -> tuple[int, int]:
        """Bytes (up, down) of each party in a round of so many that sum `size` values, all encrypted.

        `names` bytes name the parties.
        """
        ring = self.ring(parties, size)
        words, share, row = 4 * ring.words(size), 4 * ring.primes * ring.degree, 4 * ROWS * ring.primes
        up = (32 + 64) + share + (32 + 64) + (8 * size + words) + (row + 64 + 64) + 8 * size
        down = 16 + (names - 1 + 96 * parties) + (names - 1 + share * parties) + 96 * parties + 32
        down += words + (row + 64) * parties + ((32 + words) * parties if self.audit else 0)
        return up, down

    def ring(self, parties: int, size: int) -> Ring:
        """The smallest ring that holds for so many parties and values.

        Raises:
            PlanError: there is none.
        """
        return choose(parties, size, self.statistical)

    def noise(self, ring: Ring, parties: int, size: int) -> int:
        """Bits of smudging noise, after a party has checked by itself that the ring is large enough.

        Raises:
            ProtocolError: it is not.
        """
        if parties < self.least:
            raise ProtocolError(f"a sum of {parties} parties is refused: the minimum is {self.least}")
        try:
            bits, found = smudging(ring, parties), statistical(ring, parties, size)
        except PlanError as error:
            raise ProtocolError(str(error)) from None
        if found < self.statistical:
            raise ProtocolError(
                f"{ring} hides the keys of {parties} parties to {found:.1f} bits over {size} values, at least "
                f"{self.statistical:g} are needed"
            )
        return bits
