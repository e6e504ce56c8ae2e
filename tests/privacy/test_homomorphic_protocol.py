"""The protocol around the scheme: against servers and parties that lie, replay, tamper or fall silent."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import PlanError, ProtocolError, Reply, Request, VerificationError
from tacit.privacy.homomorphic import threshold, wire
from tacit.privacy.homomorphic.chosen import chosen
from tacit.privacy.homomorphic.fingerprint import fingerprint
from tacit.privacy.homomorphic.ring import Ring
from tacit.privacy.homomorphic.sum import ThresholdRLWE
from tacit.privacy.randomness import simulated
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.opened import SecureSumAborted

NAMES = ["a", "b", "c"]
SIZE = 300
VECTORS = {name: np.arange(SIZE, dtype=np.uint32) * (i + 1) for i, name in enumerate(NAMES)}
TOTAL = np.sum(list(VECTORS.values()), axis=0, dtype=np.uint32)


def parties(rules: ThresholdRLWE | None = None, names: list[str] | None = None) -> Any:
    return (rules or ThresholdRLWE()).parties(names or NAMES, b"run", simulated("protocol"))


def drive(group: Any, until: str, round: int = 1, change: Any = None) -> dict[str, Request]:
    """Run a round up to a stage, whose requests are returned; `change(stage, name, reply)` tampers with replies."""
    group.server.start(round, list(group.clients), SIZE)
    for stage in wire.STAGES:
        requests = group.server.requests()
        if stage == until:
            return dict(requests)
        for name, request in requests.items():
            reply = group.clients[name].answer(request, VECTORS[name] if stage == "masked" else None)
            group.server.receive(name, change(stage, name, reply) if change else reply)
        group.server.close()
    return {}


def finish(group: Any, requests: dict[str, Request]) -> np.ndarray:
    """Go on from a stage whose requests are at hand."""
    while True:
        masked = group.server.stage == "masked"
        for name, request in requests.items():
            group.server.receive(name, group.clients[name].answer(request, VECTORS[name] if masked else None))
        group.server.close()
        if group.server.stage == "finish":
            return np.asarray(group.server.finish()[0].total)
        requests = group.server.requests()


def with_arrays(request: Request, **arrays: Any) -> Request:
    return replace(request, arrays={**request.arrays, **arrays})


@pytest.mark.parametrize("audit", [False, True])
def test_rounds_open_the_exact_sum_and_everybody_has_signed_for_it(audit: bool) -> None:
    group = parties(ThresholdRLWE(audit=audit))
    for round in (1, 2, 7):
        opened = group.sum(round, VECTORS)
        assert np.array_equal(opened.total, TOTAL) and opened.survivors == ("a", "b", "c")
        opened.verify(group.trusted)
        with pytest.raises(VerificationError):
            replace(opened, statement=bytes(32)).verify(group.trusted)


def test_a_key_opens_one_sum_and_is_forgotten() -> None:
    group = parties()
    requests = drive(group, "open")
    client = group.clients["a"]
    client.answer(requests["a"])
    assert client._round is None
    with pytest.raises(ProtocolError, match="no round 1 is open"):
        client.answer(requests["a"])
    with pytest.raises(ProtocolError, match="begun"):
        client.answer(Request(wire.KIND + "commit", 1, {"ring": np.array([4096, 4])}))
    keys = []
    for round in (2, 3):
        request = drive(group, "masked", round)["a"]
        keys.append(request.arrays["keys"].copy())
    assert np.mean(keys[0] == keys[1]) < 0.01


def test_only_the_sum_of_all_committed_ciphertexts_is_opened() -> None:
    """A lying server asks for one party's ciphertext, or for a sum in which it counts twice: honest parties refuse."""
    kept: dict[str, Reply] = {}

    def keep(stage: str, name: str, reply: Reply) -> Reply:
        if stage == "upload":
            kept[name] = reply
        return reply

    group = parties()
    checks = drive(group, "check", change=keep)
    ring = Ring(4096, 4)
    lone = kept["a"].arrays["mask"]
    twice = group.server._total.mask.copy()
    threshold.add_masks(twice, lone, ring, SIZE)
    for round, wrong in ((2, "lone"), (3, "twice")):
        checks = drive(group, "check", round, change=keep)
        lone = kept["a"].arrays["mask"]
        mask = lone.copy()
        if wrong == "twice":
            mask = group.server._total.mask.copy()
            threshold.add_masks(mask, lone, ring, SIZE)
        group.server._total = threshold.Ciphertext(ring, group.server._total.body, mask)
        checks = group.server.requests()
        for name, request in checks.items():
            group.server.receive(name, group.clients[name].answer(request))
        group.server.close()
        for name, request in group.server.requests().items():
            with pytest.raises(ProtocolError, match="not the sum"):
                group.clients[name].answer(request)
    requests = drive(group, "open", 4)
    with pytest.raises(ProtocolError, match="not the one that was announced"):
        group.clients["b"].answer(with_arrays(requests["b"], mask=lone))
    assert np.array_equal(finish(group, requests), TOTAL)  # a refusal leaves the round as it was


