"""The folders in which data are looked for, in order."""

from __future__ import annotations

import os
from pathlib import Path


def folders(data: Path | None = None) -> tuple[Path, ...]:
    """`data` (the --data option), $TACIT_DATA, ./data and the user's cache folder, whether or not they exist."""
    named = os.environ.get("TACIT_DATA")
    places = [data, Path(named).expanduser() if named else None, Path("data"), cache()]
    return tuple(dict.fromkeys(place for place in places if place is not None))


def cache() -> Path:
    """The user's cache folder: $XDG_CACHE_HOME/tacit, or ~/.cache/tacit. Downloads go there."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG base directory specification: a relative path there is invalid and must be ignored.
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "tacit"
