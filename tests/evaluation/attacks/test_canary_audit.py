"""Audits by canary clients, on real plans and engines: claims hold, sabotage is caught."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from tacit.core.plan import Plan
from tacit.core.values import PlanError
from tacit.data.adult import Adult
from tacit.data.clients import ByCustomer
from tacit.evaluation.attacks.canaries import Canaries, vectors
from tacit.evaluation.attacks.canary_audit import audit
from tacit.learning.fedavg import FedAvg
from tacit.learning.trainers.loop import Loop
from tacit.models.multilayer_perceptron import MultilayerPerceptron
from tacit.privacy.accountant import noise_multiplier
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.gaussian import Gaussian


@dataclass(frozen=True, slots=True)
class Sabotaged(Gaussian):
    """Claims its noise and adds a part of it."""

    added: float = 0.0

    def decode(self, total, turn, source):
        return total + self.added * (Gaussian.decode(self, total, turn, source) - total)


def plan(noise, seed=0, **changes) -> Plan:
    base = Plan(
        data=Adult(), clients=ByCustomer(), model=MultilayerPerceptron(64), algorithm=FedAvg(), rounds=2,
        protect=(noise,), secure_sum=SecAgg(minimum=3), secure_between="nodes", simulation=True, seed=seed,
    )  # fmt: skip
    return replace(base, **changes)


def bounds(rows, epsilon, added, seeds) -> list[float]:
    z = noise_multiplier(epsilon, 1e-5, 2, "all", 1.0)
    noise = Gaussian(1.0, z) if added == 1.0 else Sabotaged(1.0, z, added=added)
    people = rows.clients.take(np.arange(60))
    return [audit(plan(noise, s), people, epsilon, 1e-5, nodes=3, seed=s, canaries=800).bound for s in range(seeds)]


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_an_honest_training_stays_below_what_it_claims(rows, epsilon):
    found = bounds(rows, epsilon, 1.0, 4)
    assert max(found) <= epsilon
    if epsilon == 4.0:
        assert min(found) > 0.5  # an audit that finds nothing would hold too


def test_noise_that_is_off_is_caught(rows):
    assert min(bounds(rows, 1.0, 0.0, 3)) > 1.0


def test_noise_that_is_four_times_too_small_is_caught(rows):
    assert min(bounds(rows, 4.0, 0.25, 3)) > 4.0


def test_the_accountant_states_the_claim_where_none_is_given(rows):
    z = noise_multiplier(2.0, 1e-5, 2, "all", 1.0)
    found = audit(plan(Gaussian(1.0, z)), rows.clients.take(np.arange(30)), None, 1e-5, nodes=3, canaries=200)
    assert found.claimed == pytest.approx(2.0, rel=0.01) and found.holds
    assert found.summary()["canaries"] == 200 and found.clients == 30


def test_an_audit_needs_a_clip_norm_and_everybody_in_each_round(rows):
    with pytest.raises(PlanError, match="clip norm"):
        audit(plan(Gaussian(), protect=()), rows.clients, 1.0, 1e-5)
    with pytest.raises(PlanError, match="cohort = 0"):
        audit(plan(Gaussian(), cohort=10, sampling="poisson"), rows.clients, 1.0, 1e-5)


def test_a_canary_sends_its_vector_bounded_like_everybody_and_others_learn_as_ever(rows):
    ready = plan(Gaussian())
    people = rows.clients.take(np.arange(6))
    work = ready.algorithm.work(ready.model, 1)
    shared = ready.algorithm.init(ready.model, people.schema, 0).shared
    trainer = Canaries(first=4, drawn=3, marks=(2, 0), norm=5.0, seed=1, inner=Loop())
    got = trainer.total(work, shared, {}, people, np.array([4]), 0, 1.0)
    from tacit.core.trees import flatten

    assert np.allclose(flatten(got), vectors(len(flatten(got)), 3, 1)[2])
    both = trainer.total(work, shared, {}, people, np.array([0, 1, 5]), 0, 1.0)
    learned = Loop().total(work, shared, {}, people, np.array([0, 1]), 0, 1.0)
    assert np.allclose(flatten(both), flatten(learned) + vectors(len(flatten(got)), 3, 1)[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epsilon", "added", "least", "right"),
    [(1.0, 1.0, None, 20), (4.0, 1.0, None, 20), (1.0, 0.0, 1.0, 20), (4.0, 0.25, 4.0, 18)],
)
def test_twenty_seeded_audits_of_each_kind(rows, epsilon, added, least, right):
    found = bounds(rows, epsilon, added, 20)
    assert sum(b <= epsilon if least is None else b > least for b in found) >= right
