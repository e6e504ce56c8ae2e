"""What a ledger entry may say: declared fields of declared forms, in one canonical line. Nothing else gets in.

Entries are public to whoever may audit a run, so no field has room for a person: digests, counts, names of trainings,
versions, and a privacy statement. No time either: the same run gives the same entries.
"""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from tacit.core.values import VerificationError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.,@:+()/-]{0,95}")
_WORDS = re.compile(r"[a-z][a-z -]{0,47}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_FIELD = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_SHORT = re.compile(r"[0-9a-f]{16}")

_FORMS = {  # form -> how to say it
    "digest": "a SHA-256 in 64 hexadecimal digits",
    "name": "a name of at most 96 letters, digits and signs",
    "words": "a few words in small letters",
    "count": "a whole number, 0 or more",
    "amount": "a number, 0 or more",
    "versions": "a table of package names and versions",
    "path": "a path inside the run folder",
    "lines": "a list of digests, each in 16 hexadecimal digits",
    "events": "a list of tables of words, counts and amounts",
}

_NEEDED: Mapping[str, Mapping[str, str]] = {
    "plan": {"plan": "digest"},
    "round": {
        "training": "name",
        "number": "count",
        "plan": "digest",  # of the training's own plan, noise calibrated
        "cohort": "count",
        "clients": "count",
        "dropped": "count",
        "update": "digest",  # of the shared parameters that the round led to
    },
    "charge": {  # drawn from a budget before the round that it names was begun
        "training": "name",
        "number": "count",
        "attempt": "count",  # 1, and more where the round was repeated after a crash
        "holder": "name",
        "purpose": "name",
        "events": "events",
    },
    "file": {"path": "path", "sha256": "digest"},
    "result": {"report": "digest"},
}
_SPENT = {"epsilon": "amount", "delta": "amount", "unit": "words", "neighbouring": "words"}  # all of them or none
_ALLOWED: Mapping[str, Mapping[str, str]] = {
    "plan": {"name": "name", "versions": "versions"},
    "round": _SPENT,
    "charge": {},
    "file": {"lines": "lines"},  # the beginning of each line's SHA-256, so that an altered line can be named
    "result": {"page": "digest", "model": "digest"},
}
KINDS = tuple(_NEEDED)


def checked(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry, its fields proven to be declared and well formed.

    Raises:
        VerificationError: names the kind and the first field that is unknown, missing or ill formed; never its value.
    """
    kind = entry.get("kind")
    if kind not in KINDS:
        raise VerificationError(f"a ledger entry has a kind, one of {', '.join(KINDS)}; this one has none of them")
    needed, allowed = _NEEDED[kind], _ALLOWED[kind]
    for name in entry:
        if name != "kind" and name not in needed and name not in allowed:
            raise VerificationError(
                f"a {kind!r} entry has no field {_shown(name)}; it may hold {', '.join([*needed, *allowed])}"
            )
    for name in needed:
        if name not in entry:
            raise VerificationError(f"a {kind!r} entry needs the field {name!r}")
    if kind == "round" and (missing := [name for name in _SPENT if name not in entry]) and len(missing) < len(_SPENT):
        raise VerificationError(f"a privacy statement is whole or absent: this round lacks {', '.join(missing)}")
    out: dict[str, Any] = {"kind": kind}
    for name, value in entry.items():
        if name != "kind":
            form = needed.get(name) or allowed[name]
            if not _fits(form, value):
                raise VerificationError(f"field {name!r} of a {kind!r} entry must be {_FORMS[form]}")
            out[name] = float(value) if form == "amount" else value
    if kind == "round" and out["number"] == 0:
        raise VerificationError("rounds are numbered from 1")
    return out


def _fits(form: str, value: Any) -> bool:
    if form in ("count", "amount"):
        if isinstance(value, bool) or not isinstance(value, int if form == "count" else int | float):
            return False
        return 0 <= value < 2**63 and math.isfinite(value)
    if form == "versions":
        return isinstance(value, Mapping) and all(
            isinstance(part, str) and _VERSION.fullmatch(part) for pair in value.items() for part in pair
        )
    if form == "lines":
        return isinstance(value, list) and all(isinstance(part, str) and _SHORT.fullmatch(part) for part in value)
    if form == "events":
        return isinstance(value, list) and all(isinstance(part, Mapping) and _event(part) for part in value)
    pattern = {"digest": _DIGEST, "name": _NAME, "words": _WORDS, "path": _PATH}[form]
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _event(event: Mapping[str, Any]) -> bool:
    """Whether every field of a privacy event is a word or a number."""
    return all(
        isinstance(name, str)
        and _FIELD.fullmatch(name)
        and (_WORDS.fullmatch(value) if isinstance(value, str) else _fits("amount", value))
        for name, value in event.items()
    )


def _shown(name: object) -> str:
    """A field's name as far as it can be one; anything else might be data that strayed."""
    return repr(name) if isinstance(name, str) and _FIELD.fullmatch(name) else "of that name"


def identity(entry: Mapping[str, Any]) -> str:
    """What an entry is about; a ledger holds one entry for each."""
    if entry["kind"] == "round":
        return f"{entry['training']}/{entry['number']}"
    if entry["kind"] == "charge":
        return f"{entry['training']}/{entry['number']}/{entry['attempt']}"
    return str(entry["path"]) if entry["kind"] == "file" else str(entry["kind"])


def title(entry: Mapping[str, Any]) -> str:
    """An entry in a few words, for messages."""
    if entry["kind"] == "round":
        return f"round {entry['number']} of {entry['training']}"
    if entry["kind"] == "charge":
        return f"charge {entry['attempt']} for round {entry['number']} of {entry['training']}"
    return f"file {entry['path']}" if entry["kind"] == "file" else str(entry["kind"])


def to_line(entry: Mapping[str, Any]) -> bytes:
    """Canonical JSON without its newline: keys sorted, no spaces, ASCII."""
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def from_line(line: bytes) -> dict[str, Any]:
    """The inverse of `to_line`.

    Raises:
        VerificationError: not JSON, not canonical, or not a declared entry.
    """
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise VerificationError("the line is not a JSON object")
    found = checked(entry)
    if to_line(found) != line:
        raise VerificationError("the line is not in canonical form")
    return found


def versions() -> dict[str, str]:
    """What a run's figures depend on: Python and the packages that compute, by name."""
    found = {"python": platform.python_version()}
    for name in ("tacit", "numpy", "torch", "numba", "cryptography", "dp-accounting"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
