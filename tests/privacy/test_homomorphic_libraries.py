"""Threshold BFV by OpenFHE against our scheme, and CKKS by TenSEAL; skipped by name where the library is absent."""

from __future__ import annotations

import io
import os
import sys

import numpy as np
import pytest

from tacit.core.values import PlanError, ProtocolError, Reply, Request
from tacit.privacy.homomorphic import bfv, bfv_worker, ckks
from tacit.privacy.homomorphic.bfv_sum import ThresholdBFV
from tacit.privacy.homomorphic.bfv_wire import STAGES, packed, pieces
from tacit.privacy.homomorphic.sum import ThresholdRLWE
from tacit.privacy.homomorphic.wire import KIND
from tacit.privacy.quantise import Quantiser
from tacit.privacy.randomness import simulated
from tacit.privacy.secure_sum.opened import SecureSumAborted


@pytest.fixture(scope="module")
def openfhe():
    try:
        bfv.find()
    except PlanError as why:
        pytest.skip(f"OpenFHE is absent: {why}")
    with bfv.roles(3, flooding=False) as found:
        yield found


def test_threshold_bfv_and_our_scheme_open_the_same_exact_sums(openfhe) -> None:
    members, server, slots = openfhe
    for size in (1, slots - 1, slots + 1):
        source = simulated("differential", size)
        x = np.random.default_rng(size).uniform(-1.0, 1.0, (3, size))
        codec = Quantiser(1.0, 3)
        vectors = [codec.encode(row, source) for row in x]
        ours = ThresholdRLWE().parties(["a", "b", "c"]).sum(1, dict(zip("abc", vectors, strict=True))).total
        theirs = bfv.added(members, server, vectors)
        assert np.array_equal(ours, theirs) and np.array_equal(ours, np.sum(vectors, axis=0, dtype=np.uint32))
        assert np.abs(codec.decode(theirs, 3) - x.sum(axis=0)).max() <= 3 * codec.steps[0]


def test_threshold_bfv_holds_the_largest_sums_of_either_sign(openfhe) -> None:
    members, server, _ = openfhe
    third = (2**31 - 1) // 3
    vectors = [np.array([third, -third, 0, -1, 1], np.int32).view(np.uint32)] * 3
    expected = (3 * np.array([third, -third, 0, -1, 1])).astype(np.int32)
    assert np.array_equal(bfv.added(members, server, vectors).view(np.int32), expected)


def test_fewer_than_all_parties_of_threshold_bfv_open_nothing(openfhe) -> None:
    """Without one share 8,000 values of the sum agree in none but, by chance, 2^-18 (false alarm below 1e-5)."""
    members, server, _ = openfhe
    size = 8000
    vectors = [np.full(size, number + 1, np.uint32) for number in range(3)]
    for member, vector in zip(members, vectors, strict=True):
        server.call("add", *member.call("encrypt", vector.tobytes()))
    total = server.call("sum")
    parts = [part for i, m in enumerate(members[:2]) for part in m.call("partial", b"1" if i == 0 else b"0", *total)]
    raw = server.call("fuse", str(size).encode(), b"2", *parts)[0]
    assert np.sum(np.frombuffer(raw, "<i8") == 6) <= 2
    with pytest.raises(ProtocolError, match="OpenFHE refused"):
        server.call("partial", b"1", *total)  # the server has no share of the key


def test_a_worker_refuses_nonsense_by_name_and_goes_on(openfhe) -> None:
    members, server, _ = openfhe
    for operation, frames in (("nothing", ()), ("add", (b"no ciphertext",)), ("load", (b"",)), ("__init__", ())):
        with pytest.raises(ProtocolError, match="OpenFHE refused"):
            server.call(operation, *frames)
    vectors = [np.ones(3, np.uint32)] * 3
    with pytest.raises(ProtocolError, match="uint32"):
        bfv.added(members, server, [vectors[0], np.ones(4, np.uint32), vectors[0]])
    server.call("sum")
    assert bfv.added(members, server, vectors).tolist() == [3, 3, 3]


@pytest.fixture(scope="module")
def group(openfhe):
    return ThresholdBFV(flooding=False).parties(["a", "b", "c", "d"])


def test_a_round_of_threshold_bfv_opens_the_exact_sum_and_is_signed_for(group) -> None:
    vectors = {name: np.arange(-5000, 5000).astype(np.int32).view(np.uint32) for name in "abcd"}
    for round in (1, 2):
        opened = group.sum(round, vectors)
        assert np.array_equal(opened.total, 4 * vectors["a"]) and opened.survivors == tuple("abcd")
        opened.verify(group.trusted)
    up, down = ThresholdBFV(flooding=False).traffic(4, 10_000, 8)
    assert up > 0.9 * 2 * 2**18 and down > up


@pytest.mark.parametrize("stage", STAGES)
def test_who_falls_silent_in_threshold_bfv_is_left_out_or_ends_the_round_and_the_next_is_exact(group, stage) -> None:
    start = 10 * (STAGES.index(stage) + 1)
    vectors = {name: np.full(10, 5, np.uint32) for name in "abcd"}
    if stage in ("lead", "join"):
        assert group.sum(start, vectors, {"d": stage}).total.tolist() == [15] * 10
    else:
        with pytest.raises(SecureSumAborted, match="nothing was opened"):
            group.sum(start, vectors, {"d": stage})
    with pytest.raises(SecureSumAborted):
        group.sum(start + 1, vectors, {"a": "lead"})
    assert group.sum(start + 2, vectors).total.tolist() == [20] * 10


