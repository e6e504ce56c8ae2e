"""Attacks on the clients of a secure sum: each one is refused, and refused without harm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import Array, Params, ProtocolError, Reply, Request
from tacit.privacy.secure_sum import keys, wire
from tacit.privacy.secure_sum.client import Client
from tacit.privacy.secure_sum.local import Parties
from tacit.privacy.secure_sum.roster import Roster, join
from tacit.privacy.secure_sum.sum import SecAgg

SIZE = 5
RULES = SecAgg(minimum=4)


def named(count: int) -> list[str]:
    return [f"node/{i}" for i in range(count)]


def vector() -> Array:
    return np.arange(SIZE, dtype=np.uint32)


def until(
    stage: str, parties: Parties | None = None, round: int = 0, gone: int = 0
) -> tuple[Parties, dict[str, Request]]:
    """Parties that wait for `stage`, with what an honest server would send; the first `gone` clients never upload."""
    parties = parties or RULES.parties(named(8))
    server = parties.server
    server.start(round, named(8), SIZE)
    while server.stage != stage:
        for name, request in server.requests().items():
            if server.stage != "masked" or name not in named(gone):
                server.receive(name, parties.clients[name].answer(request, vector()))
        server.close()
    return parties, server.requests()


def finish(parties: Parties) -> Array:
    while parties.server.stage != "finish":
        for name, request in parties.server.requests().items():
            parties.server.receive(name, parties.clients[name].answer(request, vector()))
        parties.server.close()
    return parties.server.finish().total


def roster_of(client: Client) -> Roster:
    assert client._round is not None
    return client._round.seated()


def changed(request: Request, **arrays: Array) -> Request:
    return Request(request.kind, request.round, {**request.arrays, **arrays})


def refuse(client: Client, request: Request, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        client.answer(request, vector())


# ---- adverts


@given(st.integers(0, 6), st.integers(0, keys.KEY - 1), st.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_an_advert_with_any_flipped_bit_is_refused(slot: int, byte: int, bit: int) -> None:
    parties, requests = until("share")
    adverts = requests["node/0"].arrays["adverts"].copy()
    adverts[slot, byte] ^= 1 << bit
    refuse(parties.clients["node/0"], changed(requests["node/0"], adverts=adverts), "not signed")


def test_adverts_that_are_swapped_doubled_left_out_or_of_strangers_are_refused() -> None:
    parties, requests = until("share")
    client, request = parties.clients["node/0"], requests["node/0"]
    adverts = request.arrays["adverts"]
    refuse(client, changed(request, adverts=adverts[::-1].copy()), "not signed")
    refuse(client, changed(request, adverts=np.concatenate([adverts[:1], adverts[:1], adverts[2:]])), "not signed")
    refuse(client, changed(request, adverts=adverts[1:]), "must hold 'adverts'")
    stranger = RULES.parties(named(8)).clients["node/3"].advertise(0)
    forged = adverts.copy()
    forged[:] = stranger
    refuse(client, changed(request, adverts=forged), "not signed")
    client.answer(request)  # and the good ones are still taken


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (named(8)[1:], "does not list this client"),
        ([*named(8), "node/0"], "twice"),
        ([*named(8), "mallory"], "not known here"),
        (named(3), "minimum is 4"),
        (named(1), r"at least 2|minimum"),
        (["node/0", ""], "twice, or none"),
    ],
)
def test_a_list_of_clients_that_is_wrong_is_refused(names: list[str], words: str) -> None:
    parties, requests = until("share")
    refuse(
        parties.clients["node/0"], changed(requests["node/0"], names=wire.as_array("\n".join(names).encode())), words
    )


def test_adverts_of_another_run_or_another_epoch_are_refused() -> None:
    rules, source = SecAgg(minimum=4, renew=1), np.random.default_rng(3)
    here = rules.parties(named(8), b"here")
    there = SecAgg(minimum=4, renew=1).parties(named(8), b"there")
    for name, client in there.clients.items():  # the same people, so that only the run differs
        client._identity, client._trusted = here.clients[name]._identity, here.trusted
    _, requests = until("share", here, 0)
    client = here.clients["node/0"]
    roster = rules.roster(b"here", 0, join(named(8)))
    near = [roster.ring.names[place] for place in roster.around(roster.ring.place["node/0"])]
    foreign = np.stack([there.clients[name].advertise(0) for name in near])
    refuse(client, changed(requests["node/0"], adverts=foreign), "epoch 0 of this run")
    old = requests["node/0"].arrays["adverts"]
    here.server.start(1, named(8), SIZE)
    for name, request in here.server.requests().items():
        here.server.receive(name, here.clients[name].answer(request))
    here.server.close()
    request = here.server.requests()["node/0"]
    refuse(client, changed(request, adverts=old[source.permutation(7)]), "epoch 1 of this run")


# ---- shares


@given(st.integers(0, 6), st.integers(0, wire.SEALED - 1), st.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_a_share_with_any_flipped_bit_is_refused(slot: int, byte: int, bit: int) -> None:
    parties, requests = until("masked")
    sealed = requests["node/0"].arrays["sealed"].copy()
    sealed[slot, byte] ^= 1 << bit
    refuse(parties.clients["node/0"], changed(requests["node/0"], sealed=sealed), "was changed")


def test_shares_for_somebody_else_from_somebody_else_or_of_an_earlier_round_are_refused() -> None:
    parties, old = until("masked")
    finish(parties)
    parties, requests = until("masked", parties, 1)
    client, request = parties.clients["node/0"], requests["node/0"]
    refuse(client, changed(request, sealed=old["node/0"].arrays["sealed"]), "was changed")
    refuse(client, changed(request, sealed=requests["node/1"].arrays["sealed"]), "was changed")
    refuse(client, changed(request, sealed=request.arrays["sealed"][::-1].copy()), "was changed")
    mirrored = parties.server._sealed[roster_of(client).ring.place["node/0"]]  # its own shares sent back to it
    refuse(client, changed(request, sealed=mirrored.copy()), "was changed")
    assert np.array_equal(finish(parties), 8 * vector())


def test_a_nonce_or_a_list_of_clients_told_differently_to_two_clients_breaks_their_shares() -> None:
    parties, requests = until("share")
    for name, request in requests.items():
        if name == "node/0":
            adverts = request.arrays["adverts"].copy()
            adverts[2, -1] ^= 1
            request = changed(request, adverts=adverts)
        parties.server.receive(name, parties.clients[name].answer(request))
    parties.server.close()
    refuse(parties.clients["node/0"], parties.server.requests()["node/0"], "was changed")


def test_a_client_does_not_upload_with_fewer_neighbours_than_the_threshold() -> None:
    parties, requests = until("masked")
    client, request = parties.clients["node/0"], requests["node/0"]
    few = np.zeros(7, np.uint8)
    few[: roster_of(client).threshold - 1] = 1
    refuse(client, changed(request, shared=few), "neighbours sent shares")
    refuse(client, changed(request, shared=np.full(7, 2, np.uint8)), "flags")


@pytest.mark.parametrize(
    "wrong", [np.zeros(SIZE, np.int64), np.zeros((1, SIZE), np.uint32), np.zeros(SIZE, np.float32)]
)
def test_only_a_flat_vector_of_uint32_is_masked(wrong: Array) -> None:
    parties, requests = until("masked")
    with pytest.raises(ProtocolError, match="uint32"):
        parties.clients["node/0"].answer(requests["node/0"], wrong)
    with pytest.raises(ProtocolError, match="no vector"):
        parties.clients["node/0"].answer(requests["node/0"])


def test_masking_leaves_the_callers_vector_as_it_was() -> None:
    parties, requests = until("masked")
    mine = vector()
    mine.flags.writeable = False
    out = parties.clients["node/0"].answer(requests["node/0"], mine).arrays["masked"]
    assert not np.array_equal(out, mine)
    assert np.array_equal(mine, vector())


# ---- survivors


def lists(client: Client, survivors: list[str], dropped: list[str]) -> Params:
    place = roster_of(client).ring.place
    out = {}
    for field, names in (("survivors", survivors), ("dropped", dropped)):
        marks = np.zeros(len(place), bool)
        marks[[place[name] for name in names]] = True
        out[field] = np.packbits(marks)
    return out


def test_nobody_reveals_both_secrets_of_a_client_that_is_listed_as_survivor_and_as_dropped() -> None:
    parties, requests = until("sign")
    for name, request in requests.items():
        client = parties.clients[name]
        refuse(client, changed(request, **lists(client, named(8), ["node/3"])), "both")


@pytest.mark.parametrize(
    ("survivors", "dropped", "words"),
    [
        (named(8)[1:], ["node/0"], "not listed as a survivor"),
        (named(8)[:-1], [], "do not match"),
        (named(3), named(8)[3:], "minimum"),
        (named(4), named(8)[4:], "would not hide"),
        ([], [], "not listed as a survivor"),
    ],
)
def test_survivors_that_would_expose_somebody_are_not_signed(
    survivors: list[str], dropped: list[str], words: str
) -> None:
    parties, requests = until("sign")
    client = parties.clients["node/0"]
    refuse(client, changed(requests["node/0"], **lists(client, survivors, dropped)), words)


def test_a_survivor_that_never_shared_is_refused() -> None:
    parties, requests = until("masked")
    client, request = parties.clients["node/0"], requests["node/0"]
    shared = np.ones(7, np.uint8)
    shared[0] = 0
    client.answer(changed(request, shared=shared), vector())
    with pytest.raises(ProtocolError, match="do not match"):
        client.sign(np.ones(8, bool), np.zeros(8, bool))


def test_marks_beyond_the_last_client_are_refused() -> None:
    rules = SecAgg(minimum=4)
    parties = rules.parties(named(7))
    parties.server.start(0, named(7), SIZE)
    while parties.server.stage != "sign":
        for name, request in parties.server.requests().items():
            parties.server.receive(name, parties.clients[name].answer(request, vector()))
        parties.server.close()
    request = parties.server.requests()["node/0"]
    survivors = request.arrays["survivors"] | np.uint8(1)
    refuse(parties.clients["node/0"], changed(request, survivors=survivors), "do not exist")


def test_other_lists_than_those_signed_open_nothing() -> None:
    parties, requests = until("unmask")
    client = parties.clients["node/0"]
    lie = lists(client, named(7), ["node/7"])
    refuse(client, changed(requests["node/0"], **lie), "not those that this client signed")


def test_a_server_that_tells_two_tales_gets_neither_secret_of_its_victim() -> None:
    """Half hears that node/7 survived, half that it dropped out; each client's tags are relayed as they are."""
    parties, requests = until("sign")
    server, tales = parties.server, {}
    for name, request in requests.items():
        client = parties.clients[name]
        tale = named(8) if name in ("node/7", "node/0", "node/1", "node/2") else named(7)
        tales[name] = lists(client, tale, [] if len(tale) == 8 else ["node/7"])
        server.receive(name, client.answer(changed(request, **tales[name])))
    server.close()
    for name, request in server.requests().items():
        client = parties.clients[name]
        state, place = client._round, roster_of(client).ring.place
        assert state is not None
        refuse(client, changed(request, **tales[name]), r"did not endorse|not a survivor")
        alike = [place[other] for other, tale in tales.items() if tale["dropped"][0] == tales[name]["dropped"][0]]
        endorsed = np.isin(state.around, [it for it in alike if it != place["node/7"] or name == "node/0"])
        refuse(client, changed(request, **tales[name], endorsed=endorsed.astype(np.uint8)), "endorsed the survivors")


