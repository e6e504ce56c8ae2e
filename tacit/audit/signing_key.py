"""The user's own ledger key: made on first use, kept outside every run folder, never shown."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tacit.core.values import TacitError


def key_path() -> Path:
    """`ledger.key` in the user's configuration folder: $XDG_CONFIG_HOME/tacit, or ~/.config/tacit."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return root / "tacit" / "ledger.key"


def signing_key(path: Path | None = None) -> Ed25519PrivateKey:
    """The key at `path` (by default `key_path()`); a new one is made where there is none, readable by its owner only.

    Raises:
        TacitError: the file is no Ed25519 key, others may read it, or it cannot be made.
    """
    path = key_path() if path is None else path
    try:
        if not path.exists():
            _create(path)
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise TacitError(f"the ledger key {path} can be read by others: run chmod 600 on it, or remove it")
        data = path.read_bytes()
    except OSError as error:
        raise TacitError(
            f"the ledger key {path} cannot be read or made ({error.strerror}): set XDG_CONFIG_HOME to a folder of yours"
        ) from None
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise TacitError(f"{path} should hold an Ed25519 private key (PEM, PKCS 8) and does not: move it away")
    return key


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # fails where another process was first: its key counts
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
