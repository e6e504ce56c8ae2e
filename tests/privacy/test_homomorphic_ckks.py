"""CKKS under a shared key: exact integers, a key that the server relays and cannot read, and servers that lie."""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import PlanError, ProtocolError, Reply, Request, VerificationError
from tacit.privacy.homomorphic import ckks, ckks_tags
from tacit.privacy.homomorphic.ckks_client import SharedKeyClient
from tacit.privacy.homomorphic.ckks_sum import SharedKeyCKKS
from tacit.privacy.homomorphic.ckks_wire import STAGES, Rules, Session
from tacit.privacy.homomorphic.pieces import hashed, packed, pieces
from tacit.privacy.homomorphic.wire import KIND
from tacit.privacy.quantise import Quantiser
from tacit.privacy.randomness import simulated
from tacit.privacy.secure_sum.keys import Identity, signed_key
from tacit.privacy.secure_sum.opened import SecureSumAborted
from tacit.privacy.secure_sum.sum import SecAgg

NAMES = ["a", "b", "c", "d", "e"]
SIZE = 2500
VECTORS = {name: (np.arange(SIZE) * (i + 1) - 7000).astype(np.int32).view(np.uint32) for i, name in enumerate(NAMES)}
TOTAL = np.sum(list(VECTORS.values()), axis=0, dtype=np.uint32)


@pytest.fixture(scope="module", autouse=True)
def tenseal():
    return pytest.importorskip("tenseal", reason="TenSEAL is absent: install the extra `he`")


def parties(rules: SharedKeyCKKS | None = None, names: list[str] | None = None) -> Any:
    return (rules or SharedKeyCKKS()).parties(names or NAMES, b"run", simulated("ckks"))


def drive(group: Any, until: str, round: int = 1, change: Any = None) -> dict[str, Request]:
    """Run a round up to a stage, whose requests are returned; `change(stage, name, reply)` tampers with replies."""
    group.server.start(round, list(group.clients), SIZE)
    while (stage := group.server.stage) != until:
        for name, request in group.server.requests().items():
            reply = group.clients[name].answer(request, VECTORS[name] if stage == "masked" else None)
            group.server.receive(name, change(stage, name, reply) if change else reply)
        group.server.close()
    return dict(group.server.requests()) if until != "finish" else {}


def changed(message: Any, **arrays: Any) -> Any:
    return replace(message, arrays={**message.arrays, **arrays})


def text(names: str) -> np.ndarray:
    return np.frombuffer("\n".join(names).encode(), np.uint8)


def test_every_line_of_the_guarantees_of_ckks_is_a_test() -> None:
    found = (SharedKeyCKKS.__doc__ or "").split("Guarantees:")[1].split("\n\n")[0]
    lines = [line.strip() for line in found.strip().splitlines()]
    assert len(lines) == 4 and all("test_" + re.sub(r"\W+", "_", line) in globals() for line in lines)


# --- the library ------------------------------------------------------------------------------------------------------


def test_ckks_sums_of_real_numbers_are_within_a_millionth_of_their_size() -> None:
    first = ckks.Key()
    keys = [first, *(ckks.Key(first.secret()) for _ in range(9))]
    x = np.random.default_rng(0).normal(size=(10, 5000))
    found, exact = ckks.added(keys, ckks.Adder(), list(x)), x.sum(axis=0)
    assert found.shape == (5000,) and 0.0 < np.abs(found - exact).max() <= 1e-6 * np.abs(exact).max()


@pytest.mark.parametrize("count", [2, 10, 100])
def test_integers_come_out_as_they_went_in_with_errors_of_a_hundredth_at_most(count: int) -> None:
    key, server, most = ckks.Key(), ckks.Adder(), (2**31 - 1) // count
    rng = np.random.default_rng(count)
    vectors = [rng.integers(-most, most + 1, 2048).astype(np.int32) for _ in range(count - 1)]
    vectors.append(np.full(2048, most, np.int32))
    for vector in vectors:
        server.add(0, next(key.encrypt_integers(vector.view(np.uint32))))
    total = server.total(0)
    exact = np.sum(vectors, axis=0, dtype=np.int64)
    assert np.array_equal(key.open_integers(total), exact)
    assert np.abs(key.open(total) / ckks.UNIT - exact).max() < 0.01


