"""Budgets in one SQLite file: writers queue up (BEGIN IMMEDIATE), and a charge is on the disk when it returns.

A rollback journal with synchronous = EXTRA: the file, its journal and their folder are all synchronised before a commit
returns (https://www.sqlite.org/pragma.html#pragma_synchronous), so that a charge survives a loss of power too.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacit.privacy.budget.account import Account
from tacit.privacy.budget.database import Session
from tacit.privacy.budget.errors import BudgetError

WAIT = 120.0  # seconds that a writer queues for the others


@dataclass(frozen=True, slots=True)
class _Session:
    connection: sqlite3.Connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of one statement."""
        return self.connection.execute(statement, tuple(values)).fetchall()


@dataclass(frozen=True, slots=True)
class SQLite:
    """A file on a local disk. (File locks of network file systems are not to be trusted with it.)"""

    path: Path

    @property
    def place(self) -> str:
        """The path."""
        return str(self.path)

    @contextmanager
    def create(self) -> Iterator[Session]:
        """Make the file where there is none, readable by its owner only, and write to it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            raise BudgetError(f"the budget file {self.path} cannot be made: {error.strerror}") from None
        with self._transaction("BEGIN IMMEDIATE", careful=True) as session:
            there = self.tables(session)
            if there and not any(name.startswith("tacit_budget") for name in there):
                raise BudgetError(f"{self.path} is a database of something else: choose another file for budgets")
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One state of everything, after a check of the whole file."""
        with self._transaction("BEGIN", careful=True) as session:
            yield session

    @contextmanager
    def write(self, account: Account) -> Iterator[Session]:
        """The only writer of the file."""
        with self._transaction("BEGIN IMMEDIATE") as session:
            yield session

    def tables(self, session: Session) -> set[str]:
        """Names of the tables that are there."""
        return {str(row[0]) for row in session.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    @contextmanager
    def _transaction(self, begin: str, careful: bool = False) -> Iterator[Session]:
        if not self.path.is_file():
            raise BudgetError(f"there is no budget file {self.path}: `tacit budget open` begins one")
        try:
            uri = f"{self.path.resolve().as_uri()}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None)) as connection:
                for pragma in ("synchronous = EXTRA", "fullfsync = ON", "foreign_keys = ON"):
                    connection.execute(f"PRAGMA {pragma}")
                connection.execute(begin)
                if careful and connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                    raise sqlite3.DatabaseError
                try:
                    yield _Session(connection)
                except BaseException:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise BudgetError(self._explained(error)) from None

    def _explained(self, error: sqlite3.Error) -> str:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"{self.path} was held by other processes for {WAIT:g} seconds: nothing was drawn, try again"
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
            return f"the budget file {self.path} or its folder may not be written to: nothing was drawn"
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return f"the disk would not take what was to be written to {self.path}: nothing was drawn"
        return (
            f"the budget file {self.path} is damaged: put back a copy and charge again what was drawn since. Nothing "
            "was changed, and nothing can be drawn from it"
        )
