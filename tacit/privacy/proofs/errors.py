"""What proofs refuse with."""

from __future__ import annotations

from tacit.core.values import VerificationError


class ProofError(VerificationError):
    """A commitment or a proof that does not hold: its client is left out of the sum."""


class OpeningError(VerificationError):
    """The opened sum is not the sum of what was committed to: somebody sent another vector, and the sum is refused."""
