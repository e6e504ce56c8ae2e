"""Reading a ledger's three files, and proving them: keys, signatures, roots, consistency, entries."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tacit.audit.checkpoint import Checkpoint
from tacit.audit.entry import from_line, identity, title
from tacit.audit.merkle import Tree, leaf_hash, verify_consistency
from tacit.audit.signed_note import Verifier
from tacit.core.values import VerificationError

ENTRIES, CHECKPOINTS, KEY = "entries.jsonl", "checkpoints", "key.pub"


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """A ledger whose signed part holds true, and what stands behind it unsigned."""

    verifier: Verifier
    entries: tuple[dict[str, Any], ...]  # signed
    lines: tuple[bytes, ...]  # the same in canonical bytes, without newlines
    checkpoints: tuple[Checkpoint, ...]
    tree: Tree  # over the signed entries
    unsigned: tuple[bytes, ...]  # whole lines after the last checkpoint
    torn_line: bytes  # what follows the last newline of the entries
    torn_note: bytes  # what follows the last whole checkpoint
    sizes: tuple[int, int]  # bytes of the signed part of the entries file and of the checkpoints file


def read(folder: Path, public_key: bytes | None = None) -> History:
    """Read and prove a ledger folder.

    Args:
        folder: holds entries.jsonl, checkpoints and key.pub.
        public_key: (32,) the key that must have signed; None trusts the folder's own key.pub.

    Raises:
        VerificationError: anything was altered; names file and line.
    """
    verifier = _verifier(_bytes(folder / KEY), public_key)
    signatures = _bytes(folder / CHECKPOINTS, missing=b"")
    notes, torn_note = _notes(signatures)
    checkpoints = tuple(_checkpoints(notes, verifier))
    *lines, torn_line = _bytes(folder / ENTRIES, missing=b"").split(b"\n")
    tree = _prove(lines, checkpoints, torn_line)
    signed = len(tree)
    return History(
        verifier=verifier,
        entries=tuple(_entries(lines[:signed])),
        lines=tuple(lines[:signed]),
        checkpoints=checkpoints,
        tree=tree,
        unsigned=tuple(lines[signed:]),
        torn_line=torn_line,
        torn_note=torn_note,
        sizes=(sum(len(line) + 1 for line in lines[:signed]), len(signatures) - len(torn_note)),
    )


def altered(file: str, why: str) -> VerificationError:
    """The error of a file, by its path inside the run folder."""
    return VerificationError(f"{file} was altered: {why}")


def _bytes(path: Path, missing: bytes | None = None) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if missing is not None:
            return missing
        raise VerificationError(f"ledger/{path.name} is missing, so nothing can be verified") from None
    except OSError as error:
        raise VerificationError(f"ledger/{path.name} cannot be read: {error.strerror}") from None


def _verifier(data: bytes, public_key: bytes | None) -> Verifier:
    try:
        text = data.decode("ascii")
        verifier = Verifier.parse(text.removesuffix("\n"))
    except (UnicodeDecodeError, VerificationError):
        raise altered(f"ledger/{KEY}", "it is not a key line whose id fits its name and key") from None
    if text != f"{verifier}\n":
        raise altered(f"ledger/{KEY}", "it should hold one line that ends in a newline")
    if public_key is not None and not hmac.compare_digest(verifier.public, public_key):
        raise altered(f"ledger/{KEY}", "it holds another key than the one to verify with")
    return verifier


def _notes(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """(line number, note) of each whole note, and what is left over."""
    notes, low, line = [], 0, 1
    while low < len(data):
        blank = data.find(b"\n\n", low)
        end = data.find(b"\n", blank + 2) if blank >= 0 else -1
        if end < 0:
            break
        note = data[low : end + 1]
        notes.append((line, note))
        low, line = end + 1, line + note.count(b"\n")
    return notes, data[low:]


def _checkpoints(notes: Sequence[tuple[int, bytes]], verifier: Verifier) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    for number, (line, note) in enumerate(notes, start=1):
        where = f"ledger/{CHECKPOINTS} line {line} (checkpoint {number})"
        try:
            checkpoint = Checkpoint.parse(verifier.open(note))
        except VerificationError as error:
            raise altered(where, str(error)) from None
        if checkpoint.origin != verifier.name:
            raise altered(where, f"it is of the log {checkpoint.origin!r}, not of {verifier.name!r}")
        if checkpoint.size <= (found[-1].size if found else 0):
            raise altered(where, f"it speaks of {checkpoint.size} entries, no more than the one before")
        found.append(checkpoint)
    return found


def _prove(lines: Sequence[bytes], checkpoints: Sequence[Checkpoint], torn_line: bytes) -> Tree:
    """The tree of all signed lines; every checkpoint's root is recomputed, and each must continue the one before."""
    tree = Tree()
    before = Checkpoint("", 0, tree.root())
    for checkpoint in checkpoints:
        first = len(tree)
        for line in lines[first : checkpoint.size]:
            tree.append(leaf_hash(line))
        if len(tree) < checkpoint.size:
            state = "is incomplete" if torn_line else "is missing"
            raise altered(
                f"ledger/{ENTRIES} line {len(lines) + 1}",
                f"it {state}, while a signed checkpoint speaks of {checkpoint.size} entries",
            )
        if tree.root() != checkpoint.root:
            where = _where(lines, first, checkpoint.size)
            raise altered(where, f"the entries do not have the root that was signed for {checkpoint.size} of them")
        proof = tree.consistency(before.size)
        verify_consistency(before.size, checkpoint.size, proof, before.root, checkpoint.root)
        before = checkpoint
    return tree


