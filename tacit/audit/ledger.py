"""An append-only log of a run: what was done in each round, provable afterwards entry by entry.

`ledger/entries.jsonl` holds one canonical JSON line for each entry, `ledger/checkpoints` a signed Merkle root after
each, `ledger/key.pub` the public key. It proves that nothing was altered after it was written, not that it was true
when it was written; and as the log of one owner it does not show whether that owner keeps a second one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tacit.audit.checkpoint import Checkpoint
from tacit.audit.entry import checked, identity, title, to_line
from tacit.audit.file_digest import digest, line_digests
from tacit.audit.history import CHECKPOINTS, ENTRIES, KEY, History, Order, read
from tacit.audit.merkle import Tree, leaf_hash
from tacit.audit.signed_note import sign, verifier_of
from tacit.audit.signing_key import signing_key
from tacit.core.values import TacitError, VerificationError

RESULT_FILES = {"report": "report.json", "page": "report.html", "model": "model.safetensors"}


class Ledger:
    """The ledger in a folder, opened to be continued; begun where there is none.

    An entry counts when its checkpoint is signed and on disk: `append` returns after that. Whatever a crash left behind
    it (at most one entry, whole or torn) was never signed and is cut when the ledger is opened again.
    """

    def __init__(self, folder: Path, key: Ed25519PrivateKey | None = None, origin: str = "tacit") -> None:
        """Open the ledger, prove all of it, and cut what a crash left unsigned.

        Args:
            folder: the ledger's own folder, `RUN/ledger`.
            key: signs; by default the user's own key, which is made on first use and never enters the folder.
            origin: name of the log in its checkpoints.

        Raises:
            VerificationError: the ledger was altered, or begun with another key or origin.
            TacitError: the folder or the user's key cannot be read or written.
        """
        self._folder, self._origin = folder, origin
        self._key = signing_key() if key is None else key
        mine = f"{verifier_of(self._key, origin)}\n".encode()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / KEY).exists() and not (folder / ENTRIES).exists():
                _place(folder / KEY, mine)
            history = read(folder)
            if f"{history.verifier}\n".encode() != mine:
                raise VerificationError(
                    "ledger/key.pub holds another key or log name than yours: only its owner can continue a ledger. "
                    "Begin a new run, or continue as the user who began this one."
                )
            _refuse_tampering(history, origin)
            for name, size in zip((ENTRIES, CHECKPOINTS), history.sizes, strict=True):
                _cut(folder / name, size)
        except OSError as error:
            raise TacitError(f"the ledger cannot be written: {error.strerror}") from None
        self._entry_bytes, self._note_bytes = history.sizes
        self._tree, self._lines, self._order = history.tree, list(history.lines), Order()
        for entry in history.entries:
            self._order.add(entry)

    def __repr__(self) -> str:
        return f"Ledger({len(self)} entries)"

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self)

    @property
    def sealed(self) -> bool:
        """Whether the result stands in it, so that nothing can follow."""
        return ("result", "result") in self._order.seen

    @property
    def tree(self) -> Tree:
        """The Merkle tree over the entries, which gives proofs of inclusion and consistency."""
        return self._tree

    def append(self, entry: Mapping[str, Any]) -> int:
        """Add an entry and sign the log with it; both are on disk when this returns. Gives the entry's index from 0.

        Raises:
            VerificationError: the entry is not a declared one, is there already, or is out of order.
            TacitError: the disk would not take it; the ledger is as it was.
        """
        found = checked(entry)
        self._order.check(found)
        line, index = to_line(found), len(self)
        leaf = leaf_hash(line)
        time = f"time {datetime.now(UTC).isoformat(timespec='seconds')}"
        checkpoint = Checkpoint(self._origin, index + 1, self._tree.root_with(leaf), (time,))
        note = sign(checkpoint.text(), self._key, self._origin)
        _extend(self._folder / ENTRIES, line + b"\n", self._entry_bytes)
        try:
            _extend(self._folder / CHECKPOINTS, note, self._note_bytes)
        except TacitError:
            with suppress(OSError):  # if even this fails, opening the ledger again cuts it
                _cut(self._folder / ENTRIES, self._entry_bytes)
            raise
        self._entry_bytes += len(line) + 1
        self._note_bytes += len(note)
        self._tree.append(leaf)
        self._lines.append(line)
        self._order.add(found)
        return index

    def append_once(self, kind: str, sequence: int | str, entry: Mapping[str, Any]) -> int:
        """Add an entry unless it is there already, so that a resumed run can say again what it did. Gives its index.

        Args:
            kind: "plan", "round", "file" or "result".
            sequence: which one of its kind, to check the entry against: a round's number or "training/number", a file's
                path, else the kind's own name.
            entry: its other fields.

        Raises:
            VerificationError: another content was logged for the same; or as `append`.
        """
        found = checked({"kind": kind, **entry})
        name = identity(found)
        if str(sequence) != name and sequence != found.get("number"):
            raise VerificationError(f"an entry for {kind} {sequence} was announced, but this one is {title(found)}")
        index = self._order.seen.get((kind, name))
        if index is None:
            return self.append(found)
        if self._lines[index] != to_line(found):
            raise VerificationError(
                f"ledger entry {index + 1} says something else of {title(found)} than was now to be logged: the run "
                "was not continued from where it stopped, or with other software"
            )
        return index

    def seal(self, run: Path) -> int:
        """Log the digests of a finished run's files (rounds.jsonl, report, page, model), and close the ledger.

        Adds two entries, or one where there is no rounds.jsonl. Gives the result's index.

        Raises:
            VerificationError: report.json is missing, or the ledger was closed over other files.
        """
        if (run / "rounds.jsonl").exists():
            rows = {"path": "rounds.jsonl", "sha256": digest(run / "rounds.jsonl", durable=True)}
            self.append_once("file", "rounds.jsonl", {**rows, "lines": line_digests(run / "rounds.jsonl")})
        there = {field: run / name for field, name in RESULT_FILES.items() if (run / name).exists()}
        return self.append_once("result", "result", {field: digest(path, True) for field, path in there.items()})


def _refuse_tampering(history: History, origin: str) -> None:
    """A crash leaves one unsigned entry at most, and the beginning of that entry's checkpoint; nothing else."""
    expected = f"{origin}\n{len(history.lines) + 1}\n".encode()
    length = min(len(expected), len(history.torn_note))
    whole, torn = len(history.unsigned), bool(history.torn_line)
    if whole + torn > 1 or (history.torn_note and (whole != 1 or history.torn_note[:length] != expected[:length])):
        raise VerificationError(
            f"ledger/{ENTRIES} or ledger/{CHECKPOINTS} was altered: behind the last signed entry, number "
            f"{len(history.lines)}, stands more than a crash leaves"
        )


def _extend(path: Path, data: bytes, size: int) -> None:
    """Append to a file of this size and wait until the disk has it; after an error the file is as it was."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            if os.fstat(descriptor).st_size != size:
                raise VerificationError(f"ledger/{path.name} was changed by somebody else while this run had it open")
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if size == 0:
            _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            _cut(path, size)
        raise TacitError(f"ledger/{path.name} cannot be written: {error.strerror}") from None


def _cut(path: Path, size: int) -> None:
    if path.exists() and path.stat().st_size > size:
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())


def _place(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with temporary.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
