"""Where budgets are: --budget, $TACIT_BUDGET, or a file in the user's data folder."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tacit.privacy.budget.database import Database
from tacit.privacy.budget.errors import BudgetError
from tacit.privacy.budget.postgresql import PostgreSQL
from tacit.privacy.budget.sqlite import SQLite


def default() -> Path:
    """`budget.sqlite3` in the user's data folder: $XDG_DATA_HOME/tacit, or ~/.local/share/tacit."""
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "share") / "tacit" / "budget.sqlite3"


def at(place: str | None = None) -> Database:
    """The database of a path or URL; without one, of $TACIT_BUDGET, else of the default file.

    Raises:
        BudgetError: a URL of another kind, or with a password in it.
    """
    place = place or os.environ.get("TACIT_BUDGET") or str(default())
    kind, mark, rest = place.partition("://")
    if not mark:
        if "password=" in place.replace(" ", ""):
            raise _secret()
        return SQLite(Path(place).expanduser())
    if kind == "sqlite":
        return SQLite(Path(rest).expanduser())
    if kind not in ("postgresql", "postgres"):
        raise BudgetError(f"a budget is a file or a postgresql:// URL, not {kind[:20]}://")
    try:
        parts = urlsplit(place)
        names = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
        _ = parts.port  # is a number, or raises
        secret = parts.password is not None or bool(names & {"password", "sslpassword"})
    except ValueError:
        raise BudgetError("the budget's postgresql:// URL cannot be read: check its host and port") from None
    if secret:
        raise _secret()
    return PostgreSQL(place)


def _secret() -> BudgetError:
    return BudgetError(
        "a password in the address of a budget can be read by everyone on this machine, and stays in histories: leave "
        "it out, and put it into PGPASSWORD or ~/.pgpass"
    )
