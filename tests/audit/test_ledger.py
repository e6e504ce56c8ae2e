"""Appending to a ledger: durable, once, in order, and continued after a crash."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tacit.audit.history import read
from tacit.audit.ledger import Ledger
from tacit.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from tacit.audit.signing_key import key_path
from tacit.audit.verify import verify
from tacit.core.values import TacitError, VerificationError
from tests.audit.conftest import PLAN, ROUNDS, round_entry, sha256, write_files, write_rounds

PLAN_ENTRY = {"plan": sha256(PLAN), "name": "federated", "versions": {"python": "3.11.2"}}


def begin(folder: Path, key: Ed25519PrivateKey, rounds: int = 2) -> Ledger:
    ledger = Ledger(folder, key)
    ledger.append_once("plan", "plan", PLAN_ENTRY)
    for number in range(1, rounds + 1):
        ledger.append_once("round", number, round_entry(number))
    return ledger


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_each_append_gives_its_index_and_is_signed_on_disk_when_it_returns(
    tmp_path: Path, key: Ed25519PrivateKey
) -> None:
    ledger = begin(tmp_path, key)
    assert ledger.append({"kind": "round", **round_entry(3)}) == 3
    history = read(tmp_path)
    assert [checkpoint.size for checkpoint in history.checkpoints] == [1, 2, 3, 4]
    assert history.checkpoints[-1].root == ledger.tree.root()
    assert not history.unsigned and not history.torn_line and not history.torn_note


def test_appending_the_same_round_twice_changes_nothing(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    ledger = begin(tmp_path, key)
    before = files(tmp_path)
    assert ledger.append_once("round", "federated/2", round_entry(2)) == 2
    assert ledger.append_once("round", 2, round_entry(2)) == 2
    assert files(tmp_path) == before


def test_appending_another_content_for_the_same_round_is_refused(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    ledger = begin(tmp_path, key)
    before = files(tmp_path)
    with pytest.raises(VerificationError, match=r"entry 3 .* round 2 of federated"):
        ledger.append_once("round", 2, round_entry(2, clients=96))
    with pytest.raises(VerificationError, match="already"):
        ledger.append({"kind": "round", **round_entry(2)})
    assert files(tmp_path) == before


def test_entries_come_in_order(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    ledger = Ledger(tmp_path, key)
    with pytest.raises(VerificationError, match="plan is the first"):
        ledger.append({"kind": "round", **round_entry(1)})
    ledger.append({"kind": "plan", **PLAN_ENTRY})
    with pytest.raises(VerificationError, match="cannot follow round 0"):
        ledger.append({"kind": "round", **round_entry(2)})
    ledger.append({"kind": "round", **round_entry(1)})
    ledger.append({"kind": "round", **round_entry(1, training="private")})
    with pytest.raises(VerificationError, match="another plan"):
        ledger.append({"kind": "round", **round_entry(2, plan=sha256("other"))})
    with pytest.raises(VerificationError, match="announced"):
        ledger.append_once("round", "private/3", round_entry(2))
    ledger.append({"kind": "result", "report": sha256("r")})
    assert ledger.sealed
    with pytest.raises(VerificationError, match="closed"):
        ledger.append({"kind": "round", **round_entry(2)})


def test_where_a_training_draws_from_a_budget_every_round_of_it_does_so_first(
    tmp_path: Path, key: Ed25519PrivateKey
) -> None:
    ledger = begin(tmp_path, key, rounds=0)
    paid = {"training": "federated", "attempt": 1, "holder": "bank-a", "purpose": "recommendations"}
    paid |= {"events": [{"mechanism": "gaussian", "noise_multiplier": 1.0, "sampling": "all", "sampling_rate": 1.0}]}
    ledger.append_once("charge", "federated/1/1", {**paid, "number": 1})
    ledger.append_once("round", 1, round_entry(1))
    with pytest.raises(VerificationError, match="round 2 of federated was not drawn from the budget"):
        ledger.append_once("round", 2, round_entry(2))
    for attempt in (1, 2):
        ledger.append_once("charge", f"federated/2/{attempt}", {**paid, "number": 2, "attempt": attempt})
    ledger.append_once("round", 2, round_entry(2))
    ledger.append_once("round", "private/1", round_entry(1, training="private"))
    assert len(read(tmp_path).entries) == 7


def test_an_interrupted_and_an_uninterrupted_run_have_equal_entries(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    begin(tmp_path / "whole", key, rounds=6)
    begin(tmp_path / "cut", key, rounds=3)
    begin(tmp_path / "cut", key, rounds=6)
    assert (tmp_path / "whole" / "entries.jsonl").read_bytes() == (tmp_path / "cut" / "entries.jsonl").read_bytes()


def test_wherever_a_crash_cuts_an_append_the_ledger_reopens_and_goes_on(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    begin(tmp_path, key, rounds=2)
    before = files(tmp_path)
    begin(tmp_path, key, rounds=3)
    after = files(tmp_path)
    line = after["entries.jsonl"][len(before["entries.jsonl"]) :]
    note = after["checkpoints"][len(before["checkpoints"]) :]
    states = [(line[:cut], b"") for cut in range(len(line) + 1)] + [(line, note[:cut]) for cut in range(len(note))]
    for torn_line, torn_note in states:
        (tmp_path / "entries.jsonl").write_bytes(before["entries.jsonl"] + torn_line)
        (tmp_path / "checkpoints").write_bytes(before["checkpoints"] + torn_note)
        ledger = Ledger(tmp_path, key)
        assert ledger.size == 3 and files(tmp_path) == before
    assert begin(tmp_path, key, rounds=3).size == 4
    assert (tmp_path / "entries.jsonl").read_bytes() == after["entries.jsonl"]


def test_a_crash_before_the_first_entry_leaves_a_ledger_that_begins(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    Ledger(tmp_path, key)
    (tmp_path / "entries.jsonl").write_bytes(b'{"kind":"pl')
    assert begin(tmp_path, key).size == 3


@pytest.mark.parametrize(
    ("lines", "note"),
    [(b"{}\n{}\n", b""), (b"{}\n{", b""), (b"", b"tacit\n4\n"), (b"{}\n", b"other\n"), (b"{}\n", b"tacit\n9\n")],
)
def test_what_no_crash_leaves_behind_is_refused_and_kept_as_evidence(
    tmp_path: Path, key: Ed25519PrivateKey, lines: bytes, note: bytes
) -> None:
    begin(tmp_path, key)
    for name, data in (("entries.jsonl", lines), ("checkpoints", note)):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + data)
    before = files(tmp_path)
    with pytest.raises(VerificationError, match=r"ledger/entries\.jsonl or ledger/checkpoints"):
        Ledger(tmp_path, key)
    assert files(tmp_path) == before


def test_an_altered_ledger_is_not_continued(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    begin(tmp_path, key)
    path = tmp_path / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"dropped":3', b'"dropped":4', 1))
    with pytest.raises(VerificationError, match=r"entries\.jsonl line 2 \(round 1 of federated\)"):
        Ledger(tmp_path, key)


def test_only_its_owner_continues_a_ledger(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    begin(tmp_path, key)
    with pytest.raises(VerificationError, match="only its owner"):
        Ledger(tmp_path, Ed25519PrivateKey.from_private_bytes(bytes(32)))
    with pytest.raises(VerificationError, match="only its owner"):
        Ledger(tmp_path, key, origin="other")


def test_two_writers_at_once_are_noticed(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    first, second = begin(tmp_path, key), begin(tmp_path, key)
    first.append({"kind": "round", **round_entry(3)})
    with pytest.raises(VerificationError, match="somebody else"):
        second.append({"kind": "round", **round_entry(3)})


def test_a_full_disk_leaves_the_ledger_as_it_was(
    tmp_path: Path, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = begin(tmp_path, key)
    before, write = files(tmp_path), os.write
    for allowed in (0, 10, 400, 500):
        left = [allowed]

        def full(descriptor: int, data: bytes, left: list[int] = left) -> int:
            if left[0] == 0:
                raise OSError(28, "No space left on device")
            count = write(descriptor, data[: left[0]])
            left[0] -= count
            return count

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(TacitError, match="No space left"):
                ledger.append({"kind": "round", **round_entry(3)})
        assert files(tmp_path) == before
    assert ledger.append({"kind": "round", **round_entry(3)}) == 3


def test_the_private_key_stays_out_of_the_run_folder_and_out_of_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    ledger = Ledger(tmp_path / "run" / "ledger")
    ledger.append({"kind": "plan", **PLAN_ENTRY})
    secret = key_path().read_bytes().split(b"\n")[1]
    assert all(secret not in data for data in files(tmp_path / "run" / "ledger").values())
    assert repr(ledger) == "Ledger(1 entries)" and capsys.readouterr() == ("", "")


def test_an_auditor_with_one_entry_and_a_root_can_check_it_alone(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    ledger = begin(tmp_path, key, rounds=12)
    history = read(tmp_path)
    early, late = history.checkpoints[4], history.checkpoints[-1]
    line = (tmp_path / "entries.jsonl").read_bytes().split(b"\n")[6]
    verify_inclusion(leaf_hash(line), 6, late.size, ledger.tree.inclusion(6), late.root)
    verify_consistency(early.size, late.size, ledger.tree.consistency(early.size), early.root, late.root)


def test_sealing_twice_is_once_and_over_other_files_is_refused(make_run: Callable[..., Path]) -> None:
    run = make_run()
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    ledger = Ledger(run / "ledger", key)
    assert ledger.sealed and ledger.seal(run) == ledger.size - 1 == ROUNDS + 2
    (run / "report.json").write_bytes(b"{}")
    with pytest.raises(VerificationError, match="of result"):
        ledger.seal(run)


def test_a_run_without_a_report_cannot_be_sealed(make_run: Callable[..., Path], key: Ed25519PrivateKey) -> None:
    run = make_run(sealed=False)
    with pytest.raises(VerificationError, match="'report'"):
        Ledger(run / "ledger", key).seal(run)


def test_a_run_resumed_round_by_round_verifies(make_run: Callable[..., Path], key: Ed25519PrivateKey) -> None:
    run = make_run(rounds=1, sealed=False)
    for rounds in (2, 3, ROUNDS):
        write_rounds(run, rounds, Ledger(run / "ledger", key))
    write_files(run)
    Ledger(run / "ledger", key).seal(run)
    assert verify(run).entries == ROUNDS + 3


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TacitError, match="ledger cannot be written"):
        Ledger(tmp_path / "file" / "ledger", key)
