"""The secure sum end to end: exact whoever vanishes when, or ended by name; and what an upload shows."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import Array, ProtocolError, VerificationError
from tacit.privacy.secure_sum import keys, masks, shamir, wire
from tacit.privacy.secure_sum.groups import partition
from tacit.privacy.secure_sum.local import Parties, run_in_process
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted
from tacit.privacy.secure_sum.roster import join
from tacit.privacy.secure_sum.sum import SecAgg

stats = pytest.importorskip("scipy.stats")


def named(count: int) -> list[str]:
    return [f"node/{i}" for i in range(count)]


def drawn(names: list[str], size: int, seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {name: random.integers(0, 2**32, size, dtype=np.uint32) for name in names}


def plain_sum(vectors: Mapping[str, Array], survivors: tuple[str, ...]) -> Array:
    return np.sum([vectors[name] for name in survivors], axis=0, dtype=np.uint32)


# ---- exactness


MODES = st.sampled_from(["auto", "semi-honest", "malicious"])
FATES = st.lists(st.sampled_from([None, None, *wire.STAGES]), min_size=3, max_size=8)


@given(FATES, st.integers(0, 40), MODES)
@settings(max_examples=60, deadline=None)
def test_the_sum_is_exact_or_the_round_ends_by_name_at_whatever_message_a_client_stops(
    fates: list[str | None], size: int, against: str
) -> None:
    names = named(len(fates))
    vectors, rules = drawn(names, size), SecAgg(minimum=3, colluding=0.0, against=against)
    drop = {name: fate for name, fate in zip(names, fates, strict=True) if fate is not None}
    started = sum(fate != "advertise" for fate in fates)
    ended = sum(fate is None for fate in fates)
    summed = sum(fate in (None, "sign", "unmask") for fate in fates)
    if summed < 3 or ended - 1 < rules.shape(started)[1]:
        with pytest.raises(SecureSumAborted):
            run_in_process(rules, vectors, size, drop)
        return
    opened = run_in_process(rules, vectors, size, drop)
    uploaded = {name for name, fate in zip(names, fates, strict=True) if fate in (None, "sign", "unmask")}
    assert set(opened.survivors) == uploaded
    assert set(opened.dropped) == set(names) - uploaded
    assert np.array_equal(opened.total, plain_sum(vectors, opened.survivors))


@given(FATES, MODES)
@settings(max_examples=40, deadline=None)
def test_a_round_that_ended_opens_nobody(fates: list[str | None], against: str) -> None:
    """The server opens all that its messages allow: no set of clients' plain sum is left in what remains."""
    names = named(len(fates))
    vectors, rules = drawn(names, 8), SecAgg(minimum=3, colluding=0.0, against=against)
    parties = rules.parties(names)
    drop = {name: fate for name, fate in zip(names, fates, strict=True) if fate is not None}
    try:
        parties.sum(0, vectors, 8, drop)
    except SecureSumAborted:
        server = parties.server
    else:
        return
    if server._roster is None or not len(server._around):  # nobody had uploaded anything
        return
    roster, ring = server._roster, server._roster.ring
    uploaded = [place for place in range(len(roster)) if server._uploaded[place]]
    left, opened = server._total.copy(), 0
    for place in uploaded:
        near = server._around[place]
        revealed = [s for s, peer in enumerate(near) if server._reveals[peer].any()]
        if len(revealed) < roster.threshold:
            continue
        chosen = revealed[: roster.threshold]
        k = roster.neighbours
        shares = [server._reveals[near[slot], k - 1 - slot].tobytes() for slot in chosen]
        secret = shamir.combine([slot + 1 for slot in chosen], shares)
        assert secret is not None
        masks.add(left, [], [secret])
        opened += 1
    shared = int(np.sum(server._shared))
    assert opened < max(shared, 1), "all secrets of an aborted round were in the server's hands"
    for number in range(1, 2 ** len(uploaded)):
        some = [ring.names[place] for bit, place in enumerate(uploaded) if number >> bit & 1]
        assert not np.array_equal(left, plain_sum(vectors, tuple(some)))


