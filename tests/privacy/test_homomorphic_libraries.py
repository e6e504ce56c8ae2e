"""Threshold BFV by OpenFHE, and against our scheme; skipped by name where the library is absent."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import PlanError, ProtocolError, Reply, Request
from tacit.privacy.homomorphic import bfv, bfv_worker, slots
from tacit.privacy.homomorphic.bfv_sum import ThresholdBFV
from tacit.privacy.homomorphic.bfv_wire import STAGES, Session
from tacit.privacy.homomorphic.pieces import hashed, packed, pieces
from tacit.privacy.homomorphic.sum import ThresholdRLWE
from tacit.privacy.homomorphic.wire import KIND
from tacit.privacy.quantise import Quantiser
from tacit.privacy.randomness import simulated
from tacit.privacy.secure_sum.opened import SecureSumAborted


def needs_openfhe() -> None:
    try:
        bfv.find()
    except PlanError as why:
        pytest.skip(f"OpenFHE is absent: {why}")


def test_every_line_of_the_guarantees_of_threshold_bfv_is_a_test() -> None:
    text = (ThresholdBFV.__doc__ or "").split("Guarantees:")[1].split("\n\n")[0]
    lines = [line.strip() for line in text.strip().splitlines()]
    assert len(lines) == 2 and all("test_" + re.sub(r"\W+", "_", line) in globals() for line in lines)


@pytest.fixture(scope="module")
def openfhe():
    needs_openfhe()
    with bfv.roles(3, flooding=False) as found:
        yield found


# --- slots ------------------------------------------------------------------------------------------------------------


@given(st.integers(2, 1000), st.integers(0, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_packed_values_sum_exactly_mod_2_to_the_32_whatever_they_are(parties: int, size: int, seed: int) -> None:
    """Beside uniform values the largest ones, of all parties but 20: their sums fill the guard."""
    rng = np.random.default_rng(seed)
    few = [rng.integers(0, 2**32, size, dtype=np.uint32) for _ in range(min(parties, 20))]
    rest = np.full(size, 2**32 - 1, np.uint32)
    total = sum((slots.pack(x, parties).astype(object) for x in few), slots.pack(rest, parties).astype(object) * 0)
    total = total + slots.pack(rest, parties).astype(object) * (parties - len(few))
    modulus = bfv_worker.MODULUS
    centred = np.array([(int(x) + modulus // 2) % modulus - modulus // 2 for x in total], np.int64)
    expected = np.sum([*few, rest * np.uint32(parties - len(few))], axis=0, dtype=np.uint32)
    assert np.array_equal(slots.unpack(centred, size, parties), expected)
    assert len(centred) == slots.count(size, parties)


def test_slots_that_no_sum_could_fill_are_refused() -> None:
    values = np.arange(1000, dtype=np.uint32)
    good = slots.pack(values, 3)
    noise = np.random.default_rng(0).integers(-bfv_worker.MODULUS // 2, bfv_worker.MODULUS // 2, len(good))
    for wrong in (noise, good[:-1], good.astype(np.int32), np.full(len(good), 2**60), np.full(len(good), -(2**60))):
        with pytest.raises(ProtocolError):
            slots.unpack(wrong, 1000, 3)


# --- the library ------------------------------------------------------------------------------------------------------


def test_threshold_bfv_and_our_scheme_open_the_same_exact_sums(openfhe) -> None:
    members, server, room = openfhe
    for size in (1, room - 1, 2 * room + 1):
        source = simulated("differential", size)
        x = np.random.default_rng(size).uniform(-1.0, 1.0, (3, size))
        codec = Quantiser(1.0, 3)
        vectors = [codec.encode(row, source) for row in x]
        ours = ThresholdRLWE().parties(["a", "b", "c"]).sum(1, dict(zip("abc", vectors, strict=True))).total
        theirs = bfv.added(members, server, room, vectors)
        assert np.array_equal(ours, theirs) and np.array_equal(ours, np.sum(vectors, axis=0, dtype=np.uint32))
        assert np.abs(codec.decode(theirs, 3) - x.sum(axis=0)).max() <= 3 * codec.steps[0]


def test_threshold_bfv_is_exact_at_the_edges_of_its_slots(openfhe) -> None:
    members, server, room = openfhe
    edges = np.array([2**32 - 1, 0, 2**31, 2**31 - 1, 1], np.uint32)
    vectors = [np.tile(edges, 4000)] * 3
    assert np.array_equal(bfv.added(members, server, room, vectors), 3 * vectors[0])


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_fewer_than_all_parties_of_threshold_bfv_open_nothing(openfhe, lacking: int) -> None:
    """Without one share, whose ever, 8,000 values of the sum agree in none but, by chance, 2^-18 (alarm below 1e-5)."""
    members, server, room = openfhe
    size = 8000
    vectors = [np.full(size, number + 1, np.uint32) for number in range(3)]
    server.call("clear")
    for member, vector in zip(members, vectors, strict=True):
        for place, sent in enumerate(member.encrypted(vector, room, 3)):
            server.call("add", b"%d" % place, sent)
    left, wanted = slots.count(size, 3), slots.pack(np.full(size, 6, np.uint32), 3)
    found = []
    for place in range(-(-left // room)):
        total = server.call("sum", b"%d" % place)
        with pytest.raises(ProtocolError, match="OpenFHE refused"):
            server.call("partial", b"1", *total)  # the server has no share of the key
        for number, member in enumerate(members):
            if number != lacking:
                part = member.call("partial", b"1" if number == 0 else b"0", *total)
                server.call("add", b"%d" % place, *part)
        found += server.call("fuse", b"%d" % place, b"%d" % min(room, left - place * room))
    raw = np.frombuffer(b"".join(found), "<i8").astype(np.int64)
    assert len(raw) == len(wanted) and np.sum(raw == wanted) <= 2
    with pytest.raises(ProtocolError, match="do not open"):
        slots.unpack(raw, size, 3)


def test_a_worker_refuses_nonsense_by_name_and_goes_on(openfhe) -> None:
    members, server, room = openfhe
    for operation, frames in (
        *(
            ("nothing", ()),
            ("add", (b"0", b"no ciphertext")),
            ("add", ()),
            ("load", (b"",)),
            ("open", ()),
            ("__init__", ()),
        ),
        *(("sum", (b"7",)), ("fuse", (b"7", b"1")), ("joint", ()), ("encrypt", (b"123",))),
    ):
        with pytest.raises(ProtocolError, match="OpenFHE refused"):
            server.call(operation, *frames)
    vectors = [np.ones(3, np.uint32)] * 3
    with pytest.raises(ProtocolError, match="uint32"):
        bfv.added(members, server, room, [vectors[0], np.ones(4, np.uint32), vectors[0]])
    assert bfv.added(members, server, room, vectors).tolist() == [3, 3, 3]


@pytest.fixture(scope="module")
def group(openfhe):
    return ThresholdBFV(flooding=False).parties(["a", "b", "c", "d"])


def test_a_round_of_threshold_bfv_opens_the_exact_sum_and_is_signed_for(group) -> None:
    vectors = {name: np.arange(-5000, 5000).astype(np.int32).view(np.uint32) for name in "abcd"}
    for round in (1, 2):
        opened = group.sum(round, vectors)
        assert np.array_equal(opened.total, 4 * vectors["a"]) and opened.survivors == tuple("abcd")
        opened.verify(group.trusted)


def drive(group, round: int, size: int, until: str, change=None) -> dict[str, Request]:
    """Up to a stage, whose requests are returned; `change(stage, name, reply)` tampers with replies."""
    group.server.start(round, list(group.clients), size)
    while (stage := group.server.stage) != until:
        for name, request in group.server.requests().items():
            vector = np.full(size, 5, np.uint32) if stage == "masked" else None
            reply = group.clients[name].answer(request, vector)
            group.server.receive(name, change(stage, name, reply) if change else reply)
        group.server.close()
    return dict(group.server.requests()) if until != "finish" else {}


def test_stated_traffic_of_threshold_bfv_is_near_to_what_a_round_moves(group) -> None:
    moved = {"up": 0, "down": 0}

    def count(stage: str, name: str, reply: Reply) -> Reply:
        moved["up"] += sum(array.nbytes for array in reply.arrays.values()) if name == "b" else 0
        return reply

    group.server.start(5, list(group.clients), 10_000)
    for stage in STAGES:
        requests = group.server.requests()
        moved["down"] += sum(array.nbytes for array in requests["b"].arrays.values())
        for name, request in requests.items():
            vector = np.ones(10_000, np.uint32) if stage == "masked" else None
            group.server.receive(name, count(stage, name, group.clients[name].answer(request, vector)))
        group.server.close()
    up, down = ThresholdBFV(flooding=False).traffic(4, 10_000, 8)
    assert abs(up / moved["up"] - 1) < 0.03 and abs(down / moved["down"] - 1) < 0.03


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


def changed(message: Request | Reply, name: str, value) -> Any:
    return replace(message, arrays={**message.arrays, name: value})


def test_parties_of_threshold_bfv_refuse_what_is_out_of_order_malformed_or_too_few(group) -> None:
    client = group.clients["b"]
    for stage in ("masked", "open", "nothing", "join"):
        with pytest.raises(ProtocolError):
            client.answer(Request(KIND + stage, 100, {}), np.zeros(3, np.uint32))
    requests = drive(group, 101, 3, "masked")
    request, vector = requests["b"], np.zeros(3, np.uint32)
    keys = [bytes(key) for key in pieces(request.arrays["keys"])]
    for arrays, why in (
        ({"names": np.frombuffer(b"a\nb", np.uint8)}, "minimum"),
        ({"names": np.frombuffer(b"a\nc\nd", np.uint8)}, "does not list"),
        ({"names": np.frombuffer(b"a\nb\nc\ne", np.uint8)}, "'e' is not among"),
        ({"keys": packed([keys[0], keys[2], keys[1], keys[3]])}, "without this party"),
        ({"keys": packed([keys[0], keys[1], keys[1], keys[3]])}, "different shares"),
        ({"keys": packed([keys[3][:-1] + b"x", *keys[1:]])}, "'a' is not signed"),
        ({"keys": np.zeros(0, np.uint8)}, "empty"),
        ({"keys": np.ones(3, np.uint8)}, "breaks off"),
        ({"keys": np.zeros((2, 2), np.uint8)}, "must hold 'keys'"),
        ({"signatures": np.zeros((4, 64), np.uint8)}, "not signed"),
    ):
        with pytest.raises(ProtocolError, match=why):
            client.answer(replace(request, arrays={**request.arrays, **arrays}), vector)
    with pytest.raises(ProtocolError, match="needed to be summed"):
        client.answer(request, np.zeros(3))
    with pytest.raises(ProtocolError, match="round 100"):
        client.answer(replace(request, round=100), vector)
    assert client.answer(request, vector).arrays["sent"].size > 0
    with pytest.raises(SecureSumAborted, match="minimum is 3"):
        group.server.start(102, ["a", "b"], 3)


def test_what_was_flipped_cut_repeated_or_of_another_round_is_refused_by_the_server_of_threshold_bfv(group) -> None:
    server, kept = group.server, {}

    def keep(stage: str, name: str, reply: Reply) -> Reply:
        kept[stage, name] = reply
        return reply

    drive(group, 110, 3, "finish", keep)
    for stage, name in (("join", "key"), ("masked", "sent"), ("open", "part")):
        requests = drive(group, 111 + STAGES.index(stage), 3, stage)
        vector = np.full(3, 5, np.uint32) if stage == "masked" else None
        good = group.clients["b"].answer(requests["b"], vector)
        flipped = good.arrays[name].copy()
        flipped[len(flipped) // 2] ^= 1
        for bad, why in (
            (changed(good, name, flipped), "not signed"),
            (changed(good, name, good.arrays[name][:-9]), "not signed"),
            (changed(good, name, np.zeros(0, np.uint8)), "not signed"),
            (changed(good, name, good.arrays[name].astype(np.float64)), "must hold"),
            (kept[stage, "b"], "not signed"),
            (Reply({}), "must hold"),
        ):
            with pytest.raises(ProtocolError, match=why):
                server.receive("b", bad)
        server.receive("b", good)
        with pytest.raises(ProtocolError, match="already answered"):
            server.receive("b", good)
        with pytest.raises(ProtocolError, match="not signed"):
            server.receive("c", good)  # one party's message in another's name
        with pytest.raises(ProtocolError, match="not asked"):
            server.receive("nobody", good)
    vectors = {name: np.full(10, 5, np.uint32) for name in "abcd"}
    assert group.sum(120, vectors).total.tolist() == [20] * 10


def test_a_party_that_signs_for_nonsense_ends_the_round_by_name_and_nothing_is_opened(group) -> None:
    """Bytes on which OpenFHE breaks off, or an opening that does not fit; the next round is exact."""
    size = 12_000
    cut = {"masked": "sent", "open": "part"}

    def lie(kind: str):
        def change(stage: str, name: str, reply: Reply) -> Reply:
            if name != "c" or stage != kind:
                return reply
            client = group.clients["c"]
            whole = packed(
                [bytes(piece)[: 200 if i else None] for i, piece in enumerate(pieces(reply.arrays[cut[kind]]))]
            )
            session = Session(client._run, client._round)
            if kind == "masked":
                said = session.sent("c", client._roster, hashed(whole))
            else:
                said = session.part("c", group.server._statement, hashed(whole))
            signature = np.frombuffer(client._identity.sign(said), np.uint8)
            return Reply({**reply.arrays, cut[kind]: whole, "signature": signature})

        return change

    assert slots.count(size, 4) > 8192  # so that there is a second piece to cut
    for round, kind in ((130, "masked"), (131, "open")):
        group.server.start(round, list(group.clients), size)
        with pytest.raises(SecureSumAborted, match="nothing was opened"):
            while (stage := group.server.stage) != "finish":
                for name, request in group.server.requests().items():
                    vector = np.full(size, 5, np.uint32) if stage == "masked" else None
                    reply = lie(kind)(stage, name, group.clients[name].answer(request, vector))
                    with contextlib.suppress(ProtocolError):
                        group.server.receive(name, reply)
                group.server.close()
    kept = {}

    def keep(stage: str, name: str, reply: Reply) -> Reply:
        kept[stage, name] = reply
        return reply

    drive(group, 132, 3, "finish", keep)
    last = kept["open", "d"].arrays["part"]
    for round, other in (
        (133, True),
        (134, False),
    ):  # the part of the round before; a part in opening another ciphertext
        opening = drive(group, round, 3, "open", keep)
        for name, request in opening.items():
            reply = group.clients[name].answer(request)
            if name == "d":
                lone = bytes(pieces(kept["masked", "a"].arrays["sent"])[0])
                part = last if other else packed(group.clients["d"]._role.call("partial", b"0", lone))
                said = Session(b"in process", round).part("d", group.server._statement, hashed(part))
                signature = np.frombuffer(group.clients["d"]._identity.sign(said), np.uint8)
                reply = Reply({**reply.arrays, "part": part, "signature": signature})
            with (
                contextlib.nullcontext() if name != "d" or not other else pytest.raises(ProtocolError, match="same key")
            ):
                group.server.receive(name, reply)
        with pytest.raises(SecureSumAborted, match=r"nothing was opened" if other else "do not open"):
            group.server.close()
            group.server.finish()
    vectors = {name: np.full(10, 5, np.uint32) for name in "abcd"}
    assert group.sum(140, vectors).total.tolist() == [20] * 10


def test_a_worker_that_dies_ends_its_round_and_is_replaced_in_the_next(group) -> None:
    vectors = {name: np.full(10, 5, np.uint32) for name in "abcd"}
    drive(group, 150, 10, "masked")
    group.server._role._process.kill()
    for name, request in group.server.requests().items():
        with pytest.raises(ProtocolError, match="ended"):
            group.server.receive(name, group.clients[name].answer(request, vectors[name]))
    with pytest.raises(SecureSumAborted, match="nothing was opened"):
        group.server.close()
    drive(group, 151, 10, "join")
    group.clients["b"]._role._process.kill()
    with pytest.raises(ProtocolError, match="ended"):
        group.clients["b"].answer(group.server.requests()["b"])
    assert group.sum(152, vectors).total.tolist() == [20] * 10


def test_the_worker_of_the_server_that_dies_after_the_last_upload_ends_its_round_only(group) -> None:
    vectors = {name: np.full(10, 5, np.uint32) for name in "abcd"}
    drive(group, 153, 10, "masked")
    for name, request in group.server.requests().items():
        group.server.receive(name, group.clients[name].answer(request, vectors[name]))
    group.server._role._process.kill()
    with pytest.raises(SecureSumAborted, match="nothing was opened"):
        group.server.close()
    assert group.sum(154, vectors).total.tolist() == [20] * 10


@given(
    st.sampled_from([*STAGES, "", "finish"]),
    st.sampled_from([-1, 0, 160, 2**63]),
    st.lists(st.sampled_from(["lead", "first", "names", "keys", "signatures", "total"]), max_size=4),
    st.binary(max_size=200),
)
@settings(max_examples=60, deadline=None)
def test_any_message_of_threshold_bfv_is_answered_or_refused_by_name(group, stage, round, names, raw) -> None:
    arrays = dict.fromkeys(names, np.frombuffer(raw, np.uint8))
    with contextlib.suppress(ProtocolError):
        group.clients["b"].answer(Request(KIND + stage, round if stage != "lead" else 0, arrays), None)
    with contextlib.suppress(ProtocolError):
        group.server.receive("b", Reply(arrays))


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """A machine without any Python 3.10: an empty path, no pyenv, nothing beside our environment."""
    monkeypatch.delenv(bfv.SETTING, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYENV_ROOT", os.fspath(tmp_path / "pyenv"))
    monkeypatch.setattr(sys, "prefix", os.fspath(tmp_path / ".venv"))
    return tmp_path


def test_without_openfhe_one_error_says_how_to_come_by_it(monkeypatch: pytest.MonkeyPatch, nowhere) -> None:
    with pytest.raises(PlanError, match=r"no Python 3\.10 was found"):
        bfv.find()
    monkeypatch.setenv(bfv.SETTING, os.fspath(nowhere / "python"))
    with pytest.raises(PlanError, match=r"pip install openfhe==1\.6\.1\.0\.22\.4"):
        bfv.find()


def test_a_python_of_pyenv_is_found_where_it_is_not_active_and_one_beside_ours_comes_first(nowhere) -> None:
    for version in ("3.10.4", "3.10.13", "3.11.7"):
        python = nowhere / "pyenv" / "versions" / version / "bin" / f"python{version[:4]}"
        python.parent.mkdir(parents=True)
        python.touch()
    assert [path.split("/")[-3] for path in bfv.candidates()] == ["3.10.4", "3.10.13"]
    beside = nowhere / ".venv-openfhe" / "bin" / "python"
    beside.parent.mkdir(parents=True)
    beside.touch()
    assert bfv.candidates()[0] == os.fspath(beside) and len(bfv.candidates()) == 3


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
