"""Correlated noise: what it is, what it costs, and that it is worth it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from tacit.privacy.accountant import noise_multiplier, spent
from tacit.privacy.matrix_noise import MatrixNoise
from tacit.privacy.randomness import secure, simulated

SHAPES = [(1, 1), (3, 3), (4, 6), (8, 8)]


def factor(noise: MatrixNoise, rounds: int) -> np.ndarray:
    """The whole matrix."""
    out = np.zeros((rounds, rounds))
    for column in range(rounds):
        part = noise.coefficients[: rounds - column]
        out[column : column + len(part), column] = part
    return out


@pytest.mark.parametrize(("bands", "separation"), SHAPES)
def test_the_noise_times_the_factor_matrix_is_independent_normal_noise(bands: int, separation: int) -> None:
    """Kolmogorov-Smirnov and correlations of 12 rounds of 5,000 values, seed fixed; false alarm 1e-6."""
    noise = MatrixNoise(bands, separation, clip_norm=0.5, noise_multiplier=2.0)
    memory, rounds = noise.start(5000), []
    for round in range(12):
        total, memory = noise.add(np.zeros(5000), memory, simulated("matrix", bands, round))
        rounds.append(total)
    fresh = factor(noise, 12) @ np.array(rounds)
    assert stats.kstest(fresh.ravel(), "norm").pvalue > 1e-6
    off = np.corrcoef(fresh) - np.eye(12)
    assert np.abs(off).max() < 6.0 / math.sqrt(5000)
    assert memory.shape == (bands - 1, 5000)


@pytest.mark.parametrize(("bands", "separation"), [(1, 1), (2, 3), (3, 3), (4, 5)])
def test_the_sensitivity_is_the_largest_over_all_allowed_participations(bands: int, separation: int) -> None:
    """Oracle: every pattern in 9 rounds, with every sign of the contributions, in one dimension."""
    noise = MatrixNoise(bands, separation)
    for rounds in (1, 4, 9):
        matrix, worst = factor(noise, rounds), 0.0
        for chosen in itertools.product((0.0, 1.0, -1.0), repeat=rounds):
            places = np.flatnonzero(chosen)
            if len(places) and np.all(np.diff(places) >= separation):
                worst = max(worst, float(np.sum(np.square(matrix @ np.array(chosen)))))
        assert noise.squared_sensitivity(rounds) == pytest.approx(worst)


@pytest.mark.parametrize(("bands", "separation"), SHAPES)
def test_the_charges_of_all_rounds_compose_to_the_cost_of_the_whole(bands: int, separation: int) -> None:
    noise = MatrixNoise(bands, separation, noise_multiplier=5.0)
    for rounds in (1, 7, 40):
        charged = spent([noise.event(round) for round in range(1, rounds + 1)], 1e-5).epsilon
        whole = 5.0 / math.sqrt(noise.squared_sensitivity(rounds))
        one = spent([MatrixNoise(1, 1, noise_multiplier=whole).event(1)], 1e-5).epsilon
        assert charged == pytest.approx(one, rel=1e-9)


@pytest.mark.parametrize(("rounds", "separation"), [(64, 64), (128, 16)])
def test_the_sum_of_all_rounds_has_less_noise_than_with_independent_noise_of_the_same_cost(
    rounds: int, separation: int
) -> None:
    errors = []
    for bands in (1, separation):
        plain = MatrixNoise(bands, separation)
        needed = noise_multiplier(1.0, 1e-5, 1, "all", 1.0) * math.sqrt(plain.squared_sensitivity(rounds))
        errors.append(MatrixNoise(bands, separation, noise_multiplier=needed).error(rounds))
    assert errors[1] < 0.65 * errors[0]


def test_the_error_that_is_foretold_is_the_one_that_is_found() -> None:
    noise = MatrixNoise(4, 4, noise_multiplier=2.0)
    memory, whole, squares = noise.start(20_000), np.zeros(20_000), []
    for round in range(20):
        total, memory = noise.add(np.zeros(20_000), memory, simulated("error", round))
        whole += total
        squares.append(float(np.mean(np.square(whole))))
    assert math.sqrt(np.mean(squares)) == pytest.approx(noise.error(20), rel=0.02)
    assert MatrixNoise(1, 1).error(9) == pytest.approx(math.sqrt(5.0))


@pytest.mark.parametrize("wrong", [{"bands": 0}, {"bands": 9}, {"clip_norm": 0.0}, {"noise_multiplier": math.inf}])
def test_noise_that_could_not_protect_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="MatrixNoise"):
        MatrixNoise(**wrong)  # type: ignore[arg-type]


def test_the_sum_itself_is_kept() -> None:
    total, _ = MatrixNoise(noise_multiplier=1e-9).add(np.arange(5.0), MatrixNoise().start(5), secure())
    np.testing.assert_allclose(total, np.arange(5.0), atol=1e-6)