@given(st.integers(4, 12), st.data())
@settings(max_examples=25, deadline=None)
def test_a_malicious_server_cannot_have_two_tales_endorsed(n: int, data: st.DataObject) -> None:
    """Some hear that the victim survived, others that it dropped out. Whoever colludes endorses both and gives both."""
    rules, names = SecAgg(minimum=2, against="malicious"), named(n)
    k, t = rules.shape(n)
    bad = set(data.draw(st.lists(st.sampled_from(names[1:]), max_size=1, unique=True)))  # ceil(0.05 n) = 1 of them
    believe = {name for name in names[1:] if name in bad or data.draw(st.booleans())}
    parties = rules.parties(names)
    server, held, tales = parties.server, {}, {}
    server.start(0, names, SIZE)
    while server.stage != "sign":
        for name, request in server.requests().items():
            server.receive(name, parties.clients[name].answer(request, vector()))
        server.close()
    survived, vanished = names, names[1:]
    for name in names:
        client = parties.clients[name]
        alive = name in believe or name == names[0]
        tales[name] = lists(client, survived if alive else vanished, [] if alive else names[:1])
        try:
            client.answer(changed(server.requests()[name], **tales[name]))
        except ProtocolError:  # too few are left in this tale: the client believes it no more
            continue
        held[name] = client
    gives_self, gives_pairs = set(bad), set(bad)
    for name in held.keys() - bad - {names[0]}:
        client, alive = held[name], name in believe
        state, roster = client._round, roster_of(client)
        assert state is not None and roster.threshold == t
        near = [roster.ring.names[place] for place in state.around]
        endorsers = [other for other in near if other in bad or tales[other]["dropped"][0] == tales[name]["dropped"][0]]
        endorsers = [other for other in endorsers if (alive or other != names[0]) and (other in held or other in bad)]
        statement = state.statement
        tags = np.zeros((k, keys.TAG), np.uint8)
        for slot, other in enumerate(near):
            if other in endorsers:
                tags[slot] = np.frombuffer(keys.survivor_tag(state.pairs[slot][2], other, statement), np.uint8)
        endorsed = np.isin(near, endorsers).astype(np.uint8)
        request = Request(wire.KIND + "unmask", 0, {**tales[name], "endorsed": endorsed, "tags": tags})
        try:
            client.answer(request)
        except ProtocolError:
            continue
        (gives_self if alive else gives_pairs).add(name)
    assert len(gives_self) < t or len(gives_pairs) < t


