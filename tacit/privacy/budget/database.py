"""Where budgets are stored: what a database must do so that draws are atomic and charges survive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from tacit.privacy.budget.account import Account


class Session(Protocol):
    """One transaction. Places in a statement are marked by question marks."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement."""
        ...


class Database(Protocol):
    """A place that holds budgets; a connection lives for one transaction, so that processes may fork between two."""

    @property
    def place(self) -> str:
        """What to open it by again: a path or a URL, never with a password."""
        ...

    def create(self) -> AbstractContextManager[Session]:
        """A transaction that nobody else's can run beside; makes the database where it can."""
        ...

    def read(self) -> AbstractContextManager[Session]:
        """A transaction that sees one state of everything."""
        ...

    def write(self, account: Account) -> AbstractContextManager[Session]:
        """A transaction beside which nobody else can write to this account; on stable storage when it ends."""
        ...

    def tables(self, session: Session) -> set[str]:
        """Names of the tables that are there."""
        ...
