"""Budgets in a PostgreSQL database that several machines share: draws queue up at their budget's row (FOR UPDATE)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tacit.privacy.budget.account import Account
from tacit.privacy.budget.database import Session
from tacit.privacy.budget.errors import BudgetError

WAIT = 120  # seconds that a writer queues for the others
_ALONE = 0x74616369_62756467  # the advisory lock under which tables are made and budgets opened


@dataclass(frozen=True, slots=True)
class _Session:
    cursor: Any

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of one statement."""
        self.cursor.execute(statement.replace("?", "%s"), tuple(values))
        return list(self.cursor.fetchall()) if self.cursor.description is not None else []


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """A database by its URL. The password comes from PGPASSWORD or ~/.pgpass, so the URL may be shown."""

    url: str

    @property
    def place(self) -> str:
        """The URL."""
        return self.url

    @contextmanager
    def create(self) -> Iterator[Session]:
        """Alone with what makes tables and opens budgets."""
        with self._transaction() as session:
            session.execute("SELECT pg_advisory_xact_lock(?)", (_ALONE,))
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One state of everything."""
        with self._transaction("REPEATABLE READ READ ONLY") as session:
            yield session

    @contextmanager
    def write(self, account: Account) -> Iterator[Session]:
        """The only writer of this account: its row is locked first, and everything read afterwards is the newest."""
        with self._transaction() as session:
            if "tacit_budget" in self.tables(session):
                row = "SELECT 1 FROM tacit_budget WHERE holder = ? AND purpose = ? FOR UPDATE"
                session.execute(row, (account.holder, account.purpose))
            yield session

    def tables(self, session: Session) -> set[str]:
        """Names of the tables that are there."""
        found = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = ANY (current_schemas(false))")
        return {str(row[0]) for row in found}

    @contextmanager
    def _transaction(self, level: str = "READ COMMITTED") -> Iterator[Session]:
        try:
            import psycopg
        except ImportError:
            raise BudgetError(
                "a budget in PostgreSQL needs psycopg, which is not installed: pip install 'tacit[postgresql]'"
            ) from None
        try:
            with psycopg.connect(self.url, connect_timeout=20, application_name="tacit") as connection:
                session = _Session(connection.cursor())
                session.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
                session.execute(f"SET LOCAL lock_timeout = '{WAIT}s'")
                self._insist_on_durability(session)
                yield session
        except psycopg.errors.LockNotAvailable:
            raise BudgetError(
                f"{self.url} was held by other processes for {WAIT} seconds: nothing was drawn, try again"
            ) from None
        except psycopg.errors.InsufficientPrivilege:
            raise BudgetError(
                f"this user of {self.url} may not read or write its budgets: grant CREATE on the schema to whoever "
                "opens budgets; SELECT, INSERT and UPDATE on the tacit_budget tables to whoever draws from them"
            ) from None
        except psycopg.Error as error:
            raise BudgetError(self._explained(error.sqlstate)) from None

    def _explained(self, state: str | None) -> str:
        if state is None or state[:2] in ("08", "28", "3D", "53", "57"):
            return (
                f"the budget at {self.url} cannot be reached, or refused the login: check the address, and PGPASSWORD "
                "or ~/.pgpass. Nothing may be released."
            )
        return f"the budget at {self.url} could not be used (SQL state {state}): nothing may be released"

    def _insist_on_durability(self, session: Session) -> None:
        """A commit must be on the server's disk when it returns.

        Raises:
            BudgetError: the server runs with fsync off, which no client can change.
        """
        ((fsync, commit),) = session.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
        if fsync != "on":
            raise BudgetError(f"the server of {self.url} runs with fsync = off, so a crash loses charges: switch it on")
        if commit in ("off", "local"):
            session.execute("SET LOCAL synchronous_commit = on")
