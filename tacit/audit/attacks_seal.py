"""The signature under a run's attacks.json and attacks.html, which come after the ledger was closed."""

from __future__ import annotations

from pathlib import Path

from tacit.audit.file_digest import digest
from tacit.audit.history import read
from tacit.audit.signed_note import Verifier, sign, verifier_of
from tacit.audit.signing_key import signing_key
from tacit.core.values import VerificationError

FILES = ("attacks.json", "attacks.html")
NOTE = "attacks.note"


def seal(run: Path) -> None:
    """Sign both files, bound to the ledger's root, with the key that signed the ledger.

    Raises:
        VerificationError: the ledger was signed with another key than this user's.
    """
    history = read(run / "ledger")
    key = signing_key()
    if verifier_of(key, history.verifier.name) != history.verifier:
        raise VerificationError("only who signed a run's ledger can add attacks to it: name another folder by --out")
    (run / NOTE).write_bytes(sign(_text(run, history.tree.root().hex()), key, history.verifier.name))


def check(run: Path, root: str, verifier: Verifier) -> None:
    """Prove what stands beside a run; a run that was not attacked has nothing to prove.

    Raises:
        VerificationError: a file is altered, missing or unsigned; names it.
    """
    there = [name for name in (*FILES, NOTE) if (run / name).exists()]
    if not there:
        return
    for name in (*FILES, NOTE):
        if name not in there:
            raise VerificationError(f"{name} is missing, and {there[0]} is there")
    try:
        signed = verifier.open((run / NOTE).read_bytes())
    except VerificationError as error:
        raise VerificationError(f"{NOTE} does not hold: {error}") from None
    found = _text(run, root)
    for one, other in zip(signed.splitlines(), found.splitlines(), strict=False):
        if one != other:
            raise VerificationError(
                f"{other.split()[0]} was altered after it was signed in {NOTE}, or belongs elsewhere"
            )
    if signed != found:
        raise VerificationError(f"{NOTE} does not speak of {' and '.join(FILES)} of this run")


def _text(run: Path, root: str) -> str:
    return "".join([f"ledger {root}\n", *(f"{name} {digest(run / name)}\n" for name in FILES)])