def test_words_whose_sum_fills_32_bits_come_out_mod_2_to_the_32() -> None:
    group = parties(names=["a", "b", "c"])
    vectors = {"a": 2**31, "b": 2**31 - 2, "c": 1}  # sum 2^32 - 1; the first is negative where words are read as signed
    opened = group.sum(1, {name: np.full(5, value, np.uint32) for name, value in vectors.items()})
    assert opened.total.tolist() == [2**32 - 1] * 5


def test_an_adder_holds_no_key_and_another_key_opens_nothing(tenseal) -> None:
    key, server = ckks.Key(), ckks.Adder()
    server.add(0, next(key.encrypt(np.ones(10), 1)))
    assert not server._context.has_secret_key()
    with pytest.raises(ValueError):
        tenseal.ckks_vector_from(server._context, server.total(0)).decrypt()  # TenSEAL itself has nothing to do it with
    assert repr(key) == "Key(hidden)" and repr(server) == "Adder(no key, 1 sums)"
    with pytest.raises(ProtocolError, match="no sum of integers"):
        ckks.Key().open_integers(server.total(0))


def test_the_library_refuses_what_it_cannot_hold_and_what_is_no_ciphertext() -> None:
    key, server = ckks.Key(), ckks.Adder()
    for bad in (np.array([np.nan]), np.array([np.inf]), np.array([1e9]), np.array(["a"]), np.zeros((2, 2))):
        with pytest.raises(ProtocolError):
            next(key.encrypt(bad, 2))
    with pytest.raises(ProtocolError):
        next(key.encrypt_integers(np.zeros(3)))
    with pytest.raises(ProtocolError, match="no CKKS context"):
        ckks.Key(b"nonsense")
    with pytest.raises(ProtocolError, match="encrypts nothing"):
        next(ckks.Key(key.secret()[:-2]).encrypt_integers(np.ones(3, np.uint32)))  # without the kind of encryption
    with pytest.raises(ProtocolError, match="nothing was added"):
        server.total(0)
    good = next(key.encrypt(np.ones(10), 2))
    server.add(0, good)
    for wrong in (b"nonsense", b"", good[:-7], good[: len(good) // 2], next(key.encrypt(np.ones(11), 2))):
        with pytest.raises(ProtocolError, match="no CKKS ciphertext"):
            server.add(0, wrong)
    with pytest.raises(ProtocolError, match="no CKKS ciphertext"):
        key.open(b"nonsense")
    with pytest.raises(ProtocolError, match="one length"):
        ckks.added([key, key], server, [np.ones(3), np.ones(4)])
    for no_integers in (np.array([0.5]), np.array([np.nan]), np.array([np.inf]), np.array([2.0**40])):
        with pytest.raises(ProtocolError, match="no sum of integers"):
            ckks.whole(no_integers)


def test_what_stands_around_a_ciphertext_is_refused_before_the_library_reads_outside_of_its_memory() -> None:
    """No size, two sizes, no ciphertext, one twice, a size beyond the slots: each of these ended the process."""
    key, server = ckks.Key(), ckks.Adder()
    good = next(key.encrypt_integers(np.arange(50, dtype=np.uint32)))
    size, body, scale = good[:3], good[3:-9], good[-9:]
    server.add(0, good)
    for wrong in (
        b"\x0a\x00" + body + scale,
        body + scale,
        b"\x0a\x02\x32\x32" + body + scale,
        size + size + body + scale,
        size + scale,
        size + body + body + scale,
        b"\x0a\x02\x88\x27" + body + scale,
        b"\x0a\x05\xff\xff\xff\xff\x0f" + body + scale,
        size + body,
        size + body + scale[:1] + bytes(8),
        good + bytes(2**21),
    ):
        with pytest.raises(ProtocolError, match="no CKKS ciphertext"):
            key.open(wrong)
        with pytest.raises(ProtocolError, match="no CKKS ciphertext"):
            server.add(0, wrong)
    assert np.array_equal(key.open_integers(server.total(0)), np.arange(50))


def test_without_tenseal_one_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tenseal", None)
    with pytest.raises(PlanError, match="extra `he`"):
        parties()


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(0, 2**30), st.integers(1, 2**32))
@settings(max_examples=40, deadline=None)
def test_tags_fit_the_sum_of_exactly_the_parties_named_and_nothing_else(
    seed: int, size: int, place: int, error: int
) -> None:
    """A forged sum passes with a chance of 2^-104."""
    rng, secret = np.random.default_rng(seed), bytes(range(32))
    vectors = {name: rng.integers(-(2**29), 2**29, size).astype(np.int32).view(np.uint32) for name in "abc"}
    sent = {name: ckks_tags.tagged(secret, name, vector) for name, vector in vectors.items()}
    total = sum(each.view(np.int32).astype(np.int64) for each in sent.values())
    exact = sum(vector.view(np.int32).astype(np.int64) for vector in vectors.values())
    assert np.array_equal(ckks_tags.untagged(secret, "abc", total), exact)
    wrong = total.copy()
    wrong[place % size] += error
    moved = total.copy()
    moved[-1 - place % ckks_tags.LENGTH] += 1
    for forged in (wrong, moved, total + sent["a"].view(np.int32), total - sent["c"].view(np.int32), 0 * total):
        with pytest.raises(ProtocolError, match="not the sum"):
            ckks_tags.untagged(secret, "abc", forged)
    for names in ("ab", "abcd", "abb", ""):
        with pytest.raises(ProtocolError, match="not the sum"):
            ckks_tags.untagged(secret, names, total)
    with pytest.raises(ProtocolError, match="not the sum"):
        ckks_tags.untagged(bytes(32), "abc", total)


# --- the protocol -----------------------------------------------------------------------------------------------------


def test_a_sum_by_ckks_opens_to_the_exact_integers_and_is_signed_for() -> None:
    group = parties()
    for round in (1, 2, 7):
        opened = group.sum(round, VECTORS)
        assert np.array_equal(opened.total, TOTAL) and opened.survivors == tuple(NAMES)
        opened.verify(group.trusted)
        with pytest.raises(VerificationError):
            replace(opened, statement=bytes(32)).verify(group.trusted)
        assert all(client._round is None for client in group.clients.values())  # the key is forgotten


def test_ckks_and_masks_open_the_same_integers_from_the_same_real_numbers() -> None:
    x = np.random.default_rng(3).uniform(-1.0, 1.0, (5, 4000))
    codec = Quantiser(1.0, 5)
    vectors = {name: codec.encode(row, simulated("x", name)) for name, row in zip(NAMES, x, strict=True)}
    ours = parties().sum(1, vectors).total
    masked = SecAgg(minimum=3).parties(NAMES, b"run", simulated("masks")).sum(1, vectors, 4000).total
    assert np.array_equal(ours, masked)
    assert np.abs(codec.decode(ours, 5) - x.sum(axis=0)).max() <= 1e-6 * np.abs(x.sum(axis=0)).max()


def test_the_server_of_ckks_relays_the_key_and_cannot_read_it() -> None:
    """Nothing of all that passes the server holds the secret, the key's bytes, or a stretch of them."""
    group, heard = parties(), []

    def hear(stage: str, name: str, reply: Reply) -> Reply:
        heard.extend(array.tobytes() for array in reply.arrays.values())
        return reply

    group.server.start(1, NAMES, SIZE)
    for stage in STAGES:
        for name, request in group.server.requests().items():
            heard.extend(array.tobytes() for array in request.arrays.values())
            reply = group.clients[name].answer(request, VECTORS[name] if stage == "masked" else None)
            group.server.receive(name, hear(stage, name, reply))
        if stage == "masked":
            states = [client._round for client in group.clients.values()]
            assert len({state.secret for state in states}) == 1
            secret, written = states[0].secret, states[0].key.secret()
        group.server.close()
    everything = b"".join(heard)
    assert secret not in everything and written[1000:1032] not in everything and written[-64:-16] not in everything
    sealed = next(client for client in [group.server])._sealed
    with pytest.raises(ProtocolError, match="no CKKS context"):
        ckks.Key(sealed)


def test_a_key_that_was_sealed_for_another_round_party_or_by_a_stranger_is_refused() -> None:
    group, other = parties(), parties()
    old = drive(group, "masked", 1)
    requests = drive(group, "masked", 2)
    leader = Session(b"run", 2).leader(NAMES)
    mine, peer = [name for name in NAMES if name != leader][:2]
    flipped = requests[mine].arrays["sealed"].copy()
    flipped[100] ^= 1
    wrap = requests[mine].arrays["wrap"].copy()
    wrap[0] ^= 1
    for arrays in (
        {"wrap": requests[peer].arrays["wrap"]},
        {"wrap": old[mine].arrays["wrap"]},
        {"wrap": wrap},
        {"sealed": old[mine].arrays["sealed"]},
        {"sealed": flipped},
        {"sealed": flipped[:-1]},
        {"sealed": flipped[:0]},
        drive(other, "masked", 2)[mine].arrays,
    ):
        with pytest.raises(ProtocolError, match="was not made by"):
            group.clients[mine].answer(changed(requests[mine], **arrays), VECTORS[mine])
    sent = group.clients[mine].answer(requests[mine], VECTORS[mine])  # a refusal leaves the round as it was
    group.server.receive(mine, sent)


def test_a_server_that_invents_parties_or_keys_of_its_own_is_refused() -> None:
    group = parties()
    requests = drive(group, "lead")
    stranger = Identity.generate(simulated("stranger"))
    client, request = group.clients["a"], requests["a"]
    keys = request.arrays["keys"].copy()
    private = X25519PrivateKey.generate()
    keys[1] = np.frombuffer(signed_key(stranger, private, "b", b"run", 1), np.uint8)
    with pytest.raises(ProtocolError, match="'b' is not signed"):
        client.answer(changed(request, keys=keys))
    mine = request.arrays["keys"].copy()
    mine[0] = np.frombuffer(signed_key(client._identity, private, "a", b"run", 1), np.uint8)
    with pytest.raises(ProtocolError, match="another than the one"):
        client.answer(changed(request, keys=mine))
    for names, why in (("ab", "minimum"), ("bcd", "does not list"), ("bac", "sorted"), ("abcdx", "'x' is not among")):
        with pytest.raises(ProtocolError, match=why):
            client.answer(changed(request, names=text(names), keys=request.arrays["keys"][: len(names)]))
    old = drive(group, "lead", 2)["a"].arrays["keys"]
    with pytest.raises(ProtocolError, match="not signed by it for epoch 3"):
        group.clients["a"].answer(changed(drive(group, "lead", 3)["a"], keys=old))


def lying(group: Any, round: int, forge: Any, survivors: str = "abcde") -> None:
    """A server that announces a sum of its own: `forge(sent by party)` makes its ciphertexts."""
    kept: dict[str, list[bytes]] = {}

    def keep(stage: str, name: str, reply: Reply) -> Reply:
        if stage == "masked":
            kept[name] = [bytes(piece) for piece in pieces(reply.arrays["sent"])]
        return reply

    drive(group, "check", round, keep)
    server = group.server
    server._total = packed(forge(kept))
    server._survivors = list(survivors)
    server._statement = server._session.statement(server._roster, server._survivors, hashed(server._total))
    for name, request in server.requests().items():
        server.receive(name, group.clients[name].answer(request))
    server.close()


def summed(*parts: list[bytes]) -> list[bytes]:
    adder = ckks.Adder()
    for part in parts:
        for place, piece in enumerate(part):
            adder.add(place, piece)
    return [adder.total(place) for place in range(len(parts[0]))]


def test_a_server_of_ckks_that_asks_for_another_sum_is_told_nothing() -> None:
    """One party's vector, a party twice, one less than said, a sum of the round before: honest parties refuse."""
    group = parties()
    before: dict[str, list[bytes]] = {}

    def remember(kept: dict[str, list[bytes]]) -> list[bytes]:
        before.update(kept)
        return kept["a"]

    for round, forge in enumerate(
        (
            remember,
            lambda kept: summed(*kept.values(), kept["a"]),
            lambda kept: summed(*(kept[name] for name in "abcd")),
            lambda kept: summed(*before.values()),
            lambda kept: summed(*(kept[name] for name in "abcd"), before["e"]),
            lambda kept: [b"nonsense", b"nonsense"],
            lambda kept: kept["a"][:1],
            lambda kept: list(reversed(kept["a"])),
        ),
        1,
    ):
        lying(group, round, forge)
        for name, request in group.server.requests().items():
            with pytest.raises(ProtocolError, match=r"not the sum|no sum of integers|no CKKS|another length"):
                group.clients[name].answer(request)
    assert np.array_equal(group.sum(20, VECTORS).total, TOTAL)


@pytest.mark.parametrize("value", [3, 2**30])
def test_refusals_of_a_sum_by_ckks_do_not_tell_values_apart(value: int) -> None:
    """One party's ciphertext 64 times: whether that overflows, or fits no tags, is a bit of a value of the party."""
    group, vectors = parties(), {**VECTORS, "a": VECTORS["a"] % 7}
    vectors["a"][0] = value
    group.server.start(1, NAMES, SIZE)
    kept: list[bytes] = []
    while group.server.stage != "check":
        for name, request in group.server.requests().items():
            reply = group.clients[name].answer(request, vectors[name] if group.server.stage == "masked" else None)
            if group.server.stage == "masked" and name == "a":
                kept = [bytes(piece) for piece in pieces(reply.arrays["sent"])]
            group.server.receive(name, reply)
        group.server.close()
    server = group.server
    server._total = packed([*summed(*[kept[:1]] * 64), *kept[1:]])
    server._statement = server._session.statement(server._roster, server._survivors, hashed(server._total))
    for name, request in server.requests().items():
        server.receive(name, group.clients[name].answer(request))
    server.close()
    for name, request in server.requests().items():
        with pytest.raises(ProtocolError, match="is not the sum of what these parties encrypted: nothing is said"):
            group.clients[name].answer(request)


def test_any_one_party_that_works_with_the_server_opens_everything_as_the_documentation_says() -> None:
    """What this sum does not give: it is tested, so that nobody believes otherwise."""
    group, kept = parties(), {}

    def keep(stage: str, name: str, reply: Reply) -> Reply:
        kept[stage, name] = reply
        return reply

    drive(group, "check", 1, keep)
    spy = group.clients["b"]._round
    found = np.concatenate([spy.key.open_integers(piece) for piece in pieces(kept["masked", "a"].arrays["sent"])])
    assert np.array_equal(ckks_tags.untagged(spy.secret, "a", found).astype(np.uint32), VECTORS["a"])
    assert "Any one party" in (SharedKeyCKKS.__doc__ or "")


def test_two_sums_of_one_round_are_never_opened() -> None:
    """The server would learn one party's vector from their difference: a party signs once, and half is not enough."""
    group = parties()
    requests = drive(group, "check")
    client, request = group.clients["a"], requests["a"]
    for survivors, why in (("ab", "minimum"), ("bcde", "does not list"), ("abcx", "not in this round")):
        with pytest.raises(ProtocolError, match=why):
            client.answer(changed(request, survivors=text(survivors)))
    client.answer(request)
    with pytest.raises(ProtocolError, match="came after 'check'"):
        client.answer(changed(request, survivors=text("abcd")))
    group = parties(names=["a", "b", "c", "d", "e", "f", "g"])
    vectors = dict.fromkeys(group.clients, VECTORS["a"])
    with pytest.raises(SecureSumAborted, match="at least 4"):
        group.sum(1, vectors, dict.fromkeys("abcd", "check"))
    server = group.server
    server.start(2, list(group.clients), SIZE)
    while server.stage != "open":
        for name, request in server.requests().items():
            vector = VECTORS["a"] if server.stage == "masked" else None
            server.receive(name, group.clients[name].answer(request, vector))
        server.close()
    request = server.requests()["a"]
    few = {"signers": text("abc"), "signatures": request.arrays["signatures"][:3]}
    with pytest.raises(ProtocolError, match="too few"):
        group.clients["a"].answer(changed(request, **few))
    signatures = request.arrays["signatures"].copy()
    signatures[3, 5] ^= 1
    with pytest.raises(ProtocolError, match="'d' is not signed"):
        group.clients["a"].answer(changed(request, signatures=signatures))
    total = request.arrays["total"].copy()
    total[50] ^= 1
    with pytest.raises(ProtocolError, match="not the one that was announced"):
        group.clients["a"].answer(changed(request, total=total))
    assert np.array_equal(group.clients["a"].answer(request).arrays["opened"], 7 * VECTORS["a"])


@pytest.mark.parametrize("stage", STAGES)
def test_whoever_vanishes_from_a_sum_by_ckks_is_left_out_while_more_than_half_remain(stage: str) -> None:
    group = parties()
    leader = Session(b"run", 4).leader(NAMES)
    gone = [name for name in NAMES if name != leader][:2]
    opened = group.sum(4, VECTORS, dict.fromkeys(gone, stage))
    left = [name for name in NAMES if name not in gone] if stage in STAGES[:3] else NAMES
    assert np.array_equal(opened.total, np.sum([VECTORS[name] for name in left], axis=0, dtype=np.uint32))
    assert opened.survivors == tuple(left) and opened.dropped == tuple(sorted(set(NAMES) - set(left)))
    with pytest.raises(SecureSumAborted, match="nothing was"):
        group.sum(5, VECTORS, dict.fromkeys("abcde" if stage == "open" else "abc", stage))
    assert np.array_equal(group.sum(6, VECTORS).total, TOTAL)


def test_without_its_leader_a_round_ends_by_name_and_another_leads_the_next() -> None:
    group = parties()
    leader = Session(b"run", 1).leader(NAMES)
    with pytest.raises(SecureSumAborted, match=f"'{leader}', who makes the key, fell silent"):
        group.sum(1, VECTORS, {leader: "lead"})
    assert Session(b"run", 2).leader(NAMES) != leader
    rest = [name for name in NAMES if name != leader]
    opened = group.sum(2, VECTORS, {leader: "masked"})
    assert np.array_equal(opened.total, np.sum([VECTORS[name] for name in rest], axis=0, dtype=np.uint32))


def test_what_was_flipped_cut_repeated_or_of_another_round_is_refused_by_the_server_of_ckks() -> None:
    group, kept = parties(), {}

    def keep(stage: str, name: str, reply: Reply) -> Reply:
        kept[stage, name] = reply
        return reply

    drive(group, "finish", 1, keep)
    named = {"advertise": "key", "masked": "sent", "check": "signature", "open": "opened"}
    for round, (stage, name) in enumerate(named.items(), 2):
        requests = drive(group, stage, round)
        good = group.clients["b"].answer(requests["b"], VECTORS["b"] if stage == "masked" else None)
        flipped = good.arrays[name].copy()
        flipped[len(flipped) // 2] ^= 1
        for bad in (
            changed(good, **{name: flipped}),
            changed(good, **{name: good.arrays[name][:-1]}),
            changed(good, **{name: good.arrays[name].astype(np.float64) * np.nan}),
            kept[stage, "b"],
            Reply({}),
        ):
            with pytest.raises(ProtocolError, match=r"not signed|must hold"):
                group.server.receive("b", bad)
        group.server.receive("b", good)
        for sender, why in (("b", "already answered"), ("c", "not signed"), ("nobody", "not asked")):
            with pytest.raises(ProtocolError, match=why):
                group.server.receive(sender, good)
    assert np.array_equal(group.sum(20, VECTORS).total, TOTAL)


def test_a_party_that_signs_for_nonsense_or_another_sum_ends_the_round_by_name() -> None:
    group = parties()

    def lie(wanted: str, stage: str, name: str, reply: Reply) -> Reply:
        client = group.clients["c"]
        if name != "c" or stage != wanted:
            return reply
        state = client._round
        if stage == "masked":
            good = [bytes(piece) for piece in pieces(reply.arrays["sent"])]
            sent = packed([*good[:1], good[1][:500]])
            said = state.session.sent("c", state.roster, hashed(sent))
            arrays = {"sent": sent}
        else:
            values = reply.arrays["opened"] + np.uint32(1)
            said = Session(b"run", group.server._round).opened("c", group.server._statement, hashed(values))
            arrays = {"opened": values}
        return Reply({**arrays, "signature": np.frombuffer(client._identity.sign(said), np.uint8)})

    for round, (wanted, why) in enumerate((("masked", "'c' sent broke off"), ("open", "'c' opened another sum")), 1):
        group.server.start(round, NAMES, SIZE)
        with pytest.raises(SecureSumAborted, match=why):
            while (stage := group.server.stage) != "finish":
                for name, request in group.server.requests().items():
                    reply = group.clients[name].answer(request, VECTORS[name] if stage == "masked" else None)
                    with contextlib.suppress(ProtocolError):
                        group.server.receive(name, lie(wanted, stage, name, reply))
                group.server.close()
    assert np.array_equal(group.sum(20, VECTORS).total, TOTAL)


def test_rules_out_of_range_and_messages_out_of_order_are_refused() -> None:
    for wrong in (1, -1, 5000):
        with pytest.raises(PlanError):
            SharedKeyCKKS(minimum=wrong)
    group = parties()
    with pytest.raises(SecureSumAborted, match="minimum is 3"):
        group.server.start(1, ["a", "b"], SIZE)
    with pytest.raises(ProtocolError, match="twice"):
        group.server.start(1, ["a", "b", "b"], SIZE)
    with pytest.raises(ProtocolError, match="does not list"):
        SharedKeyClient(Rules(), "a", Identity.generate(simulated(1)), b"run", {})
    client = group.clients["a"]
    client.answer(Request(KIND + "advertise", 3, {}))
    for stage, round in (("advertise", 3), ("advertise", 2), ("masked", 3), ("lead", 4), ("", 3), ("unmask", 3)):
        with pytest.raises(ProtocolError):
            client.answer(Request(KIND + stage, round, {}))
    assert repr(client) == "SharedKeyClient('a')" and "secret" not in repr(client._round)
    assert "every party holds" in SharedKeyCKKS().hides


def test_stated_traffic_of_ckks_is_near_to_what_a_round_moves() -> None:
    group = parties()
    up = down = 0
    group.server.start(1, NAMES, SIZE)
    for stage in STAGES:
        for name, request in group.server.requests().items():
            reply = group.clients[name].answer(request, VECTORS[name] if stage == "masked" else None)
            group.server.receive(name, reply)
            up += sum(array.nbytes for array in reply.arrays.values())
            down += sum(array.nbytes for array in request.arrays.values())
        group.server.close()
    said = SharedKeyCKKS().traffic(5, SIZE, 10)
    assert abs(said[0] * 5 / up - 1) < 0.02 and abs(said[1] * 5 / down - 1) < 0.02


ARRAYS = ["key", "names", "keys", "sealed", "wraps", "wrap", "sent", "signature", "survivors", "total", "signers"]
ARRAYS += ["signatures", "opened"]
SHAPES = [(), (0,), (1,), (32,), (48,), (64,), (96,), (5, 96), (5, 48), (5, 64), (SIZE,)]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_message_of_ckks_is_answered_or_refused_by_name(fuzzed, data) -> None:
    stage, dtype = data.draw(st.sampled_from([*STAGES, "", "unmask"])), data.draw(st.sampled_from(["u1", "u4", "f8"]))
    names, shape = data.draw(st.lists(st.sampled_from(ARRAYS), max_size=4)), data.draw(st.sampled_from(SHAPES))
    raw = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))).bytes(8 * int(np.prod(shape)) + 8)
    array = np.frombuffer(raw, dtype)[: int(np.prod(shape))].reshape(shape)
    arrays = dict.fromkeys(names, array)
    for client in fuzzed.clients.values():
        with contextlib.suppress(ProtocolError):
            client.answer(Request(KIND + stage, data.draw(st.sampled_from([-1, 0, 1, 2**63])), arrays), None)
    with contextlib.suppress(ProtocolError):
        fuzzed.server.start(1, NAMES, SIZE)
        fuzzed.server.receive("a", Reply(arrays))


@pytest.fixture(scope="module")
def fuzzed() -> Any:
    return parties()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_ciphertext_with_flipped_bits_is_refused_or_opens_to_no_sum_that_is_told(seed: int) -> None:
    """Bits flipped behind the signatures' back, as by a lying server: refused by name wherever they are."""
    rng, key, secret = np.random.default_rng(seed), ckks.Key(), bytes(32)
    sent = bytearray(next(key.encrypt_integers(ckks_tags.tagged(secret, "a", np.arange(50, dtype=np.uint32)))))
    for _ in range(int(rng.integers(1, 5))):
        sent[int(rng.integers(len(sent)))] ^= 1 << int(rng.integers(8))
    try:
        adder = ckks.Adder()
        adder.add(0, sent)
        values = ckks_tags.untagged(secret, "a", key.open_integers(adder.total(0)))
    except ProtocolError:
        return
    assert np.array_equal(values, np.arange(50))  # bits of a checksum or of padding