def test_with_audit_a_lying_server_and_a_lying_party_together_open_no_other_sum() -> None:
    """The party signs for a fingerprint that makes a single ciphertext look like the sum; its mask gives it away."""
    group = parties(ThresholdRLWE(audit=True))
    kept: dict[str, Reply] = {}

    def keep(stage: str, name: str, reply: Reply) -> Reply:
        kept[stage + name] = reply
        return reply

    drive(group, "check", change=keep)
    ring, server = Ring(4096, 4), group.server
    lone = kept["uploada"].arrays["mask"]
    server._total = threshold.Ciphertext(ring, server._total.body, lone)
    honest = {n: group.clients[n].answer(request) for n, request in server.requests().items()}
    state = group.clients["c"]._round
    moduli = np.array(ring.moduli, np.int64)
    wanted = fingerprint(ring, lone, SIZE, state.statement).astype(np.int64)
    forged = (wanted - sum(honest[n].arrays["print"].astype(np.int64) for n in "ab")) % moduli
    forged = forged.astype(np.uint32)
    signature = group.clients["c"]._identity.sign(state.session.printed("c", state.statement, forged))
    lie = {**honest["c"].arrays, "print": forged, "signature": np.frombuffer(signature, np.uint8)}
    for name, reply in {**honest, "c": Reply(lie)}.items():
        server.receive(name, reply)
    server.close()
    request = server.requests()["a"]
    with pytest.raises(ProtocolError, match="not the sum of what the parties encrypted"):
        group.clients["a"].answer(request)
    swapped = request.arrays["masks"].copy()
    swapped[2] = 0
    with pytest.raises(ProtocolError, match="mask of 'c'"):
        group.clients["b"].answer(with_arrays(server.requests()["b"], masks=swapped))


def test_a_share_of_the_key_that_was_not_committed_to_is_refused() -> None:
    """The last to show its share takes the others' off its own, so that it alone would hold the joint key."""
    group = parties()
    drive(group, "keys")
    shares = {}
    for name, request in group.server.requests().items():
        shares[name] = group.clients[name].answer(request).arrays["key"]
    moduli = np.array([[p] for p in Ring(4096, 4).moduli], np.int64)
    rogue = ((shares["c"].astype(np.int64) - shares["a"] - shares["b"]) % moduli).astype(np.uint32)
    for name in "ab":
        group.server.receive(name, Reply({"key": shares[name]}))
    with pytest.raises(ProtocolError, match="not the one that it committed to"):
        group.server.receive("c", Reply({"key": rogue}))
    group.server.receive("c", Reply({"key": shares["c"]}))
    group.server.close()
    requests = group.server.requests()
    bent = requests["a"].arrays["keys"].copy()
    bent[2] = rogue
    with pytest.raises(ProtocolError, match="'c' is not the one that it committed to"):
        group.clients["a"].answer(with_arrays(requests["a"], keys=bent), VECTORS["a"])
    assert np.array_equal(finish(group, requests), TOTAL)


def test_a_server_that_invents_parties_or_leaves_others_out_is_refused() -> None:
    group = parties()
    requests = drive(group, "keys")
    stranger = Identity.generate(simulated("stranger"))
    session = wire.Session(b"run", 1, Ring(4096, 4))
    fake = session.commitment("b", np.zeros((4, 4096), np.uint32))
    signatures = requests["a"].arrays["signatures"].copy()
    signatures[1] = np.frombuffer(stranger.sign(session.committed("b", fake)), np.uint8)
    commitments = requests["a"].arrays["commitments"].copy()
    commitments[1] = np.frombuffer(fake, np.uint8)
    client = group.clients["a"]
    with pytest.raises(ProtocolError, match="'b' is not signed by it"):
        client.answer(with_arrays(requests["a"], commitments=commitments, signatures=signatures))
    for names, why in ((b"a\nb", "minimum"), (b"b\nc\nd", "does not list"), (b"b\na\nc", "sorted"), (b"\xff", "UTF-8")):
        with pytest.raises(ProtocolError, match=why):
            client.answer(with_arrays(requests["a"], names=np.frombuffer(names, np.uint8)))
    with pytest.raises(ProtocolError, match="'d' is not among"):
        rows = {
            k: np.vstack([requests["a"].arrays[k], v])
            for k, v in (("commitments", commitments[:1]), ("signatures", signatures[:1]))
        }
        client.answer(with_arrays(requests["a"], names=np.frombuffer(b"a\nb\nc\nd", np.uint8), **rows))
    assert np.array_equal(finish(group, requests), TOTAL)


