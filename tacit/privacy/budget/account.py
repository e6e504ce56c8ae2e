"""Whose budget it is, what it allows, and how much of it is gone."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field

from tacit.core.values import Event
from tacit.privacy.accountant import Spent
from tacit.privacy.budget.errors import BudgetError

ADD, REPLACE = "add-or-remove-one", "replace-one"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.,@:+()/-]{0,95}")


def checked_name(what: str, value: str) -> str:
    """A name that may stand in a budget, a ledger and a message.

    Raises:
        BudgetError: it may not.
    """
    if not _NAME.fullmatch(value):
        raise BudgetError(f"{value[:40]!r} is no {what}: use up to 96 letters, digits, spaces and _.,@:+()/-")
    return value


@dataclass(frozen=True, slots=True)
class Account:
    """One data holder and one purpose: what has a budget of its own."""

    holder: str
    purpose: str

    def __post_init__(self) -> None:
        checked_name("name of a data holder", self.holder)
        checked_name("purpose", self.purpose)

    def __str__(self) -> str:
        return f"the budget of {self.holder!r} for {self.purpose!r}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a budget allows in all its time: epsilon at delta, for this unit, against this neighbour."""

    epsilon: float
    delta: float
    unit: str = "customer"
    neighbouring: str = ADD
    clients: int = 0  # public number of clients of the holder, for plans that draw cohorts; 0 = not stated

    def __post_init__(self) -> None:
        if not 0.0 < self.epsilon < math.inf or not 0.0 < self.delta < 1.0:
            raise BudgetError(
                f"a budget needs a finite epsilon > 0 and 0 < delta < 1, got {self.epsilon}, {self.delta}"
            )
        if self.neighbouring not in (ADD, REPLACE):
            raise BudgetError(f"a neighbouring relation is {ADD!r} or {REPLACE!r}, got {self.neighbouring!r}")
        if self.clients < 0:
            raise BudgetError(f"the number of clients cannot be below 0, got {self.clients}")
        checked_name("unit", self.unit)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a budget's history. Nothing in it is ever changed or removed."""

    number: int  # from 1
    kind: str  # "open", "clients", "reserve", "charge" or "cancel"
    reference: str  # what it is about: a run, a round, a query
    attempt: int  # 1, and more where the same reference was charged again
    reservation: str  # the reservation that it drew from, or ""
    about: str  # in the holder's words
    time: str  # UTC, ISO 8601
    charged: Counter[Event] = field(default_factory=Counter)
    held: Counter[Event] = field(default_factory=Counter)  # added to what is reserved, or taken from it where below 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A budget and what is gone of it."""

    account: Account
    allowance: Allowance
    charged: Counter[Event]  # stored before whatever they paid for was released
    held: Counter[Event]  # reserved by runs and not charged yet
    spent: Spent  # charged events together
    taken: Spent  # charged and reserved events together: what a new draw is composed with

    @property
    def left(self) -> float:
        """Epsilon that is neither charged nor reserved. New draws compose, so they may cost less than they would
        alone: rounds that fit are computed by composition, not from this difference.
        """
        return max(0.0, self.allowance.epsilon - self.taken.epsilon)
