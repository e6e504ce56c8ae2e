"""What a log's owner signs: how many entries the log has, and the root of their Merkle tree.

C2SP: "Transparency log checkpoints", https://c2sp.org/tlog-checkpoint. The time of signing is an extension line, so
that entries themselves hold nothing that differs between an interrupted and an uninterrupted run.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from tacit.core.values import VerificationError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log at one size; everything in it is public."""

    origin: str  # which log
    size: int  # entries
    root: bytes  # (32,) Merkle root
    extensions: tuple[str, ...] = ()  # further lines, none empty

    def text(self) -> str:
        """The lines that are signed."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))

    @staticmethod
    def parse(text: str) -> Checkpoint:
        """The inverse of `text`.

        Raises:
            VerificationError: not a checkpoint in its one canonical form.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "" or "" in lines:
            raise VerificationError("a checkpoint needs at least three lines: origin, size, root")
        origin, size, root, *extensions = lines
        if not re.fullmatch(r"0|[1-9][0-9]{0,18}", size):
            raise VerificationError("the second line of a checkpoint must be the number of entries")
        try:
            raw = base64.b64decode(root, validate=True)
        except (ValueError, binascii.Error):
            raise VerificationError("the third line of a checkpoint must be a root in base64") from None
        found = Checkpoint(origin, int(size), raw, tuple(extensions))
        if len(raw) != 32 or found.text() != text:
            raise VerificationError("the third line of a checkpoint must be a root of 32 bytes in base64")
        return found
