"""What the two MovieLens sets have in common.

F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), Article 19, 2015,
https://doi.org/10.1145/2827872. For research; GroupLens' terms forbid to pass the data on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tacit.core.values import Array, DataError
from tacit.data.whole_numbers import git_blob, read_bytes

AGE_BANDS = {  # lower end -> name, as MovieLens 1M writes them
    1: "under 18",
    18: "18-24",
    25: "25-34",
    35: "35-44",
    45: "45-49",
    50: "50-55",
    56: "56+",
}
GENDERS = {"M": "male", "F": "female"}


def age_bands(ages: Sequence[int] | Array) -> Array:
    """The age band's name for each age in years."""
    names = np.array(list(AGE_BANDS.values()))
    return names[np.searchsorted(list(AGE_BANDS), np.asarray(ages), side="right") - 1]


def regions(zips: Sequence[str]) -> Array:
    """ "zip 0" to "zip 9", the United States' ten postal areas, or "other" where the code has not five digits."""
    return np.array([f"zip {code[0]}" if code[:5].isdecimal() and len(code) >= 5 else "other" for code in zips])


def genders(marks: Sequence[str], place: str) -> Array:
    """ "male" or "female" for M or F.

    Raises:
        DataError: another mark.
    """
    for number, mark in enumerate(marks, start=1):
        if mark not in GENDERS:
            raise DataError(f"{place}, line {number}: M or F was needed as gender, found something else.")
    return np.array([GENDERS[mark] for mark in marks])


def lines(path: Path, separator: str, width: int) -> list[list[str]]:
    """The fields of each line of a file in ISO-8859-1.

    Raises:
        DataError: the file cannot be read, or a line has another number of fields.
    """
    rows = [line.split(separator) for line in read_bytes(path).decode("iso-8859-1").rstrip("\n").split("\n")]
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise DataError(f"{path.name}, line {number}: {width} fields were needed, got {len(row)}.")
    return rows


def numbers(cells: Sequence[str], place: str, what: str) -> Array:
    """(cells,) int64.

    Raises:
        DataError: a cell is no whole number.
    """
    for number, cell in enumerate(cells, start=1):
        if not (cell.isascii() and cell.isdigit()) or len(cell) > 18:
            raise DataError(f"{place}, line {number}: a whole number was needed as {what}, found something else.")
    return np.array(cells, dtype=np.int64)


def check_published(raw: bytes, path: Path, blob: str, name: str) -> None:
    """Refuse a ratings file that is not the published one: figures made with it would not compare.

    Raises:
        DataError: its git blob id differs.
    """
    if (found := git_blob(raw)) != blob:
        raise DataError(
            f"{path} is not the published file: git blob id {blob} was needed, found {found}. Get it with "
            f"`tacit data get {name}`, or set verify = false to use it as it is."
        )


def dense(ids: Array, known: Array, what: str, place: str, first_line: int = 1) -> Array:
    """Place of each id in the sorted ids that are known, int32.

    Raises:
        DataError: an id is not known; names the line.
    """
    places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    if len(strange := np.flatnonzero(known[places] != ids)):
        raise DataError(f"{place}, line {int(strange[0]) + first_line}: unknown {what}")
    return places.astype(np.int32)
