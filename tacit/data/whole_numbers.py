"""Fast reading of files that hold nothing but whole numbers, with the line of whatever else they hold."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import numpy as np

from tacit.core.values import Array, DataError
from tacit.data.delimited import open_bytes


def read_bytes(path: Path) -> bytes:
    """All bytes of a file, unpacked when its name ends in .gz, with line ends as they are on Unix.

    Raises:
        DataError: the file cannot be read, or is empty.
    """
    try:
        with open_bytes(path) as file:
            raw = file.read()
    except (EOFError, zlib.error):
        raise DataError(f"{path.name}: the .gz file is damaged or cut short. Fetch it again.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or 'damaged .gz file'}).") from None
    raw = raw.replace(b"\r\n", b"\n") if b"\r" in raw else raw
    if not raw.strip():
        raise DataError(f"{path.name}: the file is empty")
    return raw


def whole_numbers(raw: bytes, place: str, columns: int, separator: bytes, skip: int = 0) -> Array:
    """(rows, columns) int64 of text whose lines hold `columns` unsigned numbers; `skip` lines on top are left out.

    Raises:
        DataError: a line holds something else, or another number of fields; names the line.
    """
    body = raw.split(b"\n", skip)[skip] if skip else raw
    body = body.strip(b"\n") + b"\n"
    if len(separator) > 1:
        body = body.replace(b"\t", b"?").replace(separator, b"\t")  # "?" is refused below
        separator = b"\t"
    data = np.frombuffer(body, np.uint8)
    newline, field = data == 10, data == separator[0]
    digit = (data >= 48) & (data <= 57)
    ends = np.flatnonzero(newline)
    gaps = newline | field
    wrong = np.flatnonzero(~(digit | gaps))  # strange characters
    hollow = np.flatnonzero(gaps & np.concatenate([[True], gaps[:-1]]))  # empty fields
    if len(wrong) or len(hollow):
        first = min(int(found[0]) for found in (wrong, hollow) if len(found))
        line = int(np.searchsorted(ends, first)) + 1 + skip
        raise DataError(f"{place}, line {line}: {columns} whole numbers were needed, found something else.")
    counts = np.add.reduceat(gaps, np.concatenate([[0], ends[:-1] + 1]), dtype=np.int64)
    if np.any(counts != columns):
        row = int(np.argmax(counts != columns))
        raise DataError(f"{place}, line {row + 1 + skip}: {columns} fields were needed, got {int(counts[row])}.")
    if int(np.diff(np.flatnonzero(gaps), prepend=-1).max()) > 19:  # 18 digits and the gap
        raise DataError(f"{place}: a number has more than 18 digits")
    return np.fromstring(body.replace(separator, b" ").decode("ascii"), dtype=np.int64, sep=" ").reshape(-1, columns)


def git_blob(raw: bytes) -> str:
    """The id that git gives to a file with this content: SHA-1 of a header and the bytes. Not for security."""
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()
