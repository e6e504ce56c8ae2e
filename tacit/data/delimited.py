"""Reading delimited text (CSV, TSV, semicolons; plain or .gz; UTF-8) with the line of every row."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from tacit.core.values import DataError
from tacit.data.table import Table

SEPARATORS = ",;\t|"


def read(
    path: Path,
    keep: Sequence[str] = (),
    names: Sequence[str] = (),
    separator: str = "",
    comment: str = "",
) -> Table:
    """Read a file; the first line holds the column names unless `names` gives them.

    Args:
        path: the file; .gz is unpacked while reading.
        keep: columns to keep; empty = all.
        names: column names of a file that has no header.
        separator: empty = the one of comma, semicolon, tab and bar that is most frequent in the first line.
        comment: lines that begin with this are skipped; empty = none.

    Raises:
        DataError: the file cannot be read, is empty, is not UTF-8, or a line has the wrong number of fields.
    """
    try:
        with open_text(path) as file:
            return _parse(path, file, keep, tuple(names), separator, comment)
    except UnicodeDecodeError:
        raise _encoding(path) from None
    except csv.Error as error:
        raise DataError(f"{path.name}: not a readable table ({error}). Check its quotes.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{path.name}: the .gz file is damaged or cut short. Fetch or compress it again.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the name and the permissions.") from None


def open_bytes(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked when its name ends in .gz."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def open_text(path: Path) -> IO[str]:
    """The UTF-8 text of a file, without a byte order mark."""
    return io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="")


def _parse(
    path: Path, file: IO[str], keep: Sequence[str], names: tuple[str, ...], separator: str, comment: str
) -> Table:
    first = file.readline()
    while first and (not first.strip() or (comment and first.startswith(comment))):
        first = file.readline()
    if not first:
        raise DataError(f"{path.name}: the file is empty. A header line and at least one row were needed.")
    file.seek(0)
    rows = _rows(path, file, separator or max(SEPARATORS, key=first.count), comment)
    number = 0
    if not names:
        number, header = next(rows)
        names = _header(path, number, header)
    places = [index for index, name in enumerate(names) if not keep or name in keep]
    columns: list[list[str]] = [[] for _ in places]
    appends = [(index, column.append) for index, column in zip(places, columns, strict=True)]
    lines: list[int] = []
    width = len(names)
    for number, row in rows:
        if len(row) != width:
            raise DataError(
                f"{path.name}, line {number}: {width} fields were needed, got {len(row)}. "
                "Quote cells that hold the separator, and fill in what is missing."
            )
        for index, append in appends:
            append(row[index])
        lines.append(number)
    if not lines:
        raise DataError(f"{path.name}: the file has a header but no rows. At least one row was needed.")
    return Table(path.name, {names[i]: column for i, column in zip(places, columns, strict=True)}, names, lines)


def _rows(path: Path, file: IO[str], separator: str, comment: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line on which each begins, without blank lines and comments."""
    reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
    start = 1
    try:
        for row in reader:
            blank = not row or (len(row) == 1 and not row[0].strip())
            if not blank and not (comment and row[0].startswith(comment)):
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path.name}, line {start}: not a readable row ({error}). Check its quotes.") from None


def _header(path: Path, number: int, header: list[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in header)
    # The names are not shown: in a file without a header they are somebody's data.
    if "" in names or len(set(names)) != len(names):
        wrong = "a name is empty" if "" in names else "a name appears twice"
        raise DataError(
            f"{path.name}, line {number}: the first line must hold the names of the columns, but {wrong}. "
            "Put a header line on top, with one name for each column."
        )
    return names


def _encoding(path: Path) -> DataError:
    """Which line is not UTF-8: found by reading again, for a decoder reads ahead."""
    with open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return DataError(f"{path.name}, line {number}: not UTF-8 text. Save the file with UTF-8 encoding.")
    return DataError(f"{path.name}: not UTF-8 text. Save the file with UTF-8 encoding.")
