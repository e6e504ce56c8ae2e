"""Digests of a run's files: of a whole file, and of its lines."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tacit.core.values import TacitError


def digest(path: Path, durable: bool = False) -> str:
    """SHA-256 of a file in hex; with `durable`, once what it holds has reached the disk.

    Raises:
        TacitError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            if durable and os.name == "posix":
                os.fsync(file.fileno())
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TacitError(f"{path.name} cannot be read: {error.strerror}") from None


def line_digests(path: Path) -> list[str]:
    """The first 16 hexadecimal digits of each line's SHA-256, newline included.

    Raises:
        TacitError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return [hashlib.sha256(line).hexdigest()[:16] for line in file]
    except OSError as error:
        raise TacitError(f"{path.name} cannot be read: {error.strerror}") from None
