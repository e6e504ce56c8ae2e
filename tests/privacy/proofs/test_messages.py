"""Commitments and proofs that nobody who keeps to the protocol would send: refused by name, and the round survives."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import ProtocolError, Reply, Request, VerificationError
from tacit.privacy.proofs.client import ProvenClient
from tacit.privacy.proofs.server import ProvenServer
from tacit.privacy.proofs.terms import Terms
from tacit.privacy.secure_sum import wire
from tacit.privacy.secure_sum.local import Parties
from tacit.privacy.secure_sum.sum import SecAgg

SIZE, NAMES = 8, ["a", "b", "c", "d"]
VALUES = np.arange(SIZE, dtype=np.uint32)
RULES = SecAgg(minimum=3, dropout=0.3, proof="norm", against="semi-honest")
TERMS = Terms("norm", SIZE, 100)
ODD = [None, 0, -1, "text", b"\xff", 1.5, [], {}, np.zeros((2, 24), np.uint8), np.zeros(48), np.zeros(48, bool)]


def at_commit() -> tuple[Parties, dict[str, Request]]:
    """A round in which everybody owes a commitment."""
    parties = RULES.parties(NAMES)
    for party in (parties.server, *parties.clients.values()):
        party.agree(TERMS)
    parties.server.start(0, NAMES, SIZE)
    for _ in range(2):
        for name, request in parties.server.requests().items():
            parties.server.receive(name, parties.clients[name].answer(request))
        parties.server.close()
    assert parties.server.stage == "commit"
    return parties, parties.server.requests()


@lru_cache(maxsize=1)
def honest() -> tuple[Parties, dict[str, Reply]]:
    """The same round for all tests, and everybody's honest message in it. Nothing closes its stage."""
    parties, requests = at_commit()
    return parties, {name: parties.clients[name].answer(request, VALUES) for name, request in requests.items()}


def fresh() -> ProvenServer:
    server: ProvenServer = honest()[0].server
    server._sent.clear()
    server.excluded.clear()
    return server


def finished(parties: Parties, said: dict[str, Reply]) -> Any:
    """The rest of the round, with these messages in the stage "commit"."""
    server = parties.server
    for name, reply in said.items():
        try:
            server.receive(name, reply)
        except (ProtocolError, VerificationError):
            assert name in server.excluded
    server.close()
    while server.stage != "finish":
        for name, request in server.requests().items():
            server.receive(name, parties.clients[name].answer(request))
        server.close()
    return server.finish()


def refused(reply: Reply, sender: str = "d") -> None:
    server = fresh()
    with pytest.raises((ProtocolError, VerificationError)) as caught:
        server.receive(sender, reply)
    assert sender not in server._sent and str(caught.value) == server.excluded[sender]
    for name in ("a", "b"):
        server._sent[name] = b"held"
    assert server._sum.stage == "masked", "the round goes on"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["commitment", "proof"]), st.integers(0, 2**31), st.integers(0, 7))
def test_a_flipped_bit_in_a_commitment_or_proof_is_refused(part: str, at: int, bit: int) -> None:
    arrays = dict(honest()[1]["d"].arrays)
    changed = arrays[part].copy()
    changed[at % len(changed)] ^= np.uint8(1 << bit)
    refused(Reply(arrays | {part: changed}))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["commitment", "proof"]), st.floats(0.0, 1.0), st.binary(max_size=3))
def test_a_truncated_or_lengthened_commitment_or_proof_is_refused(part: str, share: float, more: bytes) -> None:
    arrays = dict(honest()[1]["d"].arrays)
    whole = arrays[part].tobytes()
    cut = whole + more + b"\0" if share == 1.0 else whole[: int(share * len(whole))]
    refused(Reply(arrays | {part: wire.as_array(cut)}))


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=48, max_size=48), st.one_of(st.binary(max_size=200), st.sampled_from([b"whole"])))
def test_random_bytes_are_no_commitment_and_no_proof(commitment: bytes, proof: bytes) -> None:
    good = honest()[1]["d"].arrays["proof"]
    refused(
        Reply({"commitment": wire.as_array(commitment), "proof": good if proof == b"whole" else wire.as_array(proof)})
    )


@pytest.mark.parametrize("part", ["commitment", "proof"])
@pytest.mark.parametrize("odd", range(len(ODD) + 1))
def test_what_is_no_array_of_bytes_is_refused(part: str, odd: int) -> None:
    arrays: dict[str, Any] = dict(honest()[1]["d"].arrays)
    refused(Reply({**arrays, part: ODD[odd]} if odd < len(ODD) else {k: v for k, v in arrays.items() if k != part}))


@settings(max_examples=15, deadline=None)
@given(st.permutations(NAMES))
def test_a_message_of_another_party_is_refused(order: list[str]) -> None:
    said = honest()[1]
    for name, other in zip(NAMES, order, strict=True):
        if name != other:
            refused(said[other], name)
    refused(Reply({"commitment": said["a"].arrays["commitment"], "proof": said["b"].arrays["proof"]}), "b")


def test_a_malformed_commitment_or_proof_is_refused_by_name_and_the_round_survives() -> None:
    parties, requests = at_commit()
    said = {name: parties.clients[name].answer(request, VALUES) for name, request in requests.items()}
    said["d"] = Reply({"commitment": said["d"].arrays["commitment"], "proof": np.zeros(3, np.uint8)})
    found = finished(parties, said)
    assert sorted(found.survivors) == ["a", "b", "c"] and np.array_equal(found.total, 3 * VALUES)
    assert "bytes is needed" in parties.server.excluded["d"] and parties.server.checked == 4


def test_a_good_message_after_a_refused_one_still_counts_and_a_second_good_one_does_not() -> None:
    parties, requests = at_commit()
    said = {name: parties.clients[name].answer(request, VALUES) for name, request in requests.items()}
    with pytest.raises(ProtocolError):
        parties.server.receive("d", Reply())
    for name, reply in said.items():
        parties.server.receive(name, reply)
    assert not parties.server.excluded
    for sender in ("a", "a stranger"):
        with pytest.raises(ProtocolError, match="not awaited"):
            parties.server.receive(sender, said["a"])
    assert len(finished(parties, {}).survivors) == 4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*wire.STAGES, "commit", "", "train"]), st.integers(-1, 2)), max_size=6))
def test_messages_of_a_server_out_of_turn_are_refused_by_a_proven_party(messages: list[tuple[str, int]]) -> None:
    client: ProvenClient = RULES.parties(NAMES).clients["a"]
    client.agree(TERMS)
    for stage, round in messages:
        try:
            reply = client.answer(Request(wire.KIND + stage, round), VALUES)
        except ProtocolError:
            continue
        assert stage == "advertise" and set(reply.arrays) == {"advert"}
    for odd in (None, 7, b"secure-sum/commit"):
        with pytest.raises(ProtocolError):
            client.answer(Request(odd, 0), VALUES)  # type: ignore[arg-type]
