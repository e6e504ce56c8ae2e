"""The rows of one account: read, added up, appended. Only inside a transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tacit.core.values import Event
from tacit.privacy.budget.account import Account, Allowance, Entry
from tacit.privacy.budget.database import Session
from tacit.privacy.budget.errors import BudgetError
from tacit.privacy.budget.event_text import from_text, to_text

_MINE = "holder = ? AND purpose = ?"


def _key(account: Account) -> tuple[str, str]:
    return account.holder, account.purpose


def _scope(account: Account, reservation: str | None) -> tuple[str, tuple[str, ...]]:
    """The condition, and its values, for all of an account's rows or for those of one reservation."""
    if reservation is None:
        return _MINE, _key(account)
    return f"{_MINE} AND reservation = ?", (*_key(account), reservation)


def allowance(session: Session, account: Account) -> tuple[Allowance, int] | None:
    """What the budget allows and how many entries it has, or None where it was not opened.

    Raises:
        BudgetError: entries are missing.
    """
    columns = "epsilon, delta, unit, neighbouring, clients, entries"
    found = session.execute(f"SELECT {columns} FROM tacit_budget WHERE {_MINE}", _key(account))  # noqa: S608
    if not found:
        return None
    *terms, entries = found[0]
    ((there, last),) = session.execute(
        f"SELECT COUNT(*), MAX(number) FROM tacit_budget_entry WHERE {_MINE}",  # noqa: S608
        _key(account),
    )
    if not there == last == entries:
        raise BudgetError(
            f"{account} is damaged: {entries} entries were written and {there} are there. Nothing can be drawn from "
            "it; put back a copy and charge again what was drawn since. Nothing was changed."
        )
    return Allowance(*terms), int(entries)


def accounts(session: Session) -> list[Account]:
    """Every account with a budget."""
    found = session.execute("SELECT holder, purpose FROM tacit_budget ORDER BY holder, purpose")
    return [Account(str(holder), str(purpose)) for holder, purpose in found]


def sums(session: Session, account: Account, reservation: str | None = None) -> tuple[Counter[Event], Counter[Event]]:
    """(charged, held) events of an account, or of what one reservation did to it."""
    where, values = _scope(account, reservation)
    rows = session.execute(
        f"SELECT event, SUM(charged), SUM(held) FROM tacit_budget_movement WHERE {where} GROUP BY event",  # noqa: S608
        values,
    )
    charged, held = Counter[Event](), Counter[Event]()
    for text, paid, kept in rows:
        event = from_text(text)
        charged[event] += int(paid)
        held[event] += int(kept)
    return +charged, +held


def attempts(session: Session, account: Account, kind: str, reference: str) -> int:
    """How often this was entered."""
    ((count,),) = session.execute(
        f"SELECT COUNT(*) FROM tacit_budget_entry WHERE {_MINE} AND kind = ? AND reference = ?",  # noqa: S608
        (*_key(account), kind, reference),
    )
    return int(count)


def entries(session: Session, account: Account, reservation: str | None = None) -> list[Entry]:
    """The history, oldest first; or only what one reservation did."""
    where, values = _scope(account, reservation)
    moved: dict[int, list[tuple[Any, ...]]] = {}
    columns = "number, event, charged, held"
    for number, *rest in session.execute(
        f"SELECT {columns} FROM tacit_budget_movement WHERE {where} ORDER BY number, event",  # noqa: S608
        values,
    ):
        moved.setdefault(int(number), []).append(tuple(rest))
    columns = "number, kind, reference, attempt, reservation, about, time"
    rows = session.execute(
        f"SELECT {columns} FROM tacit_budget_entry WHERE {where} ORDER BY number",  # noqa: S608
        values,
    )
    out = []
    for number, *rest in rows:
        charged, held = Counter[Event](), Counter[Event]()
        for text, paid, kept in moved.get(int(number), []):
            event = from_text(text)
            charged.update({event: int(paid)} if paid else {})
            held.update({event: int(kept)} if kept else {})
        kind, reference, attempt, mine, about, time = rest
        out.append(Entry(int(number), kind, reference, int(attempt), mine, about, time, charged, held))
    return out


def append(
    session: Session,
    account: Account,
    number: int,
    kind: str,
    reference: str,
    reservation: str,
    about: str,
    charged: Mapping[Event, int],
    held: Mapping[Event, int],
) -> Entry:
    """Write the entry that makes `number` entries of the account."""
    attempt = attempts(session, account, kind, reference) + 1
    time = datetime.now(UTC).isoformat(timespec="seconds")
    entry = Entry(number, kind, reference, attempt, reservation, about, time, Counter(charged), Counter(held))
    session.execute(
        "INSERT INTO tacit_budget_entry (holder, purpose, number, kind, reference, attempt, reservation, about, time) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*_key(account), number, kind, reference, attempt, reservation, about, time),
    )
    moves: dict[str, list[int]] = {}
    for event in {**dict(charged), **dict(held)}:
        move = moves.setdefault(to_text(event), [0, 0])
        move[0] += held.get(event, 0)
        move[1] += charged.get(event, 0)
    for text, (kept, paid) in moves.items():
        session.execute(
            "INSERT INTO tacit_budget_movement (holder, purpose, number, reservation, event, held, charged) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*_key(account), number, reservation, text, kept, paid),
        )
    session.execute(f"UPDATE tacit_budget SET entries = ? WHERE {_MINE}", (number, *_key(account)))  # noqa: S608
    return entry