def test_what_was_tampered_with_or_has_a_wrong_length_or_modulus_is_refused_by_name() -> None:
    group = parties()
    upload = drive(group, "upload")
    digests = upload["a"].arrays["digests"].copy()
    digests[0, 0] ^= 1
    with pytest.raises(ProtocolError, match="not signed"):
        group.clients["a"].answer(with_arrays(upload["a"], digests=digests))
    good = group.clients["b"].answer(upload["b"]).arrays
    body, mask = good["body"].copy(), good["mask"].copy()
    body[0] ^= np.uint64(1)
    mask[-1] = 2**32 - 1
    for bad, why in (
        ({**good, "body": body}, "not the one that it committed to"),
        ({**good, "mask": mask}, "not the one that it committed to"),
        ({**good, "body": good["body"][:-1]}, "must hold 'body'"),
        ({**good, "mask": good["mask"][:-1]}, "must hold 'mask'"),
        ({**good, "mask": good["mask"].astype(np.uint64)}, "must hold 'mask'"),
        ({}, "must hold 'body'"),
    ):
        with pytest.raises(ProtocolError, match=why):
            group.server.receive("b", Reply(bad))
    group.server.receive("b", Reply(good))
    with pytest.raises(ProtocolError, match="already answered"):
        group.server.receive("b", Reply(good))
    with pytest.raises(ProtocolError, match="not asked"):
        group.server.receive("nobody", Reply(good))

    def wrong_modulus(stage: str, name: str, reply: Reply) -> Reply:
        """A party that commits to, signs and sends a mask of residues beyond their primes."""
        if name != "c" or stage != "masked":
            return reply
        state = group.clients["c"]._round
        state.sent = threshold.Ciphertext(state.sent.ring, state.sent.body, np.full_like(state.sent.mask, 2**32 - 1))
        digest = state.session.digest("c", state.roster, wire.hashed(state.sent.body), state.sent.mask)
        signature = group.clients["c"]._identity.sign(state.session.promised("c", state.roster, digest))
        state.digest = digest
        return Reply({"digest": np.frombuffer(digest, np.uint8), "signature": np.frombuffer(signature, np.uint8)})

    with pytest.raises(ProtocolError, match="another modulus"):
        drive(group, "check", 2, wrong_modulus)
    opening = drive(group, "open", 3)
    part = group.clients["a"].answer(opening["a"]).arrays["part"]
    with pytest.raises(ProtocolError, match="must hold 'part'"):
        group.server.receive("a", Reply({"part": part[:-1]}))
    group.server.receive("a", Reply({"part": part ^ np.uint64(2**63 - 1)}))
    for name in "bc":
        group.server.receive(name, group.clients[name].answer(opening[name]))
    group.server.close()
    with pytest.raises(SecureSumAborted, match="do not open"):
        group.server.finish()


def test_a_ring_too_small_for_the_parties_or_outside_the_security_table_is_refused() -> None:
    group = parties()
    client = group.clients["a"]
    for shape in ([4096, 5], [2048, 2], [-1, 4]):
        with pytest.raises(ProtocolError, match="refused"):
            client.answer(Request(wire.KIND + "commit", 1, {"ring": np.array(shape)}))
    group.server.start(2, NAMES, SIZE)
    group.server._session = wire.Session(b"run", 2, Ring(4096, 3))
    for _ in ("commit", "keys"):
        for name, request in group.server.requests().items():
            group.server.receive(name, group.clients[name].answer(request))
        group.server.close()
    for name, request in group.server.requests().items():
        with pytest.raises(ProtocolError, match=r"at least 40 are needed"):
            group.clients[name].answer(request, VECTORS[name])


@pytest.mark.parametrize("stage", wire.STAGES)
def test_a_party_that_falls_silent_is_left_out_before_keys_are_shown_and_ends_the_round_afterwards(stage: str) -> None:
    names = [*NAMES, "d"]
    group = parties(names=names)
    vectors = {name: VECTORS["a"] for name in names}
    if stage in ("commit", "keys"):
        opened = group.sum(1, vectors, {"d": stage})
        assert opened.dropped == ("d",) and np.array_equal(opened.total, 3 * VECTORS["a"])
    else:
        with pytest.raises(SecureSumAborted, match=r"'d' .*nothing was opened"):
            group.sum(1, vectors, {"d": stage})
        assert np.array_equal(group.sum(2, vectors).total, 4 * VECTORS["a"])