def test_a_semi_honest_server_saves_clients_a_message_and_a_malicious_one_is_not_believed_without_it() -> None:
    names = named(6)
    for against, messages in (("semi-honest", 4), ("malicious", 5)):
        rules = SecAgg(minimum=2, against=against)
        parties, vectors = rules.parties(names), drawn(names, 4)
        opened = parties.sum(0, vectors, 4, {names[2]: "masked"})
        assert np.array_equal(opened.total, plain_sum(vectors, opened.survivors))
        assert len(rules.stages) == messages and len(opened.signatures) == (5 if messages == 5 else 0)
    other = SecAgg(minimum=2, against="malicious").parties(names)
    run_until(other, "sign")
    request = other.server.requests()[names[0]]
    with pytest.raises(ProtocolError, match="out of order"):
        other.clients[names[0]].answer(type(request)(wire.KIND + "unmask", 0, request.arrays))


def test_parties_that_disagree_on_the_mode_do_not_understand_each_other() -> None:
    names = named(6)
    digests = {
        SecAgg(minimum=2, against=mode).roster(b"run", 0, join(names)).digest for mode in ("auto", "semi-honest")
    }
    assert len(digests) == 2


# ---- groups


@given(st.integers(9, 24), st.integers(1, 4), st.integers(0, 8), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_a_group_is_opened_only_with_the_minimum_of_contributions(n: int, groups: int, gone: int, seed: int) -> None:
    rules, names, random = SecAgg(minimum=3, groups=groups, colluding=0.0), named(n), np.random.default_rng(seed)
    parties = rules.parties(names)
    server, vectors = rules.server(b"in process", parties.trusted), drawn(names, 5, seed)
    silent = set(random.choice(names, gone, replace=False).tolist())
    try:
        server.start(0, names, 5)
        while server.stage != "finish":
            asked = server.requests()
            for name, request in asked.items():
                if name not in silent or server.stage == "advertise":
                    server.receive(name, parties.clients[name].answer(request, vectors[name]))
            server.close()
        opened = server.finish()
    except SecureSumAborted as why:
        assert "nothing was opened" in str(why) or "minimum" in str(why) or "too few" in str(why)
        return
    seen = [name for part in opened for name in part.survivors]
    assert len(seen) == len(set(seen)) and not set(seen) & silent
    assert len(opened) + len(server.lost) == groups
    for part in opened:
        assert len(part.survivors) >= 3
        assert np.array_equal(part.total, plain_sum(vectors, part.survivors))


def test_a_group_that_is_lost_does_not_end_the_others() -> None:
    rules, names = SecAgg(minimum=3, groups=3), named(12)
    parties = rules.parties(names)
    server, lost = rules.server(b"in process", parties.trusted), partition(names, 3, b"in process", 0)[1]
    server.start(0, names, 2)
    while server.stage != "finish":
        for name, request in server.requests().items():
            if name not in lost[1:] or server.stage != "masked":
                server.receive(name, parties.clients[name].answer(request, np.ones(2, np.uint32)))
        server.close()
    with pytest.raises(ProtocolError, match="was not asked"):
        server.receive(lost[0], parties.clients[names[0]]._round or None)  # type: ignore[arg-type]
    opened = server.finish()
    assert [part.total.tolist() for part in opened] == [[4, 4], [4, 4]]
    assert len(server.lost) == 1 and "nothing was opened" in server.lost[0]


@given(st.integers(0, 2**32 - 1), st.integers(0, 8))
@settings(max_examples=15, deadline=None)
def test_the_sum_is_exact_on_a_sparse_graph_while_everybody_keeps_enough_neighbours(seed: int, gone: int) -> None:
    random, names = np.random.default_rng(seed), named(30)
    rules = SecAgg(minimum=4, neighbours=8, threshold=5, dropout=0.05, colluding=0.0)
    vectors = drawn(names, 9, seed)
    drop = {str(name): str(random.choice(wire.STAGES)) for name in random.choice(names, gone, replace=False)}
    try:
        opened = run_in_process(rules, vectors, 9, drop)
    except SecureSumAborted:
        assert gone > 3  # of 8 neighbours, any 3 may vanish
        return
    assert np.array_equal(opened.total, plain_sum(vectors, opened.survivors))


def test_a_tenth_may_vanish_at_the_dearest_moment() -> None:
    for count, rules in ((40, SecAgg()), (100, SecAgg(neighbours=28))):
        names = named(count)
        vectors = drawn(names, 500)
        opened = run_in_process(rules, vectors, 500, dict.fromkeys(names[::10], "masked"))
        assert len(opened.survivors) == 0.9 * count
        assert np.array_equal(opened.total, plain_sum(vectors, opened.survivors))


@pytest.mark.parametrize("stage", wire.STAGES)
def test_below_the_threshold_the_round_ends_by_name_and_names_no_value(stage: str) -> None:
    names, rules = named(10), SecAgg(minimum=2)
    k, t = rules.shape(10)
    vectors = drawn(names, 4)
    with pytest.raises(SecureSumAborted) as error:
        run_in_process(SecAgg(minimum=t + 1), vectors, 4, dict.fromkeys(names[: 10 - t], stage))
    assert "nothing was opened" in str(error.value)
    enough = run_in_process(SecAgg(minimum=2), vectors, 4, dict.fromkeys(names[: 10 - t - 1], "unmask"))
    assert np.array_equal(enough.total, plain_sum(vectors, tuple(names)))
    assert t < k


def test_a_cohort_below_the_minimum_is_not_even_asked() -> None:
    with pytest.raises(SecureSumAborted, match="minimum is 20"):
        run_in_process(SecAgg(), drawn(named(19), 1), 1)


def test_only_one_computed_vector_exists_at_a_time() -> None:
    names, alive, most = named(6), 0, 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def compute() -> Array:
        nonlocal alive, most
        vector = np.ones(50, np.uint32)
        weakref.finalize(vector, gone)
        alive += 1
        most = max(most, alive)
        return vector

    opened = run_in_process(SecAgg(minimum=2), dict.fromkeys(names, compute), 50, {names[0]: "masked"})
    assert np.array_equal(opened.total, np.full(50, 5, np.uint32))
    assert most <= 2  # the one just computed, and at most the one whose turn has ended
    assert alive <= 1


def test_seeded_parties_repeat_themselves_and_others_do_not() -> None:
    def uploads(source: np.random.Generator | None) -> list[bytes]:
        parties = SecAgg(minimum=2).parties(named(4), source=source)
        return [masked.tobytes() for masked in record(parties, 0, drawn(named(4), 8))[1].values()]

    assert uploads(np.random.default_rng(5)) == uploads(np.random.default_rng(5))
    assert uploads(None) != uploads(None)


# ---- many rounds with the same keys


def record(
    parties: Parties, round: int, vectors: Mapping[str, Array], gone: tuple[str, ...] = ()
) -> tuple[Opened, dict[str, Array], dict[str, list[bytes]]]:
    """One round, with what the server saw of the uploads and each client's pair seeds."""
    uploads: dict[str, Array] = {}
    seeds: dict[str, list[bytes]] = {}
    size = len(next(iter(vectors.values())))
    parties.server.start(round, list(vectors), size)
    for stage in wire.STAGES:
        for name, request in parties.server.requests().items():
            if stage == "masked":
                state = parties.clients[name]._round
                assert state is not None
                seeds[name] = [seed for seed, _, _ in state.pairs]
                if name in gone:
                    continue
            reply = parties.clients[name].answer(request, vectors[name])
            if stage == "masked":
                uploads[name] = reply.arrays["masked"].copy()
            parties.server.receive(name, reply)
        parties.server.close()
    return parties.server.finish(), uploads, seeds


def test_the_same_keys_give_other_masks_in_every_round() -> None:
    names = named(5)
    parties = SecAgg(minimum=2).parties(names)
    vectors = drawn(names, 64)
    rounds = [record(parties, round, vectors) for round in range(3)]
    for opened, _, _ in rounds:
        assert np.array_equal(opened.total, plain_sum(vectors, tuple(names)))
    for name in names:
        uploads = [uploads[name] for _, uploads, _ in rounds]
        assert all(np.mean(a == b) < 0.1 for a, b in [(uploads[0], uploads[1]), (uploads[1], uploads[2])])
    everything = [seed for _, _, seeds in rounds for own in seeds.values() for seed in own]
    assert len(everything) == 3 * 5 * 4
    assert len(set(everything)) == 3 * 5 * 4 / 2  # each pair knows its seed twice, no seed comes back


def test_what_opens_a_vanished_client_opens_no_other_round_of_it() -> None:
    names = named(6)
    parties = SecAgg(minimum=2).parties(names)
    vectors = drawn(names, 32)
    opened, _, before = record(parties, 0, vectors, gone=(names[0],))
    assert names[0] in opened.dropped
    server, found = parties.server, {}
    for round in (1, 2):
        server.start(round, names, 32)
        while server.stage != "masked":
            for name, request in server.requests().items():
                server.receive(name, parties.clients[name].answer(request))
            server.close()
        state = parties.clients[names[0]]._round
        assert state is not None
        found[round] = [seed for seed, _, _ in state.pairs]
        wrapped = server._wrapped[state.place].tobytes()
        # A server that has opened round 0 knows every seed of round 0; as a key, none of them unlocks these.
        for known in before[names[0]]:
            unlocked = masks.stream(known).update(wrapped)
            assert not any(seed in unlocked for seed in found[round])
    assert not set(before[names[0]]) & (set(found[1]) | set(found[2]))


def test_a_round_that_was_never_uploaded_may_be_repeated_and_is_masked_anew() -> None:
    names = named(5)
    parties = SecAgg(minimum=2).parties(names)
    server = parties.server
    seen = []
    for _ in range(2):
        server.start(7, names, 3)
        while server.stage != "masked":
            for name, request in server.requests().items():
                server.receive(name, parties.clients[name].answer(request))
            server.close()
        state = parties.clients[names[0]]._round
        assert state is not None
        seen.append({seed for seed, _, _ in state.pairs})
    assert not seen[0] & seen[1]


def test_keys_are_kept_within_an_epoch_and_renewed_after_it() -> None:
    names = named(5)
    parties = SecAgg(minimum=2, renew=2).parties(names)
    vectors, adverts = drawn(names, 4), []
    for round in range(4):
        assert np.array_equal(record(parties, round, vectors)[0].total, plain_sum(vectors, tuple(names)))
        adverts.append(parties.clients[names[0]]._signed)
    assert adverts[0] == adverts[1] != adverts[2] == adverts[3]


def test_the_cohort_may_change_from_round_to_round() -> None:
    names = named(9)
    parties = SecAgg(minimum=3).parties(names)
    for round, cohort in enumerate((names, names[2:], names[:6], names[3:7])):
        vectors = drawn(cohort, 11, round)
        assert np.array_equal(parties.sum(round, vectors, 11).total, plain_sum(vectors, tuple(cohort)))


# ---- what an upload shows


def test_an_upload_of_zeros_looks_uniform() -> None:
    """Chi-square on 4 * 2^18 bytes; the keys are seeded (seed 1), so the outcome is fixed; p > 10^-4 was asked."""
    names = named(4)
    zeros = {name: np.zeros(1 << 18, np.uint32) for name in names}
    parties = SecAgg(minimum=2).parties(names, source=np.random.default_rng(1))
    _, uploads, _ = record(parties, 0, zeros)
    for upload in uploads.values():
        counts = np.bincount(upload.view(np.uint8), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4
    pairs = np.add(uploads[names[0]], uploads[names[1]])  # two clients' pair mask alone does not hide them, b does
    assert stats.chisquare(np.bincount(pairs.view(np.uint8), minlength=256)).pvalue > 1e-4


def test_the_upload_is_four_bytes_a_parameter_and_messages_hold_nothing_but_plain_arrays() -> None:
    names = named(5)
    parties = SecAgg(minimum=2).parties(names)
    parties.server.start(0, names, 1000)
    for stage in wire.STAGES:
        for name, request in parties.server.requests().items():
            reply = parties.clients[name].answer(request, np.zeros(1000, np.uint32))
            for array in (*reply.arrays.values(), *request.arrays.values()):
                assert array.dtype == (np.uint32 if array is reply.arrays.get("masked") else np.uint8)
            if stage == "masked":
                assert sum(array.nbytes for array in reply.arrays.values()) == 4 * 1000
            parties.server.receive(name, reply)
        parties.server.close()
    assert parties.server.finish().survivors


def test_nothing_secret_shows_in_a_repr() -> None:
    names = named(4)
    parties = SecAgg(minimum=2).parties(names)
    vectors = drawn(names, 4)
    opened = parties.sum(0, vectors, 4)
    assert repr(opened) == "Opened(4 values, 4 survivors, 0 dropped)"
    assert repr(parties.clients[names[0]]) == "Client('node/0')"


# ---- the record


def test_survivors_sign_who_survived_and_a_changed_record_is_found() -> None:
    names = named(5)
    parties = SecAgg(minimum=2).parties(names)
    opened = parties.sum(0, drawn(names, 2), 2, {names[1]: "masked"})
    assert set(opened.signatures) == set(opened.survivors)
    opened.verify(parties.trusted)
    forged = Opened(opened.total, opened.survivors, opened.dropped, bytes(32), opened.signatures)
    with pytest.raises(VerificationError, match="has not signed"):
        forged.verify(parties.trusted)
    with pytest.raises(VerificationError):
        opened.verify({})


# ---- the server against broken parties


def run_until(parties: Parties, stop: str, round: int = 0, size: int = 6) -> None:
    """Answer every stage before `stop` honestly."""
    names = list(parties.clients)
    parties.server.start(round, names, size)
    while parties.server.stage != stop:
        for name, request in parties.server.requests().items():
            parties.server.receive(name, parties.clients[name].answer(request, np.ones(size, np.uint32)))
        parties.server.close()


@pytest.mark.parametrize("stage", wire.STAGES)
def test_strangers_doubles_and_late_messages_are_refused_and_change_nothing(stage: str) -> None:
    parties = SecAgg(minimum=2).parties(named(5))
    run_until(parties, stage)
    server, reply = parties.server, None
    for name, request in server.requests().items():
        reply = parties.clients[name].answer(request, np.ones(6, np.uint32))
        with pytest.raises(ProtocolError, match="was not asked"):
            server.receive("node/99", reply)
        server.receive(name, reply)
        with pytest.raises(ProtocolError, match=r"already answered|twice"):
            server.receive(name, reply)
    server.close()
    assert reply is not None
    with pytest.raises(ProtocolError):
        server.receive("node/0", reply)
    while server.stage != "finish":
        for name, request in server.requests().items():
            server.receive(name, parties.clients[name].answer(request, np.ones(6, np.uint32)))
        server.close()
    with pytest.raises(ProtocolError, match="nothing to send"):
        server.requests()
    assert np.array_equal(server.finish().total, np.full(6, 5, np.uint32))


@pytest.mark.parametrize("stage", wire.STAGES)
def test_messages_of_wrong_shape_or_type_are_refused_by_the_server(stage: str) -> None:
    parties = SecAgg(minimum=2).parties(named(5))
    run_until(parties, stage)
    server = parties.server
    name, request = next(iter(server.requests().items()))
    good = parties.clients[name].answer(request, np.ones(6, np.uint32))
    for field, array in good.arrays.items():
        for wrong in (array[:-1], array.astype(np.int64), np.concatenate([array, array[:1]]), None):
            broken = {key: value for key, value in {**good.arrays, field: wrong}.items() if value is not None}
            with pytest.raises(ProtocolError, match="must hold"):
                server.receive(name, type(good)(broken))
    server.receive(name, good)


def test_an_upload_out_of_turn_is_refused_and_the_sum_waits_for_its_stages() -> None:
    parties = SecAgg(minimum=2).parties(named(4))
    with pytest.raises(ProtocolError, match="not awaited"):
        parties.server.add("node/0", np.zeros(6, np.uint32))
    run_until(parties, "share")
    with pytest.raises(ProtocolError, match="not awaited"):
        parties.server.add("node/0", np.zeros(6, np.uint32))
    with pytest.raises(ProtocolError, match="cannot finish"):
        parties.server.finish()


def test_an_advert_that_its_client_did_not_sign_is_refused_by_the_server() -> None:
    parties = SecAgg(minimum=2).parties(named(4))
    server = parties.server
    server.start(0, list(parties.clients), 6)
    replies = {name: parties.clients[name].answer(request) for name, request in server.requests().items()}
    with pytest.raises(ProtocolError, match="not signed"):
        server.receive("node/0", replies["node/1"])
    server.receive("node/0", replies["node/0"])


def test_one_lying_share_holder_is_outvoted_and_too_many_end_the_round() -> None:
    for liars, survives in ((1, True), (6, False)):
        parties = SecAgg(minimum=2).parties(named(8))
        run_until(parties, "unmask")
        for number, (name, request) in enumerate(sorted(parties.server.requests().items())):
            reply = parties.clients[name].answer(request)
            shares = reply.arrays["shares"].copy()
            if number < liars:
                shares[:, -1] ^= 1
            parties.server.receive(name, type(reply)({"shares": shares}))
        parties.server.close()
        if survives:
            assert np.array_equal(parties.server.finish().total, np.full(6, 8, np.uint32))
        else:
            with pytest.raises(SecureSumAborted, match="do not open"):
                parties.server.finish()


def test_a_client_cut_off_from_its_neighbours_is_left_out_before_it_uploads() -> None:
    rules = SecAgg(minimum=4, neighbours=8, threshold=4, dropout=0.05, colluding=0.0)
    names = named(30)
    ring = rules.roster(b"in process", 0, join(names)).ring.names
    vectors = drawn(names, 5)
    opened = run_in_process(rules, vectors, 5, {ring[place]: "share" for place in (1, 2, 3, -1, -2)})
    assert set(names) - set(opened.survivors) == {ring[place] for place in (0, 1, 2, 3, -1, -2)}
    assert np.array_equal(opened.total, plain_sum(vectors, opened.survivors))


def test_a_client_is_made_only_with_its_own_listed_identity() -> None:
    identity, other = keys.Identity.generate(), keys.Identity.generate()
    with pytest.raises(ProtocolError, match="directory"):
        SecAgg().client("a", identity, b"run", {"a": other.public})
    with pytest.raises(ProtocolError, match="directory"):
        SecAgg().client("a", identity, b"run", {})
    assert SecAgg().client("a", identity, b"run", {"a": identity.public})


@pytest.mark.slow
def test_a_hundred_clients_sum_a_million_parameters_exactly_with_a_tenth_gone() -> None:
    names = named(100)
    pool = np.random.default_rng(0).integers(0, 2**32, (5, 1_000_000), dtype=np.uint32)
    vectors = {name: pool[i % 5] for i, name in enumerate(names)}
    opened = run_in_process(SecAgg(neighbours=36), vectors, 1_000_000, dict.fromkeys(names[::10], "masked"))
    assert np.array_equal(opened.total, plain_sum(vectors, opened.survivors))
