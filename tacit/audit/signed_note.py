"""Text with an Ed25519 signature line under it, as transparency logs exchange it.

C2SP: "Note signatures", https://c2sp.org/signed-note. Differs from the specification: a note here bears exactly one
signature, because a line that nobody checks could be altered unseen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tacit.core.values import VerificationError

ED25519 = b"\x01"  # the algorithm's byte in key ids and key lines
NAME = re.compile(r"[!-*,-~]{1,128}")  # printable ASCII without space and plus


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under the name of who signs; its text form is one line: name+id+key."""

    name: str
    public: bytes  # (32,) Ed25519 public key

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"a signer's name is 1 to 128 printable ASCII characters, no space, no '+': {self.name!r}")
        if len(self.public) != 32:
            raise ValueError(f"an Ed25519 public key has 32 bytes, got {len(self.public)}")

    @property
    def id(self) -> bytes:
        """(4,) bytes that tell keys of one name apart."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @staticmethod
    def parse(line: str) -> Verifier:
        """The inverse of `str`.

        Raises:
            VerificationError: not such a line, or its id is not that of its name and key.
        """
        parts = line.split("+", 2)
        try:
            name, _, key = parts
            data = base64.b64decode(key, validate=True)
            verifier = Verifier(name, data[1:])
        except (ValueError, binascii.Error):
            raise VerificationError("a key line name+id+base64 was needed, and this is none") from None
        if data[:1] != ED25519 or str(verifier) != line:
            raise VerificationError("the key line contradicts itself: its id is not that of its name and key")
        return verifier

    def open(self, note: bytes) -> str:
        """The text of a note that this key signed.

        Raises:
            VerificationError: malformed, signed by another key, or altered.
        """
        try:
            text, blank, signature = note.decode("utf-8").rpartition("\n\n")
        except UnicodeDecodeError:
            raise VerificationError("the note is not UTF-8") from None
        text += "\n"
        prefix = f"\u2014 {self.name} "
        if not blank or not signature.endswith("\n") or signature.count("\n") != 1:
            raise VerificationError("a text, a blank line and one signature line were needed")
        if not signature.startswith(prefix):
            raise VerificationError(f"the signature line is not one of {self.name!r}")
        encoded = signature[len(prefix) : -1]
        try:
            data = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            raise VerificationError("the signature is not base64") from None
        if base64.b64encode(data).decode() != encoded or len(data) != 68 or data[:4] != self.id:
            raise VerificationError("the signature is not one of this key")
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(data[4:], text.encode())
        except InvalidSignature:
            raise VerificationError("the signature does not fit the text") from None
        return text


def verifier_of(key: Ed25519PrivateKey, name: str) -> Verifier:
    """The public half of a signing key under a name."""
    return Verifier(name, key.public_key().public_bytes_raw())


def sign(text: str, key: Ed25519PrivateKey, name: str) -> bytes:
    """The note: text, blank line, signature line.

    Raises:
        ValueError: the text is empty, lacks its last newline, or holds a blank line or a control character.
    """
    if not text.endswith("\n") or text.startswith("\n") or "\n\n" in text or re.search(r"[\x00-\x09\x0b-\x1f]", text):
        raise ValueError("a note's text is whole lines, none of them blank, without control characters")
    signature = base64.b64encode(verifier_of(key, name).id + key.sign(text.encode())).decode()
    return f"{text}\n\u2014 {name} {signature}\n".encode()