def _where(lines: Sequence[bytes], first: int, size: int) -> str:
    if size - first > 1:
        return f"ledger/{ENTRIES}, one of the lines {first + 1} to {size},"
    try:
        about = f" ({title(from_line(lines[first]))})"
    except VerificationError:
        about = ""
    return f"ledger/{ENTRIES} line {first + 1}{about}"


def _entries(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    order = Order()
    for number, line in enumerate(lines, start=1):
        try:
            entry = from_line(line)
            order.check(entry)
        except VerificationError as error:
            raise VerificationError(
                f"ledger/{ENTRIES} line {number} is signed but may not stand there: {error}"
            ) from None
        order.add(entry)
        out.append(entry)
    return out


@dataclass(slots=True)
class Order:
    """What a ledger says so far: the plan first, one entry for each subject, rounds from 1 upwards, the result last."""

    seen: dict[tuple[str, str], int] = field(default_factory=dict)  # (kind, identity) -> index
    rounds: dict[str, tuple[int, str]] = field(default_factory=dict)  # training -> its last round and its plan
    charged: dict[str, set[int]] = field(default_factory=dict)  # training -> rounds that were drawn from a budget

    def check(self, entry: Mapping[str, Any]) -> None:
        """Refuse an entry that may not stand next.

        Raises:
            VerificationError: it is there already, or out of order.
        """
        if (entry["kind"], identity(entry)) in self.seen:
            raise VerificationError(f"the ledger holds {title(entry)} already")
        if ("result", "result") in self.seen:
            raise VerificationError("the ledger is closed: nothing follows a result")
        if (entry["kind"] == "plan") != (not self.seen):
            raise VerificationError("the plan is the first entry of a ledger, and there is one")
        if entry["kind"] == "round":
            last, plan = self.rounds.get(entry["training"], (0, entry["plan"]))
            if entry["number"] != last + 1:
                raise VerificationError(f"{title(entry)} cannot follow round {last}: one is missing or out of order")
            if entry["plan"] != plan:
                raise VerificationError(f"{title(entry)} was done under another plan than the rounds before it")
            if entry["number"] not in self.charged.get(entry["training"], {entry["number"]}):
                raise VerificationError(f"{title(entry)} was not drawn from the budget that other rounds drew from")

    def add(self, entry: Mapping[str, Any]) -> None:
        """Count an entry that was checked."""
        self.seen[entry["kind"], identity(entry)] = len(self.seen)
        if entry["kind"] == "round":
            self.rounds[entry["training"]] = (entry["number"], entry["plan"])
        if entry["kind"] == "charge":
            self.charged.setdefault(entry["training"], set()).add(entry["number"])
