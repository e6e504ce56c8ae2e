"""Finding a set or a file in the folders where data may lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tacit.core.values import DataError


def locate(name: str, aliases: Sequence[str], files: Sequence[str], folders: Sequence[Path], advice: str) -> Path:
    """The first place that holds all `files`, plain or as .gz: a folder itself or its subfolder of the set's name.

    Raises:
        DataError: no place has them all; every place is listed, with what is missing where only some are there.
    """
    looked = []
    for folder in folders:
        for place in (folder, *(folder / alias for alias in (name, *aliases))):
            missing = [file for file in files if present(place, file) is None]
            if not missing:
                return place
            looked.append(f"{place} (without {', '.join(missing)})" if len(missing) < len(files) else f"{place}")
    raise DataError(f"{name} was not found. Looked in: {', '.join(looked) or 'no folder at all'}. {advice}")


def present(place: Path, file: str) -> Path | None:
    """The file in this place, plain or as .gz, or None."""
    return next((path for path in (place / file, place / f"{file}.gz") if path.is_file()), None)


def need(place: Path, file: str) -> Path:
    """The file in this place, plain or as .gz.

    Raises:
        DataError: it is not there.
    """
    path = present(place, file)
    if path is None:
        raise DataError(f"{place}: {file} was needed and is missing")
    return path


def find_file(path: str, folders: Sequence[Path], what: str) -> Path:
    """A user's own file: as named, or inside one of the folders.

    Raises:
        DataError: no name was given, or no such file exists; every place is listed.
    """
    if not path:
        raise DataError(f"{what} needs the name of a file, got none")
    places = [Path(path).expanduser(), *(folder / path for folder in folders)]
    for place in dict.fromkeys(places):
        if place.is_file():
            return place
    raise DataError(f"{what} {path!r} was not found. Looked for: {', '.join(str(p) for p in dict.fromkeys(places))}")
