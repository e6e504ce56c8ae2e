"""Factors of correlated noise: what the noise is, what it costs, and that it is worth it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from tacit.privacy.matrix_noise import Factor, best_bands
from tacit.privacy.randomness import simulated

FACTORS = [Factor("banded", 1), Factor("banded", 3), Factor("banded", 8), Factor("banded", 12), Factor("tree")]
EVERY = pytest.mark.parametrize("factor", FACTORS, ids=[f"{f.kind}-{f.bands}" for f in FACTORS])


def noises(factor: Factor, rounds: int, values: int) -> np.ndarray:
    """(rounds, values) noise of every round, from independent normal noise of a fixed seed."""
    memory, out = np.zeros((factor.rows(rounds), values)), []
    for round in range(1, rounds + 1):
        fresh = simulated("matrix", factor.kind, factor.bands, round).normal(values)
        noise = fresh - factor.back(memory, round)
        memory = factor.kept(fresh, noise, memory, round)
        assert memory.shape == (factor.rows(rounds), values)
        out.append(noise)
    return np.array(out)


@EVERY
def test_the_noise_times_the_factor_matrix_is_independent_normal_noise(factor: Factor) -> None:
    """Kolmogorov-Smirnov and correlations of 12 rounds of 5,000 values, seed fixed; false alarm 1e-6."""
    fresh = factor.matrix(12) @ noises(factor, 12, 5000)
    assert stats.kstest(fresh.ravel(), "norm").pvalue > 1e-6
    off = np.corrcoef(fresh) - np.eye(12)
    assert np.abs(off).max() < 6.0 / math.sqrt(5000)


@EVERY
@pytest.mark.parametrize("separation", [1, 2, 3, 5])
def test_the_sensitivity_is_the_largest_over_all_allowed_participations(factor: Factor, separation: int) -> None:
    """Oracle: every beginning, every subset of the rounds that are a cycle apart, and every sign, in 9 rounds."""
    whole, worst = factor.matrix(9), np.zeros(9)
    for first in range(separation):
        places = list(range(first, 9, separation))
        for signs in itertools.product((0.0, 1.0, -1.0), repeat=len(places)):
            x = np.zeros(9)
            x[places] = signs
            worst = np.maximum(worst, np.cumsum(np.square(whole @ x)))  # of everything released so far
    np.testing.assert_allclose(np.cumsum(factor.costs(9, separation)), worst, atol=1e-12)


@pytest.mark.parametrize("bands", [2, 4, 9])
@pytest.mark.parametrize("separation", [1, 2, 3])
def test_rounds_further_apart_than_the_separation_never_cost_more_in_a_banded_factor(
    bands: int, separation: int
) -> None:
    """Oracle for Theorem 2 of Kalinin and Lampert: every set of rounds that are at least so far apart."""
    factor, worst = Factor("banded", bands), 0.0
    for chosen in itertools.product((0.0, 1.0), repeat=9):
        if np.all(np.diff(np.flatnonzero(chosen)) >= separation):
            worst = max(worst, float(np.sum(np.square(factor.matrix(9) @ np.array(chosen)))))
    assert math.fsum(factor.costs(9, separation)) == pytest.approx(worst)


@EVERY
def test_contributions_of_many_values_cost_no_more_than_those_that_point_in_one_direction(factor: Factor) -> None:
    """Random contributions of norm 1 in three values, in rounds 1, 3, 5 ...: 500 draws of a fixed seed."""
    random = np.random.default_rng(0)
    for _ in range(500):
        x = random.standard_normal((10, 3))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        x[1::2] = 0.0
        assert np.sum(np.square(factor.matrix(10) @ x)) <= math.fsum(factor.costs(10, 2)) + 1e-9


@EVERY
@pytest.mark.parametrize("separation", [1, 2, 3, 5])
def test_a_round_released_once_more_costs_the_largest_sum_of_its_row(factor: Factor, separation: int) -> None:
    """Oracle: every beginning, in 9 rounds."""
    for round, row in enumerate(factor.matrix(9), 1):
        worst = max(float(row[first::separation].sum()) for first in range(separation))
        assert factor.again(round, separation) == pytest.approx(worst)


@EVERY
@pytest.mark.parametrize("separation", [1, 4, 7])
def test_the_charges_of_all_rounds_compose_to_the_cost_of_the_whole(factor: Factor, separation: int) -> None:
    """A prefix of a long training costs what a training of just these rounds would."""
    for rounds in (1, 7, 40):
        short, long = factor.costs(rounds, separation), factor.costs(64, separation)[:rounds]
        assert np.all(long >= 0.0)
        assert math.fsum(short) == pytest.approx(math.fsum(long))


@pytest.mark.parametrize(("rounds", "separation"), [(64, 64), (128, 16), (60, 10)])
def test_the_sum_of_all_rounds_has_less_noise_than_with_independent_noise_of_the_same_cost(
    rounds: int, separation: int
) -> None:
    plain = Factor("banded", 1).loss(rounds, separation)
    best = Factor("banded", best_bands(rounds, separation)).loss(rounds, separation)
    assert best < 0.65 * plain
    assert best < Factor("tree").loss(rounds, separation)


def test_where_everybody_takes_part_in_every_round_independent_noise_is_the_best_of_them() -> None:
    assert best_bands(64, 1) == 1


@EVERY
def test_the_error_that_is_foretold_is_the_one_that_is_found(factor: Factor) -> None:
    """20 rounds of 20,000 values, seed fixed."""
    found = np.sqrt(np.mean(np.square(np.cumsum(noises(factor, 20, 20_000), axis=0))))
    assert found == pytest.approx(factor.error(20), rel=0.02)


def test_known_errors_of_independent_noise_and_of_a_tree() -> None:
    assert Factor("banded", 1).error(9) == pytest.approx(math.sqrt(5.0))
    assert Factor("tree").error(7) == pytest.approx(math.sqrt((1 + 1 + 2 + 1 + 2 + 2 + 3) / 7))


@pytest.mark.parametrize(("kind", "bands"), [("banded", 0), ("ring", 3)])
def test_a_factor_that_does_not_exist_is_refused(kind: str, bands: int) -> None:
    with pytest.raises(ValueError, match="factor"):
        Factor(kind, bands)
