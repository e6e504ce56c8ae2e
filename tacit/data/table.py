"""Columns of one file or table as they came, and where each row stands, so that an error can point at it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from tacit.core.values import Array, DataError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"-?\d+\.0*")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Table:
    """Columns by name. Cells are personal data: errors name their place, never their content."""

    place: str  # the file, or "the table"
    columns: Mapping[str, Sequence[Any]]  # cells: str from text files; str, int, float, bool or None from tables
    known: tuple[str, ...]  # every column that the source has, whether kept or not
    lines: Sequence[int] | None = None  # line of each row, from 1; None = the source has rows, not lines

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __repr__(self) -> str:
        """Shows sizes only."""
        return f"Table({self.place!r}, {len(self)} rows, {len(self.columns)} columns)"

    def where(self, row: int) -> str:
        """Where a row stands: file and line (counting the header), or table and row, both from 1."""
        return f"{self.place}, row {row + 1}" if self.lines is None else f"{self.place}, line {self.lines[row]}"

    def column(self, name: str, role: str) -> Sequence[Any]:
        """The cells of a column.

        Raises:
            DataError: there is no such column; the nearest known one is named.
        """
        if name in self.columns:
            return self.columns[name]
        raise DataError(f"{self.place}: there is no column {name!r} for the {role}{nearest(name, self.known)}")

    def text(self, name: str, role: str) -> list[str]:
        """The cells of a column as text, "" where missing; whole numbers without a fraction, so that 3.0 reads "3"."""
        cells = self.column(name, role)
        if all(type(cell) is str for cell in cells):
            return list(cells)
        return [_text(cell) for cell in cells]

    def keys(self, name: str, role: str) -> tuple[Array, list[str]]:
        """A key column as numbers from 0 in order of first appearance: (rows,) int32, and the keys as text.

        Raises:
            DataError: a key is missing; no key is shown, for keys identify persons.
        """
        found: dict[str, int] = {}
        cells = self.text(name, role)
        codes = np.fromiter((found.setdefault(cell, len(found)) for cell in cells), np.int32, len(cells))
        if "" in found:
            row = int(np.argmax(codes == found[""]))
            raise DataError(f"{self.where(row)}: the {role} in column {name!r} is empty. Fill it in, or drop the row.")
        return codes, list(found)

    def ratings(self, name: str) -> Array:
        """(rows,) float32.

        Raises:
            DataError: a cell is no finite number.
        """
        cells = self.column(name, "rating")
        values = floats(cells)
        if len(bad := np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max))):
            cell = cells[bad[0]]
            found = "is empty" if _missing(cell) else f"{_shown(cell)} is not a usable number"
            raise DataError(
                f"{self.where(int(bad[0]))}: the rating in column {name!r} {found}. "
                "Write a number such as 4 or 3.5, or drop the row."
            )
        return values.astype(np.float32)

    def times(self, name: str) -> Array:
        """(rows,) int64: whole numbers as they stand, ISO 8601 dates and times as microseconds since 1970 (UTC).

        Raises:
            DataError: a cell is neither, or the column mixes the two.
        """
        cells = self.column(name, "time")
        read = _moment if cells and isinstance(cells[0], str) and _moment(cells[0]) is not None else _whole
        values = [read(cell) for cell in cells]
        if None in values:
            row = values.index(None)
            found = "is empty" if _missing(cells[row]) else f"{_shown(cells[row])} cannot be read"
            raise DataError(
                f"{self.where(row)}: the time in column {name!r} {found}. Write whole numbers (unix seconds) or "
                "ISO 8601 times (2024-05-31T18:00:00), one kind in the whole column."
            )
        return np.array(values, np.int64)


def floats(cells: Sequence[Any]) -> Array:
    """(cells,) float64, NaN where a cell is no number."""
    try:
        return np.array(cells, dtype=np.float64)  # the fast way, when every cell is a number
    except (TypeError, ValueError, OverflowError):
        return np.array([_float(cell) for cell in cells])


def nearest(name: str, known: Sequence[str]) -> str:
    """What to say after an unknown column: the nearest known one, or where names come from when none is near.

    Names are never listed: where a file lacks its header, the first line is somebody's data.
    """
    if any(np.isfinite(_float(one)) for one in known):
        return ". The first line must hold the names of the columns, but it holds numbers: put a header line on top."
    near = difflib.get_close_matches(name.lower(), [one.lower() for one in known], n=1, cutoff=0.5)
    if near:
        return f". Did you mean {next(one for one in known if one.lower() == near[0])!r}?"
    return f". None of its {len(known)} columns is named alike: check the first line, or the mapping."


def levels(cells: Sequence[str]) -> list[str]:
    """Each cell's level, so that "1.0" and "1" are the same one."""
    known = {cell: cell.split(".")[0] if _WHOLE.fullmatch(cell) else cell for cell in set(cells)}
    return [known[cell] for cell in cells]


def _text(cell: Any) -> str:
    if _missing(cell):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _shown(cell: Any) -> str:
    """The offending rating or time, cut short."""
    text = repr(cell)
    return text if len(text) <= 40 else f"{text[:36]}...{text[-1]}"


def _missing(cell: Any) -> bool:
    return cell is None or cell == "" or bool(cell != cell)


def _float(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _whole(cell: Any) -> int | None:
    """A whole number that fits int64, or None."""
    try:
        value = int(cell) if isinstance(cell, str | int) else int(cell) if float(cell).is_integer() else None
    except (TypeError, ValueError, OverflowError):
        return None
    return value if value is not None and abs(value) < 2**63 else None


def _moment(cell: Any) -> int | None:
    """Microseconds since 1970 of an ISO 8601 text that is not simply a whole number, or None."""
    if not isinstance(cell, str) or _whole(cell) is not None:
        return None
    try:
        moment = datetime.fromisoformat(cell.strip())
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)
