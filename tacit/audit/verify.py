"""Prove a run folder against its ledger: every signature, every root, every file; what was altered is named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacit.audit import attacks_seal
from tacit.audit.entry import title
from tacit.audit.file_digest import digest, line_digests
from tacit.audit.history import CHECKPOINTS, ENTRIES, History, altered, read
from tacit.audit.ledger import RESULT_FILES
from tacit.core.values import VerificationError


@dataclass(frozen=True, slots=True)
class Verified:
    """What held true. With `pinned` false, the ledger's own key was believed: whoever replaced it replaced all."""

    entries: int
    checkpoints: int
    root: str  # Merkle root of all entries, in hex: note it down elsewhere, and a second ledger cannot take its place
    key: str  # public key line: name+id+base64
    pinned: bool  # whether the key was given from outside
    finished: bool  # whether the ledger closes with a result


def verify(run: Path, public_key: bytes | None = None, finished: bool = True) -> Verified:
    """Recompute everything that a run's ledger claims.

    Args:
        run: the run folder.
        public_key: (32,) Ed25519 key that must have signed, known from elsewhere; None believes ledger/key.pub.
        finished: a run without a result is refused; with False, only what the ledger speaks of is proven.

    Raises:
        VerificationError: an altered, missing or unlogged part; names the file, and the line or entry where it can.
    """
    history = read(run / "ledger", public_key)
    _refuse_unsigned(history)
    if not history.entries:
        raise VerificationError("the ledger has no entries: the run did not begin, or they were cut off")
    _file(run, "plan.toml", history.entries[0]["plan"], 1)
    rounds = [entry for entry in history.entries if entry["kind"] == "round"]
    for number, entry in enumerate(history.entries, start=1):
        if entry["kind"] == "file":
            _file(run, entry["path"], entry["sha256"], number, entry.get("lines"))
        elif entry["kind"] == "result":
            for field, name in RESULT_FILES.items():
                if field in entry:
                    _file(run, name, entry[field], number)
    closed = history.entries[-1]["kind"] == "result"
    if closed:
        _nothing_unlogged(run, history.entries)
    elif finished:
        raise VerificationError(
            "the ledger has no result: the run is not finished, or its last entries were cut off. Resume it, or verify "
            "what there is as an unfinished run."
        )
    _rounds(run, rounds, closed)
    attacks_seal.check(run, history.tree.root().hex(), history.verifier)
    return Verified(
        entries=len(history.entries),
        checkpoints=len(history.checkpoints),
        root=history.tree.root().hex(),
        key=str(history.verifier),
        pinned=public_key is not None,
        finished=closed,
    )


def _refuse_unsigned(history: History) -> None:
    signed = len(history.lines)
    if history.torn_note:
        line = 1 + sum(checkpoint.text().count("\n") + 2 for checkpoint in history.checkpoints)
        where = f"ledger/{CHECKPOINTS} line {line} (checkpoint {len(history.checkpoints) + 1})"
        raise altered(where, "the checkpoint is incomplete; if the run crashed, resume it")
    if not history.checkpoints and history.unsigned:
        raise VerificationError(f"ledger/{CHECKPOINTS} is missing or empty, so no entry is signed")
    if history.unsigned or history.torn_line:
        raise altered(
            f"ledger/{ENTRIES} line {signed + 1}",
            f"only {signed} entries are signed, and more stands behind them; if the run crashed, resume it",
        )


def _file(run: Path, name: str, sha256: str, number: int, lines: Sequence[str] | None = None) -> None:
    path = run / name
    if not path.is_file():
        raise VerificationError(f"{name} is missing, and entry {number} of the ledger speaks of it")
    if (found := digest(path)) == sha256:
        return
    where = name if lines is None else f"{name} line {_first_difference(lines, line_digests(path))}"
    raise altered(where, f"entry {number} of the ledger says SHA-256 {sha256[:16]}..., the file has {found[:16]}...")


def _first_difference(wanted: Sequence[str], found: Sequence[str]) -> int:
    same = (number for number, pair in enumerate(zip(wanted, found, strict=False), start=1) if pair[0] != pair[1])
    return next(same, min(len(wanted), len(found)) + 1)


def _nothing_unlogged(run: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    logged = {entry["path"] for entry in entries if entry["kind"] == "file"}
    logged |= {name for field, name in RESULT_FILES.items() if field in entries[-1]}
    for name in (*RESULT_FILES.values(), "rounds.jsonl"):
        if (run / name).exists() and name not in logged:
            raise VerificationError(f"{name} was added: no entry of the ledger speaks of it")


def _rounds(run: Path, rounds: Sequence[Mapping[str, Any]], closed: bool) -> None:
    """Every line of rounds.jsonl says what the ledger says; a crash may leave either one round ahead of the other."""
    path = run / "rounds.jsonl"
    if not path.exists():
        if len(rounds) > (0 if closed else 1):
            raise VerificationError(f"rounds.jsonl is missing, and the ledger tells of {title(rounds[0])} and more")
        return
    logged = {(entry["training"], entry["number"]): entry for entry in rounds}
    lines = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        where = f"rounds.jsonl line {number}"
        try:
            record = json.loads(line)
            entry = logged.pop((record["training"], record["number"]), None)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise altered(where, "it is not the record of a round") from None
        if entry is None:
            if closed or number < len(lines):
                raise altered(where, "the ledger has no such round, or another line tells of it")
            continue
        for field, value in entry.items():
            if field != "kind" and record.get(field) != value:
                raise altered(f"{where} ({title(entry)})", f"its {field} is not what the ledger says")
    if logged and (closed or list(logged.values()) != [rounds[-1]]):
        missing = title(next(iter(logged.values())))
        raise altered("rounds.jsonl", f"{missing} is in the ledger and has no line")
