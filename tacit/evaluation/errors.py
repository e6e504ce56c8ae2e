"""The one error that evaluation adds."""

from __future__ import annotations

from tacit.core.values import TacitError


class ScoreError(TacitError, ValueError):
    """A model's scores or probabilities cannot be judged: not a number, out of range, or of the wrong shape."""
