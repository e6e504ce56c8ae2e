"""What a budget refuses with."""

from __future__ import annotations

from tacit.core.values import TacitError


class BudgetError(TacitError, ValueError):
    """A budget that is not there, cannot be reached, is damaged, or does not fit what would draw from it."""


class BudgetExceeded(BudgetError):
    """What would be drawn is more than what is left; nothing was drawn. Says what is left and what that buys."""
