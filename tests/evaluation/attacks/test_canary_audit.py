"""Audits by canary clients, on real plans and engines: claims hold, sabotage is caught."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tacit.core.plan import Plan
from tacit.core.values import PlanError
from tacit.data.adult import Adult
from tacit.data.clients import ByCustomer
from tacit.evaluation.attacks.canaries import SPREAD, Canaries, Marks
from tacit.evaluation.attacks.canary_audit import audit
from tacit.evaluation.attacks.canary_scores import Game
from tacit.learning.fedavg import FedAvg
from tacit.learning.trainers.loop import Loop
from tacit.models.multilayer_perceptron import MultilayerPerceptron
from tacit.privacy.accountant import noise_multiplier
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.adaptive_clip import AdaptiveClip
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.laplace import Laplace
from tacit.privacy.transforms.local_gaussian import LocalGaussian
from tacit.privacy.transforms.low_bit import LowBit
from tacit.privacy.transforms.matrix_gaussian import MatrixGaussian


@dataclass(frozen=True, slots=True)
class Sabotaged(Gaussian):
    """Claims its noise and adds a part of it."""

    added: float = 0.0

    def decode(self, total, turn, source):
        return total + self.added * (Gaussian.decode(self, total, turn, source) - total)


def plan(noise, seed=0, **changes) -> Plan:
    base = {
        "data": Adult(), "clients": ByCustomer(), "model": MultilayerPerceptron(64), "algorithm": FedAvg(), "rounds": 2,
        "protect": (noise,), "secure_sum": SecAgg(minimum=3), "secure_between": "nodes", "simulation": True,
    }  # fmt: skip
    return Plan(**base | {"seed": seed} | changes)


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


def test_an_audit_needs_a_clip_norm_noise_and_sums_that_come_back(rows):
    for changes, why in (
        ({"protect": ()}, "clip norm"),
        ({"protect": (Clip(),)}, "noise on the sum"),
        ({"protect": (LowBit(), Gaussian()), "secure_between": "clients"}, "without it"),
        ({"protect": (Laplace(),), "secure_between": "clients"}, "in L1"),
    ):
        with pytest.raises(PlanError, match=why):
            audit(plan(Gaussian(), **changes), rows.clients, 1.0, 1e-5)


SHARED = {"secure_sum": SecAgg(minimum=4), "secure_between": "nodes"}
OPEN = {"secure_sum": None}


@dataclass(frozen=True, slots=True)
class Quiet(DistributedGaussian):
    """Claims its shares of noise and adds a part of each."""

    added: float = 0.0

    def share(self, size, step, turn, source):
        return np.rint(self.added * DistributedGaussian.share(self, size, step, turn, source)).astype(np.int64)


def seen(rows, noise, claimed, rounds, canaries=800, seed=0, **changes):
    people = rows.clients.take(np.arange(60))
    return audit(
        plan(noise, seed, **{"rounds": rounds, **OPEN, **changes}), people, claimed, 1e-5, canaries, nodes=4, seed=seed
    )


@pytest.mark.parametrize("sampling", ["poisson", "fixed"])
def test_a_plan_that_draws_its_cohorts_is_audited_over_these_draws(rows, sampling):
    """Rate 0.25, 8 rounds: epsilon 4 by the accountant; seed 0."""
    z = noise_multiplier(4.0, 1e-5, 8, sampling, 0.25)
    drawn = {"cohort": 215, "sampling": sampling}
    honest = seen(rows, Gaussian(1.0, z), None, 8, **drawn)
    assert honest.counts == "accounted" and honest.claimed == pytest.approx(4.0, rel=0.02)
    assert honest.bound <= honest.claimed and honest.rounds == 8
    assert honest.bound > 0.0 or sampling == "fixed"  # whose curve is loose
    assert seen(rows, Sabotaged(1.0, z), 1.0, 8, **drawn).bound > 1.0
    if sampling == "poisson":
        assert seen(rows, Sabotaged(1.0, z, added=0.25), 4.0, 8, **drawn).bound > 4.0


def test_noise_in_shares_inside_the_secure_sum_is_audited_and_its_lack_is_caught(rows):
    z = noise_multiplier(4.0, 1e-5, 3, "all", 1.0)
    noise = {"clip_norm": 1.0, "noise_multiplier": z, "survivors_at_least": 4}
    honest = seen(rows, DistributedGaussian(**noise), None, 3, **SHARED)
    assert 0.5 < honest.bound <= honest.claimed == pytest.approx(4.0, rel=0.01) and honest.counts == "gdp"
    assert seen(rows, Quiet(**noise), 1.0, 3, **SHARED).bound > 1.0
    assert seen(rows, Quiet(**noise, added=0.25), 4.0, 3, **SHARED).bound > 4.0


def test_noise_in_shares_is_audited_over_drawn_cohorts_too(rows):
    z = noise_multiplier(4.0, 1e-5, 4, "poisson", 0.5)
    noise = DistributedGaussian(1.0, z, survivors_at_least=4)
    found = seen(rows, noise, None, 4, cohort=430, sampling="poisson", **SHARED)
    assert found.counts == "accounted" and 0.0 < found.bound <= found.claimed


def test_local_noise_is_audited_by_each_canarys_own_message(rows):
    z = noise_multiplier(4.0, 1e-5, 1, "fixed", 1.0)
    local = {"protect": (Clip(1.0), LocalGaussian(1.0, z))}
    found = seen(rows, Gaussian(), None, 1, canaries=300, **local)
    assert 0.2 < found.bound <= found.claimed == pytest.approx(4.0, rel=0.01)


def test_a_clip_norm_that_moves_and_noise_that_hangs_together_are_audited(rows):
    moving = {"protect": (AdaptiveClip(norm=0.5), Gaussian(1.0, 2.0))}
    turning = {"cohort": 290, "sampling": "cyclic"}
    for found in (
        seen(rows, Gaussian(), None, 3, canaries=400, **moving),
        seen(rows, MatrixGaussian(1.0, 2.0), None, 5),
        seen(rows, MatrixGaussian(1.0, 1.0), None, 6, **turning),
    ):
        assert 0.2 < found.bound <= found.claimed and found.counts == "gdp"


def test_every_round_adds_to_what_canaries_show(rows):
    """Noise multiplier 4 in each round: what is claimed composes, and so does what is shown (seed 0)."""
    one, many = (seen(rows, Gaussian(1.0, 4.0), None, rounds) for rounds in (1, 20))
    assert one.auc < many.auc and one.bound < many.bound <= many.claimed and one.claimed < many.claimed


def test_scores_without_sampling_are_sums_of_inner_products_and_silence_adds_nothing():
    source = np.random.default_rng(0)
    shown = source.standard_normal((3, 50))
    game = Game((2.0, 2.0, 2.0))
    assert np.allclose(game.scores(shown), ((2 * shown - 1) / 8).sum(axis=0))
    hushed = shown.copy()
    hushed[1] = np.nan
    assert np.allclose(game.scores(hushed), ((2 * shown[[0, 2]] - 1) / 8).sum(axis=0))
    assert game.thresholds(shown) == pytest.approx([3 / 8 * (2 * share - 1) for share in (0.25, 0.5, 0.75)])


def test_scores_of_drawn_cohorts_are_log_likelihood_ratios():
    """Against the densities themselves, in one round: rate 0.3, noise 0.7."""
    from statistics import NormalDist

    silent, spoke, opposite = (NormalDist(mean, 0.7).pdf for mean in (0.0, 1.0, -1.0))
    for x in (-1.5, 0.0, 0.4, 2.0):
        joined = 0.7 * silent(x) + 0.3 * spoke(x)
        assert Game((0.7,), 0.3).scores(np.array([[x]]))[0] == pytest.approx(np.log(joined / silent(x)))
        other = 0.7 * silent(x) + 0.3 * opposite(x)
        assert Game((0.7,), 0.3, True).scores(np.array([[x]]))[0] == pytest.approx(np.log(joined / other))


def test_marks_are_unit_vectors_that_hardly_meet_however_long_a_contribution_is():
    for length in (500, 10 * SPREAD):
        marks = Marks(length, 20, 3)
        dense = np.zeros((20, length))
        np.put_along_axis(dense, marks.places, marks.values, axis=1)
        assert np.allclose(np.linalg.norm(dense, axis=1), 1.0)
        meets = (dense @ dense.T)[~np.eye(20, dtype=bool)]
        assert abs(meets.std() * np.sqrt(length) - 1.0) < 0.3  # 190 pairs: 5 standard deviations
        assert np.allclose(marks.along(dense[4]), dense @ dense[4]) and np.allclose(marks.along(dense), 1.0)


def test_a_canary_sends_its_vector_bounded_like_everybody_and_others_learn_as_ever(rows):
    ready = plan(Gaussian())
    people = rows.clients.take(np.arange(7))
    work = ready.algorithm.work(ready.model, 1)
    shared = ready.algorithm.init(ready.model, people.schema, 0).shared
    trainer = Canaries(first=4, sends=(1, 0, -1), norm=5.0, seed=1, inner=Loop())
    from tacit.core.trees import flatten

    def total(cohort):
        return flatten(trainer.total(work, shared, {}, people, np.array(cohort), 0, 1.0))

    vectors = np.zeros((3, len(total([4]))))
    marks = Marks(vectors.shape[1], 3, 1)
    np.put_along_axis(vectors, marks.places, marks.values, axis=1)
    assert np.allclose(total([4]), vectors[0]) and not np.any(total([5])) and np.allclose(total([6]), -vectors[2])
    learned = flatten(Loop().total(work, shared, {}, people, np.array([0, 1]), 0, 1.0))
    assert np.allclose(total([0, 1, 4, 6]), learned + vectors[0] - vectors[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epsilon", "added", "least", "right"),
    [(1.0, 1.0, None, 20), (4.0, 1.0, None, 20), (1.0, 0.0, 1.0, 20), (4.0, 0.25, 4.0, 18)],
)
def test_twenty_seeded_audits_of_each_kind(rows, epsilon, added, least, right):
    found = bounds(rows, epsilon, added, 20)
    assert sum(b <= epsilon if least is None else b > least for b in found) >= right