@given(st.integers(0, 6), st.integers(0, keys.TAG - 1), st.integers(0, 7))
@settings(max_examples=10, deadline=None)
def test_an_endorsement_with_any_flipped_bit_is_refused(slot: int, byte: int, bit: int) -> None:
    parties, requests = until("unmask")
    tags = requests["node/0"].arrays["tags"].copy()
    tags[slot, byte] ^= 1 << bit
    refuse(parties.clients["node/0"], changed(requests["node/0"], tags=tags), "did not endorse")


def test_endorsements_for_others_of_earlier_rounds_or_of_the_vanished_are_refused() -> None:
    parties, old = until("unmask")
    finish(parties)
    parties, requests = until("unmask", parties, 1, gone=1)
    client, request = parties.clients["node/5"], requests["node/5"]
    refuse(client, changed(request, tags=old["node/5"].arrays["tags"]), "did not endorse")
    refuse(client, changed(request, tags=requests["node/6"].arrays["tags"]), "did not endorse")
    refuse(client, changed(request, endorsed=np.ones(7, np.uint8)), "not a survivor")
    few = request.arrays["endorsed"].copy()
    few[np.flatnonzero(few)[: int(few.sum()) - roster_of(client).threshold + 1]] = 0
    refuse(client, changed(request, endorsed=few), "endorsed the survivors")
    assert np.array_equal(finish(parties), 7 * vector())


