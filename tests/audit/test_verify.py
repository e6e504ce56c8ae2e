"""Tampering: whatever byte of a run is altered, verification finds it and names where."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tacit.audit.checkpoint import Checkpoint
from tacit.audit.ledger import Ledger
from tacit.audit.merkle import Tree, leaf_hash
from tacit.audit.signed_note import sign, verifier_of
from tacit.audit.verify import verify
from tacit.core.values import TacitError, VerificationError
from tests.audit.conftest import ROUNDS, round_entry, sha256, write_rounds

FILES = (
    "ledger/entries.jsonl",
    "ledger/checkpoints",
    "ledger/key.pub",
    "plan.toml",
    "rounds.jsonl",
    "report.json",
    "report.html",
    "model.safetensors",
)


def line_of(data: bytes, place: int) -> int:
    return data[:place].count(b"\n") + 1


def line_named(message: str) -> int:
    found = re.search(r" line (\d+)", message)
    assert found is not None, message
    return int(found[1])


def assert_every_flip_is_found(run: Path, file: str, places: range, flips: tuple[int, ...]) -> None:
    path = run / file
    data = path.read_bytes()
    for place in places:
        for flip in flips:
            changed = bytearray(data)
            changed[place] ^= flip
            path.write_bytes(changed)
            with pytest.raises(VerificationError) as caught:
                verify(run)
            message = str(caught.value)
            assert message.startswith(file), (place, flip, message)
            if file in ("ledger/entries.jsonl", "rounds.jsonl"):
                assert line_named(message) == line_of(data, place), (place, flip, message)
            elif file == "ledger/checkpoints":  # the line on which the altered note begins
                assert line_named(message) <= line_of(data, place) < line_named(message) + 6, (place, message)
    path.write_bytes(data)


def test_an_untouched_run_verifies_with_and_without_a_known_key(run: Path, key: Ed25519PrivateKey) -> None:
    public = key.public_key().public_bytes_raw()
    found = verify(run, public)
    assert (found.entries, found.checkpoints, found.finished, found.pinned) == (ROUNDS + 3, ROUNDS + 3, True, True)
    assert found.key == str(verifier_of(key, "tacit"))
    assert len(found.root) == 64
    assert not verify(run).pinned


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_byte_is_found_in_its_file_and_line(run: Path, file: str) -> None:
    size = (run / file).stat().st_size
    step = max(1, size // 160)
    assert_every_flip_is_found(run, file, range(0, size, step), (0x01,))
    assert_every_flip_is_found(run, file, range(step // 2, size, step), (0x20,))


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_every_flipped_byte_is_found_in_its_file_and_line(run: Path, file: str) -> None:
    assert_every_flip_is_found(run, file, range((run / file).stat().st_size), (0x01, 0x20, 0x80, 0xFF))


@pytest.mark.parametrize("file", FILES)
def test_a_byte_cut_or_added_at_either_end_is_found(run: Path, file: str) -> None:
    data = (run / file).read_bytes()
    for changed in (data[1:], data[:-1], b"\n" + data, data + b"\n", data + b"x", b""):
        (run / file).write_bytes(changed)
        with pytest.raises(VerificationError, match=re.escape(file)):
            verify(run)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(run: Path, file: str) -> None:
    (run / file).unlink()
    with pytest.raises(VerificationError, match="missing") as caught:
        verify(run)
    assert file in str(caught.value)


def test_lines_and_checkpoints_in_another_order_are_found(run: Path) -> None:
    path = run / "ledger" / "entries.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2], lines[3] = lines[3], lines[2]
    path.write_bytes(b"".join(lines))
    with pytest.raises(VerificationError, match=r"entries\.jsonl line 3"):
        verify(run)


def test_a_ledger_of_another_run_does_not_fit(make_run: Callable[..., Path]) -> None:
    one, other = make_run("one"), make_run("other", rounds=ROUNDS + 1)
    shutil.rmtree(one / "ledger")
    shutil.copytree(other / "ledger", one / "ledger")
    with pytest.raises(VerificationError, match=r"rounds\.jsonl line 5"):
        verify(one)


def test_a_ledger_signed_anew_by_a_stranger_passes_only_where_no_key_is_known(
    run: Path, key: Ed25519PrivateKey
) -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    shutil.rmtree(run / "ledger")
    ledger = Ledger(run / "ledger", stranger)
    ledger.append({"kind": "plan", "plan": sha256((run / "plan.toml").read_bytes())})
    (run / "rounds.jsonl").unlink()
    write_rounds(run, ROUNDS, ledger)
    ledger.seal(run)
    assert not verify(run).pinned
    with pytest.raises(VerificationError, match=r"ledger/key\.pub"):
        verify(run, key.public_key().public_bytes_raw())


def test_a_ledger_whose_end_was_cut_off_is_no_finished_run(run: Path) -> None:
    entries, checkpoints = run / "ledger" / "entries.jsonl", run / "ledger" / "checkpoints"
    entries.write_bytes(b"".join(entries.read_bytes().splitlines(keepends=True)[:-1]))
    checkpoints.write_bytes(b"".join(checkpoints.read_bytes().splitlines(keepends=True)[:-6]))
    with pytest.raises(VerificationError, match="no result"):
        verify(run)
    assert not verify(run, finished=False).finished


def test_an_unfinished_run_verifies_as_such_and_may_be_one_line_ahead(make_run: Callable[..., Path]) -> None:
    run = make_run(sealed=False)
    with pytest.raises(VerificationError, match="not finished"):
        verify(run)
    path = run / "rounds.jsonl"
    ahead = json.dumps({**round_entry(ROUNDS + 1), "seconds": 0.1}).encode() + b"\n"
    path.write_bytes(path.read_bytes() + ahead)
    assert verify(run, finished=False).entries == ROUNDS + 1
    path.write_bytes(path.read_bytes() + ahead)
    with pytest.raises(VerificationError, match=r"rounds\.jsonl line 5"):
        verify(run, finished=False)


@pytest.mark.parametrize("field", ["clients", "dropped", "epsilon", "update", "unit", "cohort"])
def test_a_charge_that_rounds_and_ledger_tell_differently_is_found_before_the_run_ends(
    make_run: Callable[..., Path], field: str
) -> None:
    run = make_run(sealed=False)
    path = run / "rounds.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    record = json.loads(lines[2])
    lines[2] = json.dumps(record | {field: 0})
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(VerificationError, match=rf"rounds\.jsonl line 3 \(round 3 of federated\).* {field}"):
        verify(run, finished=False)


def test_a_round_that_has_no_line_is_named(make_run: Callable[..., Path]) -> None:
    run = make_run(sealed=False)
    path = run / "rounds.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))  # what a crash leaves between the ledger's entry and the line
    verify(run, finished=False)
    for kept in (lines[:-2], [lines[0], *lines[2:]]):
        path.write_bytes(b"".join(kept))
        with pytest.raises(VerificationError, match=r"rounds\.jsonl was altered: round [23] of federated"):
            verify(run, finished=False)
    path.unlink()
    with pytest.raises(VerificationError, match="missing"):
        verify(run, finished=False)


def test_a_file_put_beside_a_closed_run_is_found(make_run: Callable[..., Path], key: Ed25519PrivateKey) -> None:
    run = make_run(sealed=False)
    (run / "report.json").write_bytes(b"{}")
    Ledger(run / "ledger", key).seal(run)
    verify(run)
    (run / "report.html").write_bytes(b"<p>")
    with pytest.raises(VerificationError, match=r"report\.html was added"):
        verify(run)


def test_entries_that_were_signed_but_may_not_stand_are_refused(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    folder = tmp_path / "ledger"
    Ledger(folder, key)
    line = b'{"email":"ada@example.org","kind":"plan"}'
    tree = Tree()
    tree.append(leaf_hash(line))
    (folder / "entries.jsonl").write_bytes(line + b"\n")
    (folder / "checkpoints").write_bytes(sign(Checkpoint("tacit", 1, tree.root()).text(), key, "tacit"))
    with pytest.raises(VerificationError, match="line 1 is signed but may not stand there") as caught:
        verify(tmp_path)
    assert "ada" not in str(caught.value)


def test_checkpoints_must_be_of_this_log_and_grow(run: Path, key: Ed25519PrivateKey) -> None:
    path = run / "ledger" / "checkpoints"
    data = path.read_bytes()
    notes = data.splitlines(keepends=True)
    path.write_bytes(data + b"".join(notes[-6:]))
    with pytest.raises(VerificationError, match=rf"checkpoint {ROUNDS + 4}\).* no more than the one before"):
        verify(run)
    path.write_bytes(data + sign(Checkpoint("other", 99, bytes(32)).text(), key, "tacit"))
    with pytest.raises(VerificationError, match="of the log 'other'"):
        verify(run)
    path.write_bytes(data + sign(Checkpoint("tacit", 99, bytes(32)).text(), key, "tacit"))
    with pytest.raises(VerificationError, match=r"entries\.jsonl line 8 .*missing"):
        verify(run)


def test_a_checkpoint_over_several_entries_names_the_range(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    ledger = Ledger(tmp_path / "ledger", key)
    ledger.append({"kind": "plan", "plan": sha256("p")})
    for number in (1, 2, 3):
        ledger.append({"kind": "round", **round_entry(number)})
    path = tmp_path / "ledger" / "checkpoints"
    notes = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(notes[:6] + notes[-6:]))
    entries = tmp_path / "ledger" / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"number":2', b'"number":9'))
    with pytest.raises(VerificationError, match="one of the lines 2 to 4"):
        verify(tmp_path)


def test_a_ledger_that_did_not_begin_is_refused(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    Ledger(tmp_path / "ledger", key)
    with pytest.raises(VerificationError, match="no entries"):
        verify(tmp_path, finished=False)
    with pytest.raises(VerificationError, match=r"ledger/key\.pub is missing"):
        verify(tmp_path / "elsewhere")


def test_a_line_that_is_no_record_is_named(make_run: Callable[..., Path]) -> None:
    run = make_run(sealed=False)
    path = run / "rounds.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for junk in (b"{\n", b"3\n", b'{"number":1}\n'):
        path.write_bytes(b"".join([lines[0], junk, *lines[2:]]))
        with pytest.raises(VerificationError, match=r"rounds\.jsonl line 2 .*not the record"):
            verify(run, finished=False)


def test_rounds_that_were_never_written_down_are_missed(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    (tmp_path / "plan.toml").write_bytes(b"p")
    (tmp_path / "report.json").write_bytes(b"{}")
    ledger = Ledger(tmp_path / "ledger", key)
    ledger.append({"kind": "plan", "plan": sha256("p")})
    ledger.append({"kind": "round", **round_entry(1)})
    assert verify(tmp_path, finished=False).entries == 2
    ledger.seal(tmp_path)
    with pytest.raises(VerificationError, match=r"rounds\.jsonl is missing.* round 1 of federated"):
        verify(tmp_path)


def test_a_folder_in_place_of_a_file_gives_a_clear_error(make_run: Callable[..., Path]) -> None:
    for number, file in enumerate(FILES):
        run = make_run(f"run-{number}")
        (run / file).unlink()
        (run / file).mkdir()
        with pytest.raises(TacitError, match=r"cannot be read|missing") as caught:
            verify(run)
        assert file.split("/")[-1] in str(caught.value)
