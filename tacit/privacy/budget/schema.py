"""The tables of a budget database, and the version that says how to read them."""

from __future__ import annotations

from tacit.privacy.budget.database import Database, Session
from tacit.privacy.budget.errors import BudgetError

VERSION = "1"
TABLES = (
    """CREATE TABLE tacit_budget_schema (version TEXT PRIMARY KEY)""",
    """CREATE TABLE tacit_budget (
        holder TEXT NOT NULL, purpose TEXT NOT NULL, epsilon DOUBLE PRECISION NOT NULL, delta DOUBLE PRECISION NOT NULL,
        unit TEXT NOT NULL, neighbouring TEXT NOT NULL, clients BIGINT NOT NULL, entries BIGINT NOT NULL,
        PRIMARY KEY (holder, purpose))""",
    """CREATE TABLE tacit_budget_entry (
        holder TEXT NOT NULL, purpose TEXT NOT NULL, number BIGINT NOT NULL, kind TEXT NOT NULL,
        reference TEXT NOT NULL, attempt BIGINT NOT NULL, reservation TEXT NOT NULL, about TEXT NOT NULL,
        time TEXT NOT NULL, PRIMARY KEY (holder, purpose, number),
        UNIQUE (holder, purpose, kind, reference, attempt))""",
    """CREATE TABLE tacit_budget_movement (
        holder TEXT NOT NULL, purpose TEXT NOT NULL, number BIGINT NOT NULL, reservation TEXT NOT NULL,
        event TEXT NOT NULL, held BIGINT NOT NULL, charged BIGINT NOT NULL CHECK (charged >= 0),
        PRIMARY KEY (holder, purpose, number, event),
        FOREIGN KEY (holder, purpose, number) REFERENCES tacit_budget_entry (holder, purpose, number))""",
)
_NAMES = {statement.split()[2] for statement in TABLES}


def check(database: Database, session: Session) -> bool:
    """Whether budgets stand in this database, in tables that this version reads.

    Raises:
        BudgetError: tables of another version, or not all of them.
    """
    there = database.tables(session) & _NAMES
    if not there:
        return False
    if "tacit_budget_schema" not in there:
        raise BudgetError(f"{database.place} is damaged: tables of its budgets are missing. Nothing was changed.")
    found = [str(row[0]) for row in session.execute("SELECT version FROM tacit_budget_schema")]
    if found != [VERSION]:
        raise BudgetError(
            f"{database.place} holds budgets of schema {', '.join(found)[:40] or 'unknown'}, and this tacit reads "
            f"schema {VERSION}: use the version that wrote them. Nothing was changed."
        )
    if there != _NAMES:
        raise BudgetError(f"{database.place} is damaged: tables of its budgets are missing. Nothing was changed.")
    return True


def make(database: Database, session: Session) -> None:
    """Create the tables where there are none."""
    if not check(database, session):
        for statement in TABLES:
            session.execute(statement)
        session.execute("INSERT INTO tacit_budget_schema (version) VALUES (?)", (VERSION,))