def test_parties_of_threshold_bfv_refuse_what_is_out_of_order_malformed_or_too_few(group) -> None:
    client, server = group.clients["b"], group.server
    for stage in ("masked", "open", "nothing", "join"):
        with pytest.raises(ProtocolError):
            client.answer(Request(KIND + stage, 100, {}), np.zeros(3, np.uint32))
    server.start(101, list("abcd"), 3)
    for _ in ("lead", "join"):
        for name, request in server.requests().items():
            server.receive(name, group.clients[name].answer(request))
        server.close()
    request = server.requests()["b"]
    keys = pieces(request.arrays["keys"].tobytes())
    for wrong, why in (([keys[0], keys[1]], "minimum"), ([keys[0], keys[2], keys[3]], "without this party")):
        with pytest.raises(ProtocolError, match=why):
            client.answer(Request(request.kind, 101, {"keys": packed(wrong)}), np.zeros(3, np.uint32))
    for bad in (b"", b"\x01", b"\x01\0\0\0\xff", request.arrays["keys"].tobytes() + b"x"):
        with pytest.raises(ProtocolError):
            client.answer(Request(request.kind, 101, {"keys": np.frombuffer(bad, np.uint8)}), np.zeros(3, np.uint32))
    with pytest.raises(ProtocolError, match="not asked"):
        server.receive("nobody", Reply({}))
    with pytest.raises(ProtocolError, match="OpenFHE refused"):
        server.receive("b", Reply({"sent": packed([b"sent", b"no ciphertext"])}))
    with pytest.raises(SecureSumAborted, match="minimum is 3"):
        server.start(102, ["a", "b"], 3)


def test_without_openfhe_one_error_says_how_to_come_by_it(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv(bfv.SETTING, os.fspath(tmp_path / "python"))
    with pytest.raises(PlanError, match=r"pip install openfhe==1\.6\.1\.0\.22\.4"):
        bfv.find()
    monkeypatch.delenv(bfv.SETTING)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYENV_ROOT", os.fspath(tmp_path))
    with pytest.raises(PlanError, match=r"no Python 3\.10 was found"):
        bfv.find()


def test_a_python_of_pyenv_is_found_where_it_is_not_active(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.delenv(bfv.SETTING, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYENV_ROOT", os.fspath(tmp_path))
    for version in ("3.10.4", "3.10.13", "3.11.7"):
        python = tmp_path / "versions" / version / "bin" / f"python{version[:4]}"
        python.parent.mkdir(parents=True)
        python.touch()
    assert [path.split("/")[-3] for path in bfv.candidates()] == ["3.10.4", "3.10.13"]


def test_a_worker_that_cannot_import_openfhe_or_dies_says_so() -> None:
    try:
        import openfhe  # noqa: F401
    except ImportError:
        with pytest.raises(ProtocolError, match="refused"):
            bfv.Role(sys.executable)
    with pytest.raises(ProtocolError, match="ended"):
        bfv.Role("/bin/true")


@pytest.mark.parametrize("frames", [[], [b""], [b"add", b"\x00" * 1000, b""]])
def test_messages_to_workers_come_back_as_they_were_sent(frames: list[bytes]) -> None:
    stream = io.BytesIO()
    bfv_worker.write(stream, frames)
    raw = stream.getvalue()
    assert bfv_worker.read(io.BytesIO(raw)) == frames
    for cut in range(4, len(raw) - 1):
        with pytest.raises(Exception):  # noqa: B017 - struct.error or ValueError
            bfv_worker.read(io.BytesIO(raw[:cut]))
        if cut > 40:
            break


@pytest.fixture(scope="module")
def tenseal():
    return pytest.importorskip("tenseal", reason="TenSEAL is absent: install the extra `he`")


def test_ckks_sums_are_within_a_millionth(tenseal) -> None:
    first = ckks.Party()
    parties = [first, *(ckks.Party(first.secret()) for _ in range(3))]
    x = np.random.default_rng(0).normal(size=(4, 5000))
    found = ckks.added(parties, ckks.Server(first.public()), list(x))
    assert found.shape == (5000,) and np.abs(found - x.sum(axis=0)).max() < 1e-6


def test_the_server_of_ckks_never_holds_the_key_and_cannot_open(tenseal) -> None:
    first = ckks.Party()
    with pytest.raises(ProtocolError, match="refused"):
        ckks.Server(first.secret())
    with pytest.raises(ProtocolError, match="no secret key"):
        ckks.Party(first.public())
    server = ckks.Server(first.public())
    server.add(next(first.encrypt(np.ones(10), 1)))
    with pytest.raises(ValueError):
        server._total.decrypt()  # TenSEAL itself has nothing to decrypt with
    assert repr(first) == "Party(key hidden)" and repr(server) == "Server(no key)"
    assert np.abs(ckks.Party().open(server.total()) - 1.0).min() > 1e-3  # nor does another key


def test_ckks_refuses_what_it_cannot_hold_and_what_is_no_ciphertext(tenseal) -> None:
    party = ckks.Party()
    server = ckks.Server(party.public())
    for bad in (np.array([np.nan]), np.array([1e9]), np.array(["a"]), np.zeros((2, 2))):
        with pytest.raises(ProtocolError):
            next(party.encrypt(bad, 2))
    with pytest.raises(ProtocolError, match="no CKKS ciphertext"):
        server.add(b"nonsense")
    with pytest.raises(ProtocolError, match="no CKKS context"):
        ckks.Server(b"nonsense")
    with pytest.raises(ProtocolError, match="nothing was added"):
        server.total()
    server.add(next(party.encrypt(np.ones(10), 2)))
    with pytest.raises(ProtocolError, match="no CKKS ciphertext"):
        server.add(next(party.encrypt(np.ones(11), 2)))
    with pytest.raises(ProtocolError, match="one length"):
        ckks.added([party, party], server, [np.ones(3), np.ones(4)])