def test_fewer_parties_than_the_minimum_are_refused_and_rules_out_of_range_too() -> None:
    group = parties(names=["a", "b"])
    with pytest.raises(SecureSumAborted, match="minimum is 3"):
        group.sum(1, {"a": VECTORS["a"], "b": VECTORS["b"]})
    with pytest.raises(SecureSumAborted, match="at least 3"):
        parties().sum(1, VECTORS, {"b": "commit"})
    for wrong in ({"minimum": 1}, {"minimum": -1}, {"minimum": 5000}, {"statistical": 3.0}, {"statistical": 200.0}):
        with pytest.raises(PlanError):
            ThresholdRLWE(**wrong)
    with pytest.raises(ProtocolError, match="twice"):
        parties().server.start(1, ["a", "b", "b"], 5)
    with pytest.raises(ProtocolError, match="does not list"):
        ThresholdRLWE().client("a", Identity.generate(simulated(1)), b"run", {})


def test_parts_are_told_apart_by_name_and_refused_where_they_cannot_be() -> None:
    like = {"w": np.zeros((2, 3)), "b": np.zeros(2), "head": np.zeros(1)}
    assert chosen(like, ("head", "b"), 9).tolist() == [True] * 3 + [False] * 6
    for parts, size in ((("nothing",), 9), (("w",), 5)):
        with pytest.raises(PlanError):
            chosen(like, parts, size)
    group = parties()
    rules = ThresholdRLWE(parts=("head",))
    client = rules.client("a", group.clients["a"]._identity, b"run", group.trusted)
    with pytest.raises(ProtocolError, match="chosen from"):
        client.answer(Request(wire.KIND + "masked", 1, {}), np.zeros(9, np.uint32))
    with pytest.raises(ProtocolError, match="chosen among"):
        rules.server(b"run", group.trusted).start(1, NAMES, 9)


def test_a_party_shows_no_secret() -> None:
    group = parties()
    drive(group, "open")
    for client in group.clients.values():
        assert repr(client) == f"Client({client._name!r})"
        assert "array" not in repr(client._round) and "Progress" in repr(client._round)


def test_stated_traffic_is_what_a_round_moves() -> None:
    group, up, down = parties(), 0, 0
    group.server.start(1, NAMES, SIZE)
    for stage in wire.STAGES:
        for name, request in group.server.requests().items():
            reply = group.clients[name].answer(request, VECTORS[name] if stage == "masked" else None)
            group.server.receive(name, reply)
            if name == "a":
                up += sum(array.nbytes for array in reply.arrays.values())
                down += sum(array.nbytes for array in request.arrays.values())
        group.server.close()
    assert ThresholdRLWE().traffic(3, SIZE, 6) == (up, down)


FUZZED = parties()
ARRAYS = ["ring", "names", "commitments", "signatures", "keys", "digests", "total", "mask", "prints", "part", "body"]
ARRAYS += ["key", "signature", "commitment", "digest", "print", "statement"]
FUZZ = st.fixed_dictionaries(
    {
        "stage": st.sampled_from([*wire.STAGES, "", "unmask", "finish"]),
        "round": st.sampled_from([-1, 0, 1, 2, 2**63, 2**70]),
        "names": st.lists(st.sampled_from(ARRAYS), max_size=4),
        "shape": st.sampled_from([(), (0,), (2,), (32,), (64,), (3, 32), (3, 64), (3, 4, 4096), (SIZE,), (5, 4)]),
        "dtype": st.sampled_from(["u1", "u4", "u8", "i8", "f8", "?"]),
        "seed": st.integers(0, 2**32 - 1),
    }
)


@given(FUZZ)
@settings(max_examples=150, deadline=None)
def test_any_message_is_answered_or_refused_by_name(fuzz: dict[str, Any]) -> None:
    raw = np.random.default_rng(fuzz["seed"]).bytes(8 * int(np.prod(fuzz["shape"])) + 8)
    count = int(np.prod(fuzz["shape"]))
    array = np.frombuffer(raw, np.uint8)[: count * np.dtype(fuzz["dtype"]).itemsize].copy()
    array = (array & 1).view(np.uint8) if fuzz["dtype"] == "?" else array
    arrays = dict.fromkeys(fuzz["names"], array.view(fuzz["dtype"]).reshape(fuzz["shape"]))
    for client in FUZZED.clients.values():
        with contextlib.suppress(ProtocolError):
            client.answer(Request(wire.KIND + fuzz["stage"], fuzz["round"], arrays), None)
    with contextlib.suppress(ProtocolError):
        FUZZED.server.start(1, NAMES, SIZE)
        FUZZED.server.receive("a", Reply(arrays))
