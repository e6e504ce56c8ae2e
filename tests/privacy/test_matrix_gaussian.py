"""Correlated noise in a plan: what is released, what it costs, and who sees what the server keeps of it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tacit.core.plan import Plan
from tacit.core.values import PlanError, Turn
from tacit.data.clients import ByCustomer
from tacit.data.storefront import Storefront
from tacit.learning.fedavg import FedAvg
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.privacy import grid_noise
from tacit.privacy.accountant import noise_multiplier, spent
from tacit.privacy.calibrate import calibrate, sampling_of
from tacit.privacy.participation import block, blocks, expected
from tacit.privacy.randomness import secure, simulated
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.matrix_gaussian import MatrixGaussian

SHAPES = [("banded", 1, 1), ("banded", 4, 4), ("banded", 8, 2), ("banded", 0, 6), ("tree", 0, 1), ("tree", 0, 3)]
EVERY = pytest.mark.parametrize(("kind", "bands", "separation"), SHAPES)


def mechanism(kind: str, bands: int, **changes: Any) -> MatrixGaussian:
    return replace(MatrixGaussian(factorisation=kind, bands=bands), **changes)


def released(made: MatrixGaussian, sums: np.ndarray, separation: int, *seed: object) -> np.ndarray:
    """(rounds, values) what the server releases of a training with these sums."""
    hidden: Any = {}
    out = []
    for number, total in enumerate(sums, 1):
        turn = Turn(number, len(sums), sums.shape[1], separation=separation)
        noisy, hidden = made.decode_with(total, hidden, turn, simulated(*seed, number))
        out.append(noisy)
    return np.array(out)


def plan(**changes: Any) -> Plan:
    """60 rounds in which 1,000 customers take turns by the hundred, but for `changes`."""
    parts: dict[str, Any] = {
        "data": Storefront(),
        "clients": ByCustomer(),
        "model": MatrixFactorisation(dim=4),
        "algorithm": FedAvg(),
        "rounds": 60,
        "cohort": 100,
        "sampling": "cyclic",
        "protect": (MatrixGaussian(noise_multiplier=0.0, epsilon=2.0),),
    }
    return Plan(**(parts | changes))


@EVERY
def test_the_noise_of_all_rounds_times_the_factor_matrix_is_independent_normal_noise(
    kind: str, bands: int, separation: int
) -> None:
    """Mean, Kolmogorov-Smirnov and all covariances of 12 rounds of 4,000 values, seed fixed; false alarm 1e-6."""
    made = mechanism(kind, bands, clip_norm=0.25, noise_multiplier=1.6)
    noise = released(made, np.zeros((12, 4000)), separation, "gaussian", kind, bands) / 0.4
    factor = made.factor(Turn(rounds=12, separation=separation))
    fresh = factor.matrix(12) @ noise
    assert stats.kstest(fresh.ravel(), "norm").pvalue > 1e-6
    assert np.abs(np.cov(fresh) - np.eye(12)).max() < 6.0 * math.sqrt(2.0 / 4000)
    inverse = np.linalg.inv(factor.matrix(12))
    expected = inverse @ inverse.T  # what the covariance of the released noise is to be
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((noise @ noise.T / 4000 - expected) / scale).max() < 6.0 * math.sqrt(2.0 / 4000)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(1e-8, 1e8))
@settings(max_examples=50, deadline=None)
def test_one_client_moves_the_sum_before_noise_by_at_most_clip_norm_in_l2(
    seed: int, clip_norm: float, scale: float
) -> None:
    x = np.random.default_rng(seed).standard_normal(30) * scale
    encoded = MatrixGaussian(clip_norm=clip_norm).encode(x, Turn(), secure())
    assert np.linalg.norm(encoded) <= clip_norm * (1.0 + 1e-9)


@EVERY
def test_the_rounds_cost_what_one_release_of_the_whole_factored_training_costs(
    kind: str, bands: int, separation: int
) -> None:
    """To the 2^-13 that rounding adds to each round."""
    made = mechanism(kind, bands, noise_multiplier=5.0)
    for rounds in (1, 7, 40):
        turns = [Turn(round, rounds, separation=separation) for round in range(1, rounds + 1)]
        events = [made.event("all", 1.0, turn) for turn in turns]
        squared = math.fsum(made.factor(turns[0]).costs(rounds, separation))
        whole = Gaussian(noise_multiplier=5.0 / math.sqrt(squared)).event("all", 1.0, Turn())
        paid, due = spent([e for e in events if e], 1e-5).epsilon, spent([whole] if whole else [], 1e-5).epsilon
        assert due * (1.0 - 1e-12) <= paid <= due * (1.0 + 2e-3)


@EVERY
@pytest.mark.parametrize("stop", [1, 5, 23])
def test_a_training_that_stops_early_has_paid_for_the_rounds_that_it_has_released(
    kind: str, bands: int, separation: int, stop: int
) -> None:
    """Oracle: the largest squared norm, over beginnings, of the factor's first rows on a client's rounds."""
    made = mechanism(kind, bands, noise_multiplier=3.0)
    turns = [Turn(round, 40, separation=separation) for round in range(1, stop + 1)]
    events = [made.event("all", 1.0, turn) for turn in turns]
    rows = made.factor(turns[0]).matrix(40)[:stop]
    due = max(float(np.sum(np.square(rows[:, first::separation].sum(axis=1)))) for first in range(separation))
    paid = math.fsum((3.0 / event.noise_multiplier) ** 2 for event in events if event)
    assert due * (1.0 - 1e-9) <= paid <= due * 1.01


@pytest.mark.parametrize(("kind", "bands"), [("banded", 4), ("tree", 0)])
def test_what_is_released_is_a_whole_number_of_steps_that_do_not_depend_on_the_data(kind: str, bands: int) -> None:
    made = mechanism(kind, bands, noise_multiplier=0.7)
    sums = np.random.default_rng(3).standard_normal((9, 50)) * math.pi
    steps = released(made, sums, 4, "grid") / grid_noise.step(1.0, 0.7, 50)
    np.testing.assert_array_equal(steps, np.rint(steps))


def test_the_sums_themselves_come_through_and_their_sum_has_less_noise_than_with_fresh_noise() -> None:
    sums = np.random.default_rng(4).standard_normal((60, 500))
    few = released(MatrixGaussian(noise_multiplier=1e-4), sums, 10, "few")
    np.testing.assert_allclose(few, sums, atol=1e-2)
    found = {}
    for bands in (0, 1):
        made = calibrate(plan(protect=(MatrixGaussian(noise_multiplier=0.0, epsilon=2.0, bands=bands),)), 1000).noise
        assert isinstance(made, MatrixGaussian)
        noise = np.cumsum(released(made, np.zeros((60, 500)), 10, "sum", bands), axis=0)
        found[bands] = float(np.sqrt(np.mean(np.square(noise))))
    assert found[0] < 0.6 * found[1]  # at the same epsilon


def test_a_plan_is_calibrated_to_its_epsilon_exactly_and_never_above() -> None:
    for protect in (MatrixGaussian(noise_multiplier=0.0, epsilon=2.0, bands=bands) for bands in (0, 1, 30)):
        ready = calibrate(plan(protect=(protect,)), 1000)
        made = ready.noise
        assert isinstance(made, MatrixGaussian)
        turns = [Turn(round, 60, separation=10) for round in range(1, 61)]
        events = [event for turn in turns if (event := made.event(*sampling_of(ready, 1000), turn))]
        assert spent(events, 1e-5).epsilon == pytest.approx(2.0, rel=1e-6)
        assert spent(events, 1e-5).epsilon <= 2.0


def test_known_answer_of_independent_noise_in_cycles() -> None:
    """60 rounds of ten blocks are six participations: the accountant's own answer for six rounds with everybody."""
    made = calibrate(plan(protect=(MatrixGaussian(noise_multiplier=0.0, epsilon=2.0, bands=1),)), 1000).noise
    assert isinstance(made, MatrixGaussian)
    assert made.noise_multiplier == pytest.approx(noise_multiplier(2.0, 1e-5, 6, "all", 1.0), rel=1e-6)