def test_of_each_neighbour_one_share_is_revealed_and_never_the_other() -> None:
    parties, requests = until("unmask", gone=2)
    client = parties.clients["node/5"]
    state, roster = client._round, roster_of(client)
    assert state is not None
    held = list(state.held)
    revealed = client.answer(requests["node/5"]).arrays["shares"]
    for slot, place in enumerate(state.around):
        own, pairs = held[slot][:33], held[slot][33:]
        expected, kept = (pairs, own) if roster.ring.names[place] in named(2) else (own, pairs)
        assert revealed[slot].tobytes() == expected
        assert kept not in revealed.tobytes()


# ---- order and rounds


def test_shares_are_revealed_once_and_a_finished_round_is_forgotten() -> None:
    parties, requests = until("unmask")
    client = parties.clients["node/0"]
    parties.server.receive("node/0", client.answer(requests["node/0"]))
    refuse(client, requests["node/0"], "no round is open")
    assert client._round is None


def test_an_uploaded_round_is_not_begun_again_nor_an_earlier_one() -> None:
    parties, requests = until("masked", round=5)
    parties.clients["node/0"].answer(requests["node/0"], vector())
    for stale in (5, 4, 0, -1):
        with pytest.raises(ProtocolError, match="cannot begin"):
            parties.clients["node/0"].advertise(stale)
    parties.clients["node/0"].advertise(6)


def test_a_second_upload_in_a_round_is_refused() -> None:
    parties, requests = until("masked")
    parties.clients["node/0"].answer(requests["node/0"], vector())
    refuse(parties.clients["node/0"], requests["node/0"], "out of order")


@pytest.mark.parametrize("stage", wire.STAGES[1:])
def test_messages_of_another_round_out_of_order_or_of_no_stage_are_refused(stage: str) -> None:
    parties, requests = until(stage)
    client, request = parties.clients["node/0"], requests["node/0"]
    refuse(client, Request(request.kind, 1, request.arrays), "of round 1 came in round 0")
    refuse(client, Request("train", 0, request.arrays), "no stage")
    for other in wire.STAGES[1:]:
        if other != stage:
            refuse(client, Request(wire.KIND + other, 0, request.arrays), "out of order")
    refuse(RULES.parties(named(8)).clients["node/0"], request, "no round is open")


@pytest.mark.parametrize("stage", wire.STAGES[1:])
def test_messages_of_wrong_shape_or_type_are_refused(stage: str) -> None:
    parties, requests = until(stage)
    client, request = parties.clients["node/0"], requests["node/0"]
    breaks: list[Callable[[Array], object]] = [
        lambda array: array[:-1],
        lambda array: np.concatenate([array, array[:1]]),
        lambda array: array.astype(np.int16),
        lambda array: array.tobytes(),
    ]
    for field, array in request.arrays.items():
        for wrong in breaks:
            with pytest.raises(ProtocolError):
                client.answer(Request(request.kind, 0, {**request.arrays, field: wrong(array)}), vector())  # type: ignore[dict-item]
        rest = {key: value for key, value in request.arrays.items() if key != field}
        with pytest.raises(ProtocolError):
            client.answer(Request(request.kind, 0, rest), vector())
    reply = client.answer(request, vector())  # none of this has harmed the round
    assert isinstance(reply, Reply)
    parties.server.receive("node/0", reply)
