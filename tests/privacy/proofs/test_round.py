"""Whole rounds: who lies about the norm is left out, who sends another vector than it committed to is caught."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import PlanError
from tacit.privacy.proofs import norm_bound, pedersen
from tacit.privacy.proofs.errors import OpeningError
from tacit.privacy.proofs.norm_bound import argue
from tacit.privacy.proofs.round import Contribution, ProvenSum, Sent, proven_sum
from tacit.privacy.quantise import Quantiser
from tacit.privacy.secure_sum.entropy import System
from tacit.privacy.secure_sum.opened import SecureSumAborted
from tacit.privacy.secure_sum.rules import Rules

RULE = ProvenSum(Rules(minimum=3), size=12, bound=1000)
NAMES = [f"hospital {n}" for n in range(6)]


def vectors(rule: ProvenSum = RULE, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {name: random.integers(-250, 250, rule.size).astype(np.int32).view(np.uint32) for name in NAMES}


def summed(given: dict[str, Any], names: Any) -> Any:
    return np.sum([given[name] for name in names], axis=0, dtype=np.uint32)


def contributed(rule: ProvenSum = RULE, round: int = 0) -> dict[str, Contribution]:
    return {name: rule.contribute(round, name, it) for name, it in vectors(rule).items()}


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6))
def test_the_honest_sum_comes_out_when_nobody_lies(seed: int) -> None:
    given = vectors(seed=seed)
    found = proven_sum(RULE, 0, given)
    assert np.array_equal(found.total, summed(given, NAMES))
    assert found.survivors == tuple(NAMES) and not found.excluded and not found.suspected and not found.dropped


def forger(rule: ProvenSum, name: str, values: Any, round: int = 0) -> Contribution:
    """Someone over the bound who runs the prover nonetheless, and sends what it committed to."""
    factor = pedersen.blinding(System())
    statement = rule.statement(round, name, pedersen.commit(values, factor))
    padded = values.view(np.int32).tolist() + [0] * (statement.padded - len(values))
    proof = argue(statement, padded, [0] * 4, factor, System()).to_bytes()
    return Contribution(Sent(statement.commitment, proof), np.concatenate([values, pedersen.limbs(factor)]))


def test_a_client_over_the_bound_is_excluded_and_named_and_the_honest_sum_still_comes_out() -> None:
    given = vectors()
    given[NAMES[1]] = np.full(RULE.size, 10**6, np.uint32)  # its own code refuses
    found = proven_sum(RULE, 0, given)
    honest = [name for name in NAMES if name != NAMES[1]]
    assert np.array_equal(found.total, summed(given, honest)) and list(found.excluded) == [NAMES[1]]
    assert "clip" in found.excluded[NAMES[1]]

    contributions = contributed()
    contributions[NAMES[1]] = forger(RULE, NAMES[1], given[NAMES[1]])  # it forges
    contributions[NAMES[4]] = replace(contributions[NAMES[4]], sent=Sent(contributions[NAMES[4]].sent.commitment))
    found = RULE.sum(0, contributions)
    honest.remove(NAMES[4])
    assert np.array_equal(found.total, summed(given, honest)) and set(found.excluded) == {NAMES[1], NAMES[4]}
    assert found.survivors == tuple(honest)
    assert "excluded" in repr(found) and NAMES[1] in repr(found)


@pytest.mark.parametrize("bound", [1000, 0], ids=["with norms", "without"])
@pytest.mark.parametrize("place", [0, 11, 12, 27], ids=["first value", "last value", "first limb", "last limb"])
def test_a_client_that_commits_to_one_vector_and_sends_another_is_caught(bound: int, place: int) -> None:
    rule = replace(RULE, bound=bound)
    contributions = contributed(rule)
    upload = contributions[NAMES[2]].upload.copy()
    upload[place:][:1] += np.uint32(1)
    contributions[NAMES[2]] = replace(contributions[NAMES[2]], upload=upload)
    with pytest.raises(OpeningError, match="another vector than it had committed to"):
        rule.sum(0, contributions)


def test_a_proof_replayed_by_another_client_or_in_another_round_is_excluded() -> None:
    contributions = contributed()
    contributions[NAMES[0]] = contributions[NAMES[5]]
    contributions[NAMES[1]] = RULE.contribute(7, NAMES[1], vectors()[NAMES[1]])
    contributions[NAMES[2]] = replace(RULE, run=b"another run").contribute(0, NAMES[2], vectors()[NAMES[2]])
    found = RULE.sum(0, contributions)
    assert sorted(found.excluded) == NAMES[:3]
    assert np.array_equal(found.total, summed(vectors(), NAMES[3:]))


def test_with_groups_a_liar_costs_its_group_and_the_others_are_summed() -> None:
    rule = replace(RULE, groups=2)
    contributions = contributed(rule)
    contributions[NAMES[3]].upload[0:][:1] += np.uint32(5)
    found = rule.sum(0, contributions)
    assert NAMES[3] in found.suspected and len(found.suspected) == 3
    assert np.array_equal(found.total, summed(vectors(), found.survivors)) and len(found.survivors) == 3
    for name in NAMES:
        contributions[name].upload[0:][:1] += np.uint32(1)
    with pytest.raises(OpeningError):
        rule.sum(0, contributions)


def test_dropouts_are_survived_and_their_commitments_left_out_of_the_comparison() -> None:
    rule = replace(RULE, rules=Rules(minimum=3, dropout=0.4, threshold=3))
    found = rule.sum(0, contributed(rule), {NAMES[0]: "masked", NAMES[5]: "unmask"})
    assert found.dropped == (NAMES[0],)
    assert np.array_equal(found.total, summed(vectors(), NAMES[1:]))


def test_too_few_clients_after_exclusion_open_nothing() -> None:
    rule = replace(RULE, rules=Rules(minimum=6))
    contributions = contributed(rule)
    contributions[NAMES[0]] = replace(contributions[NAMES[0]], sent=Sent(b"no point", b"no proof"))
    with pytest.raises(SecureSumAborted, match=NAMES[0]):
        rule.sum(0, contributions)


def test_groups_whose_sums_together_overflow_are_refused() -> None:
    rule = ProvenSum(Rules(minimum=3), size=1, groups=2)
    contributions = {name: rule.contribute(0, name, np.array([2**29], np.uint32)) for name in NAMES}
    with pytest.raises(OpeningError, match="31 bits"):
        rule.sum(0, contributions)


def test_quantised_updates_at_the_clip_pass_and_their_mean_is_right() -> None:
    random, quantiser = np.random.default_rng(2), Quantiser(1.0, len(NAMES))
    rule = ProvenSum(Rules(minimum=3), 12, norm_bound.steps_of(quantiser, 1.0, 12))
    real = {name: random.normal(size=12) for name in NAMES}
    real = {name: it / np.linalg.norm(it) for name, it in real.items()}
    found = proven_sum(rule, 0, {name: quantiser.encode(it, random) for name, it in real.items()})
    assert len(found.survivors) == 6
    assert np.allclose(quantiser.decode(found.total, 6), sum(real.values()), atol=6 * quantiser.steps[0])


def test_secrets_do_not_show_in_a_contribution() -> None:
    it = RULE.contribute(0, NAMES[0], vectors()[NAMES[0]])
    assert "upload" not in repr(it)


def test_parts_that_contradict_each_other_are_refused() -> None:
    for wrong in ({"size": 0}, {"size": 10**6}, {"groups": 0}, {"rules": Rules(groups=2)}, {"bound": 2**40}):
        with pytest.raises(PlanError):
            replace(RULE, **wrong)
    with pytest.raises(PlanError):
        ProvenSum(size=100_000, bound=5)


@pytest.mark.slow
def test_a_sum_of_a_hundred_thousand_values_is_compared() -> None:
    rule = ProvenSum(Rules(minimum=3), size=100_000)
    contributions = contributed(rule)
    assert np.array_equal(rule.sum(0, contributions).total, summed(vectors(rule), NAMES))
    contributions[NAMES[0]].upload[77_777:][:1] += np.uint32(1)
    with pytest.raises(OpeningError):
        rule.sum(1, contributions)