def test_blocks_of_a_cycle_hold_every_client_once_and_come_again_in_the_same_order() -> None:
    for clients, cohort in ((1000, 100), (943, 100), (7, 3), (7, 7), (7, 1)):
        cyclic = plan(cohort=cohort)
        count = blocks(cyclic, clients)
        assert count == -(-clients // cohort)
        parts = [block(cyclic, clients, round).tolist() for round in range(1, 2 * count + 1)]
        assert sorted(itertools.chain(*parts[:count])) == list(range(clients))
        assert parts[:count] == parts[count:]
        assert max(map(len, parts)) <= cohort and max(map(len, parts)) - min(map(len, parts)) <= 1
        assert abs(expected(cyclic, clients) - clients / count) <= 0.5
    assert block(plan(), 1000, 1).tolist() != block(plan(seed=1), 1000, 1).tolist() != list(range(100))


@pytest.mark.parametrize("sampling", ["poisson", "fixed"])
def test_correlated_noise_is_refused_beside_cohorts_that_are_drawn_by_chance(sampling: str) -> None:
    with pytest.raises(PlanError, match=f"not accounted for {sampling} cohorts"):
        plan(sampling=sampling)


def test_a_mechanism_that_counts_on_chance_is_refused_beside_cohorts_that_take_turns() -> None:
    with pytest.raises(PlanError, match="not accounted for cyclic cohorts"):
        plan(protect=(Gaussian(),))
    with pytest.raises(PlanError, match="cyclic cohorts need cohort"):
        plan(cohort=0)


@pytest.mark.parametrize(
    "wrong", [{"factorisation": "ring"}, {"bands": -1}, {"clip_norm": 0.0}, {"noise_multiplier": math.inf}]
)
def test_settings_that_could_not_protect_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="MatrixGaussian"):
        MatrixGaussian(**wrong)


def test_a_mechanism_without_a_multiplier_releases_nothing() -> None:
    with pytest.raises(ValueError, match="calibrate"):
        MatrixGaussian(noise_multiplier=0.0, epsilon=1.0).decode(np.zeros(3), Turn(), secure())


def test_noise_kept_for_another_number_of_values_is_forgotten() -> None:
    made, turn = MatrixGaussian(bands=4, noise_multiplier=1.0), Turn(2, 8, separation=4)
    kept = {"noise": np.ones((3, 5))}
    noisy, after = made.decode_with(np.zeros(7), kept, turn, simulated("other"))
    assert np.array_equal(noisy, made.decode(np.zeros(7), turn, simulated("other")))
    assert after["noise"].shape == (3, 7)
