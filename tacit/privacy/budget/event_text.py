"""Events as canonical JSON: how a budget stores what was drawn."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from tacit.core.values import Event
from tacit.privacy.budget.errors import BudgetError


def to_text(event: Event) -> str:
    """Canonical JSON of every field: equal events have equal texts."""
    numbers = {item.name for item in fields(Event) if item.type in ("float", float)}
    told = {name: float(value) if name in numbers else value for name, value in asdict(event).items()}
    try:
        return json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise BudgetError(f"an event must hold finite numbers to be charged, got {event}") from None


def from_text(text: str) -> Event:
    """The inverse of `to_text`.

    Raises:
        BudgetError: no event of this version; a budget that holds one cannot be composed, so nothing is admitted.
    """
    try:
        told: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(text).items()}
        return Event(**told)
    except (ValueError, TypeError, AttributeError):
        raise BudgetError(
            "a stored charge is damaged, or was written by a newer tacit: nothing can be drawn from this budget until "
            "it can be read. Nothing was changed."
        ) from None
