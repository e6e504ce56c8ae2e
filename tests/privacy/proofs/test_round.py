"""Whole rounds: who lies about the norm is left out, who sends another vector than it committed to is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import PlanError, ProtocolError, Reply, Request
from tacit.privacy.proofs import norm_bound, pedersen
from tacit.privacy.proofs.errors import OpeningError, ProofError
from tacit.privacy.proofs.norm_bound import argue
from tacit.privacy.proofs.server import ProvenServer
from tacit.privacy.proofs.terms import Terms, added_bytes
from tacit.privacy.quantise import Quantiser
from tacit.privacy.secure_sum import wire
from tacit.privacy.secure_sum.entropy import System
from tacit.privacy.secure_sum.local import Parties
from tacit.privacy.secure_sum.opened import SecureSumAborted
from tacit.privacy.secure_sum.sum import SecAgg

SIZE, BOUND = 12, 1000
NORM, OPENING = (SecAgg(minimum=3, dropout=0.4, proof=proof) for proof in ("norm", "opening"))
NAMES = [f"hospital {n}" for n in range(5)]
TERMS = Terms("norm", SIZE, BOUND)


def vectors(size: int = SIZE, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {name: random.integers(-250, 250, size).astype(np.int32).view(np.uint32) for name in NAMES}


def summed(given: dict[str, Any], names: Any) -> Any:
    return np.sum([given[name] for name in names], axis=0, dtype=np.uint32)


@dataclass
class Liar:
    """A client that keeps to the protocol but for what `change` makes of its replies."""

    inner: Any
    change: Callable[[str, Reply], Reply]

    def agree(self, terms: Terms) -> None:
        self.inner.agree(terms)

    def answer(self, request: Request, vector: Any = None) -> Reply:
        return self.change(request.kind.removeprefix(wire.KIND), self.inner.answer(request, vector))


def lies(parties: Parties, name: str, at: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    inner = parties.clients[name]
    parties.clients[name] = Liar(inner, lambda stage, it: Reply(change(dict(it.arrays))) if stage == at else it)


def forged(values: Any, terms: Terms, round: int, name: str) -> dict[str, Any]:
    """What somebody says who is over the bound and runs the prover nonetheless."""
    factor = pedersen.blinding(System())
    statement = terms.statement(round, name, pedersen.commit(values, factor))
    padded = values.view(np.int32).tolist() + [0] * (statement.padded - len(values))
    proof = argue(statement, padded, [0] * 4, factor, System()).to_bytes()
    return {"commitment": wire.as_array(statement.commitment), "proof": wire.as_array(proof)}


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["norm", "opening"]), st.sampled_from(["semi-honest", "malicious"]))
def test_the_honest_sum_comes_out_when_nobody_lies(seed: int, proof: str, against: str) -> None:
    given = vectors(seed=seed)
    parties = SecAgg(minimum=3, proof=proof, against=against).parties(NAMES)
    for round in range(2):
        found = parties.sum(round, given, SIZE, bound=BOUND)
        assert np.array_equal(found.total, summed(given, NAMES))
        assert sorted(found.survivors) == NAMES and not parties.refused and not parties.server.excluded
        assert parties.server.checked == len(NAMES)


def test_a_party_over_the_bound_is_left_out_and_named_and_the_honest_sum_still_comes_out() -> None:
    given = vectors()
    given[NAMES[1]] = np.full(SIZE, 10**6, np.uint32)  # its own code refuses
    parties = NORM.parties(NAMES)
    found = parties.sum(0, given, SIZE, bound=BOUND)
    honest = [name for name in NAMES if name != NAMES[1]]
    assert np.array_equal(found.total, summed(given, honest)) and sorted(found.survivors) == honest
    assert list(parties.refused) == [NAMES[1]] and "clip" in parties.refused[NAMES[1]]

    parties = NORM.parties(NAMES)  # it forges
    terms = replace(TERMS, run=b"in process")
    lies(parties, NAMES[1], "commit", lambda _: forged(given[NAMES[1]], terms, 0, NAMES[1]))
    found = parties.sum(0, given | {NAMES[1]: given[NAMES[0]]}, SIZE, bound=BOUND)
    assert np.array_equal(found.total, summed(given, honest)) and sorted(found.survivors) == honest
    assert list(parties.server.excluded) == [NAMES[1]] and "does not hold" in parties.refused[NAMES[1]]


@pytest.mark.parametrize("rules", [NORM, OPENING], ids=["norm", "opening"])
@pytest.mark.parametrize("place", [0, 11, 12, 27], ids=["first value", "last value", "first limb", "last limb"])
def test_a_party_that_commits_to_one_vector_and_sends_another_is_caught(rules: SecAgg, place: int) -> None:
    def shifted(said: dict[str, Any]) -> dict[str, Any]:
        return {"masked": said["masked"] + (np.arange(SIZE + 16) == place).astype(np.uint32)}

    parties = rules.parties(NAMES)
    lies(parties, NAMES[2], "masked", shifted)
    with pytest.raises(OpeningError, match="another vector than it had committed to"):
        parties.sum(0, vectors(), SIZE, bound=BOUND)


def test_a_party_that_commits_to_what_another_committed_to_is_caught() -> None:
    """Without a proof of the norm nothing says who made a commitment; but who copies one cannot open it."""
    parties, seen = OPENING.parties(NAMES), {}
    lies(parties, NAMES[0], "commit", lambda said: seen.setdefault("first", said))
    lies(parties, NAMES[1], "commit", lambda said: seen.get("first", said))
    with pytest.raises(OpeningError):
        parties.sum(0, vectors(), SIZE)


def test_a_proof_replayed_by_another_party_or_in_another_round_run_or_plan_is_refused() -> None:
    values = vectors()[NAMES[0]]
    made = TERMS.seal(3, NAMES[0], values, System())
    TERMS.check(3, NAMES[0], made.commitment, made.proof)
    others = [
        (TERMS, 4, NAMES[0], 1),
        (TERMS, 3, NAMES[1], 1),
        (TERMS, 3, NAMES[0], 2),
        (replace(TERMS, run=b"another"), 3, NAMES[0], 1),
        (replace(TERMS, plan="another"), 3, NAMES[0], 1),
        (replace(TERMS, bound=BOUND + 1), 3, NAMES[0], 1),
        (replace(TERMS, size=SIZE + 1), 3, NAMES[0], 1),
    ]
    for terms, round, name, clients in others:
        with pytest.raises(ProofError):
            terms.check(round, name, made.commitment, made.proof, clients)
    parties, said = NORM.parties(NAMES), {}

    def heard(stage: str, reply: Reply) -> Reply:
        return Reply(said.setdefault("first", reply.arrays)) if stage == "commit" else reply  # its old one, for ever

    parties.clients[NAMES[4]] = Liar(parties.clients[NAMES[4]], heard)
    parties.sum(0, vectors(), SIZE, bound=BOUND)
    found = parties.sum(1, vectors(), SIZE, bound=BOUND)
    assert list(parties.server.excluded) == [NAMES[4]] and sorted(found.survivors) == NAMES[:4]
    assert np.array_equal(found.total, summed(vectors(), NAMES[:4]))


def test_who_is_left_out_has_sent_no_masked_vector() -> None:
    asked: list[str] = []
    parties = NORM.parties(NAMES)
    honest = parties.clients[NAMES[1]]
    parties.clients[NAMES[1]] = Asked(honest.answer, asked, honest.agree)
    lies(parties, NAMES[1], "commit", lambda said: said | {"proof": said["proof"][:-1]})
    parties.sum(0, vectors(), SIZE, bound=BOUND)
    assert asked == ["advertise", "share", "commit"]


@pytest.mark.parametrize("stage", ["advertise", "share", "commit", "masked", "sign", "unmask"])
@pytest.mark.parametrize("against", ["semi-honest", "malicious"])
def test_dropouts_at_any_stage_are_survived_and_their_commitments_left_out(stage: str, against: str) -> None:
    if (against, stage) == ("semi-honest", "sign"):
        return
    rules = SecAgg(minimum=3, dropout=0.2, colluding=0.0, threshold=3, proof="opening", against="semi-honest")
    rules = rules if against == "semi-honest" else replace(rules, against="malicious")
    parties = rules.parties(NAMES)
    found = parties.sum(0, vectors(), SIZE, {NAMES[0]: stage})
    gone = stage in ("advertise", "share", "commit", "masked")
    assert found.dropped == ((NAMES[0],) if gone else ())
    assert np.array_equal(found.total, summed(vectors(), NAMES[1:] if gone else NAMES))


def test_too_few_parties_after_exclusion_open_nothing() -> None:
    parties = replace(OPENING, minimum=5).parties(NAMES)
    lies(parties, NAMES[0], "commit", lambda said: said | {"commitment": np.zeros(48, np.uint8)})
    with pytest.raises(SecureSumAborted, match=f"nothing was opened; left out: {NAMES[0]}"):
        parties.sum(0, vectors(), SIZE)


def test_quantised_updates_at_the_clip_pass_and_their_mean_is_right() -> None:
    random, quantiser = np.random.default_rng(2), Quantiser(1.0, len(NAMES))
    real = {name: random.normal(size=SIZE) for name in NAMES}
    real = {name: it / np.linalg.norm(it) for name, it in real.items()}
    bound = norm_bound.steps_of(quantiser, 1.0, SIZE)
    parties = NORM.parties(NAMES)
    found = parties.sum(0, {name: quantiser.encode(it, random) for name, it in real.items()}, SIZE, bound=bound)
    assert len(found.survivors) == len(NAMES)
    assert np.allclose(
        quantiser.decode(found.total, len(NAMES)), sum(real.values()), atol=len(NAMES) * quantiser.steps[0]
    )


def test_stages_of_a_proven_sum_out_of_order_are_refused_at_both_ends() -> None:
    parties = OPENING.parties(NAMES)
    client = parties.clients[NAMES[0]]
    client.agree(Terms("opening", SIZE))
    for stage in ("commit", "masked"):
        with pytest.raises(ProtocolError):
            client.answer(Request(wire.KIND + stage, 0), vectors()[NAMES[0]])
    server: ProvenServer = parties.server
    with pytest.raises(ProtocolError, match="agree"):
        server.start(0, NAMES, SIZE)
    server.agree(Terms("opening", SIZE))
    server.start(0, NAMES, SIZE)
    with pytest.raises(ProtocolError):
        server.receive(NAMES[0], Reply({"commitment": np.zeros(48, np.uint8), "proof": np.zeros(0, np.uint8)}))


def test_a_party_commits_once_in_a_round() -> None:
    parties = OPENING.parties(NAMES)
    twice: list[type] = []
    inner = parties.clients[NAMES[0]]

    class Again:
        agree = inner.agree

        def answer(self, request: Request, vector: Any = None) -> Reply:
            reply: Reply = inner.answer(request, vector)
            if request.kind.endswith("commit"):
                with pytest.raises(ProtocolError, match="given already"):
                    inner.answer(request, vector)
                twice.append(Again)
            return reply

    parties.clients[NAMES[0]] = Again()
    assert len(parties.sum(0, vectors(), SIZE).survivors) == len(NAMES) and twice


def test_secrets_do_not_show_in_what_a_party_has_ready() -> None:
    made = TERMS.seal(0, NAMES[0], vectors()[NAMES[0]], System())
    assert "upload" not in repr(made)
    client = NORM.parties(NAMES).clients[NAMES[0]]
    assert repr(client) == f"Client({NAMES[0]!r})"


def test_bytes_of_a_round_are_those_that_are_said_beforehand() -> None:
    made = TERMS.seal(0, NAMES[0], vectors()[NAMES[0]], System())
    said = len(made.commitment) + len(made.proof) + made.upload.nbytes - 4 * SIZE
    assert added_bytes("norm", SIZE) == said and added_bytes("", SIZE) == 0
    assert added_bytes("opening", SIZE) == said - len(made.proof) == 112


def test_terms_out_of_range_are_refused_with_what_to_do_instead() -> None:
    with pytest.raises(PlanError, match=r"10,000 values, but a contribution of this plan has 10,001.*FedPer.*opening"):
        Terms("norm", 10_001)
    with pytest.raises(PlanError, match=r"100,000 values.*without proofs"):
        Terms("opening", 100_001)
    for wrong in ({"size": 0}, {"bound": 2**40}, {"bound": 0}, {"kind": "none"}):
        with pytest.raises(PlanError):
            replace(TERMS, **wrong)
    with pytest.raises(PlanError, match="proof must be one of"):
        SecAgg(proof="trust me")


@pytest.mark.slow
def test_a_sum_of_a_hundred_thousand_values_is_compared() -> None:
    parties, given = OPENING.parties(NAMES), vectors(100_000)
    assert np.array_equal(parties.sum(0, given, 100_000).total, summed(given, NAMES))
    lies(parties, NAMES[0], "masked", lambda said: {"masked": said["masked"] + np.uint32(1)})
    with pytest.raises(OpeningError):
        parties.sum(1, given, 100_000)


@pytest.mark.slow
def test_of_ten_thousand_values_who_is_over_the_norm_is_left_out() -> None:
    parties, given = NORM.parties(NAMES), vectors(10_000)
    bound = int(np.ceil(max(np.linalg.norm(it.view(np.int32).astype(float)) for it in given.values())))
    given[NAMES[3]] = given[NAMES[3]] * np.uint32(3)
    found = parties.sum(0, given, 10_000, bound=bound)
    assert list(parties.refused) == [NAMES[3]]
    assert np.array_equal(found.total, summed(given, [n for n in NAMES if n != NAMES[3]]))


@dataclass
class Asked:
    """A client that notes which stages it was asked for."""

    reply: Callable[..., Reply]
    asked: list[str]
    agree: Callable[[Terms], None]

    def answer(self, request: Request, vector: Any = None) -> Reply:
        self.asked.append(request.kind.removeprefix(wire.KIND))
        return self.reply(request, vector)
