"""Signed notes, checkpoints and the user's key."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tacit.audit.checkpoint import Checkpoint
from tacit.audit.signed_note import Verifier, sign, verifier_of
from tacit.audit.signing_key import key_path, signing_key
from tacit.core.values import TacitError, VerificationError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOTE = sign(Checkpoint("tacit", 3, bytes(range(32)), ("time 2026-01-01T00:00:00+00:00",)).text(), KEY, "tacit")


def test_the_published_example_note_opens_with_its_published_key() -> None:
    # Golden: the example of https://c2sp.org/signed-note.
    verifier = Verifier.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    note = (
        "This is an example message.\n\n\u2014 example.com/foo "
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    assert verifier.open(note.encode()) == "This is an example message.\n"


def test_the_published_example_checkpoint_is_read_and_written_the_same() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    checkpoint = Checkpoint.parse(text)
    assert (checkpoint.origin, checkpoint.size, len(checkpoint.root)) == ("example.com/behind-the-sofa", 20852163, 32)
    assert checkpoint.text() == text


@given(st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_a_signed_checkpoint_comes_back_as_it_was(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("tacit", size, root, ("time 2026-01-01T00:00:00+00:00",))
    note = sign(checkpoint.text(), KEY, "tacit")
    assert Checkpoint.parse(verifier_of(KEY, "tacit").open(note)) == checkpoint


def test_no_bit_of_a_note_can_be_flipped() -> None:
    verifier = verifier_of(KEY, "tacit")
    for place in range(len(NOTE)):
        for bit in range(8):
            changed = bytearray(NOTE)
            changed[place] ^= 1 << bit
            with pytest.raises(VerificationError):
                verifier.open(bytes(changed))


def test_no_bit_of_a_key_line_can_be_flipped() -> None:
    line = str(verifier_of(KEY, "tacit")).encode()
    assert Verifier.parse(line.decode()) == verifier_of(KEY, "tacit")
    for place in range(len(line)):
        for bit in range(7):
            changed = bytearray(line)
            changed[place] ^= 1 << bit
            with pytest.raises(VerificationError):
                Verifier.parse(changed.decode())


def test_another_key_or_name_opens_nothing() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    for verifier in (verifier_of(other, "tacit"), verifier_of(KEY, "other")):
        with pytest.raises(VerificationError):
            verifier.open(NOTE)


@pytest.mark.parametrize("text", ["", "no newline", "\nblank first\n", "a\n\nb\n", "tab\there\n"])
def test_text_that_could_be_read_in_two_ways_is_not_signed(text: str) -> None:
    with pytest.raises(ValueError, match="whole lines"):
        sign(text, KEY, "tacit")


def test_bad_names_and_keys_make_no_verifier() -> None:
    with pytest.raises(ValueError, match="name"):
        Verifier("with space", bytes(32))
    with pytest.raises(ValueError, match="32 bytes"):
        Verifier("tacit", bytes(31))


@pytest.mark.parametrize(
    "text",
    [
        "tacit\n3\n",
        "tacit\n03\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "tacit\n-1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "tacit\n3\nAAAA\n",
        "tacit\n3\n!!!!\n",
        "tacit\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n",
        "tacit\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ],
)
def test_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        Checkpoint.parse(text)


def test_the_first_use_makes_a_key_that_only_its_owner_reads_and_later_uses_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    first = signing_key()
    assert key_path() == tmp_path / "config" / "tacit" / "ledger.key"
    assert stat.S_IMODE(key_path().stat().st_mode) == 0o600
    assert signing_key().private_bytes_raw() == first.private_bytes_raw()
    assert [path.name for path in key_path().parent.iterdir()] == ["ledger.key"]


def test_a_relative_configuration_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "here")
    assert key_path() == Path.home() / ".config" / "tacit" / "ledger.key"


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    signing_key(tmp_path / "ledger.key")
    (tmp_path / "ledger.key").chmod(0o640)
    with pytest.raises(TacitError, match="chmod 600"):
        signing_key(tmp_path / "ledger.key")


def test_a_file_that_is_no_ed25519_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    pem = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for data in (b"SECRET", pem):
        path = tmp_path / "ledger.key"
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(TacitError, match="Ed25519") as caught:
            signing_key(path)
        assert "SECRET" not in str(caught.value)


def test_a_folder_that_cannot_be_written_gives_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TacitError, match="XDG_CONFIG_HOME"):
        signing_key(tmp_path / "file" / "ledger.key")


def test_of_two_processes_that_make_a_key_at_once_one_wins_for_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, link = tmp_path / "ledger.key", os.link
    winner = signing_key(tmp_path / "other.key").private_bytes_raw()

    def late(source: Path, target: Path) -> None:
        link(tmp_path / "other.key", target)  # the other process was faster by a hair
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert signing_key(path).private_bytes_raw() == winner


def test_a_file_system_without_links_gets_its_key_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    key = signing_key(tmp_path / "ledger.key")
    assert signing_key(tmp_path / "ledger.key").private_bytes_raw() == key.private_bytes_raw()
    assert stat.S_IMODE((tmp_path / "ledger.key").stat().st_mode) == 0o600
