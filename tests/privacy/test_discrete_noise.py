"""Integer noise against the distributions that it must have, and its exact arithmetic against its doubles."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from tacit.privacy import discrete_noise
from tacit.privacy.discrete_noise import discrete_gaussian, discrete_laplace
from tacit.privacy.randomness import secure, simulated

COUNT = 100_000


def fits(drawn: np.ndarray, weights: np.ndarray) -> float:
    """p-value of a chi-square test; `weights` belong to -(n // 2) to n // 2, cells below 10 expected are pooled."""
    expected = weights / weights.sum() * len(drawn)
    half = len(weights) // 2
    assert np.abs(drawn).max() <= half
    found = np.bincount(drawn + half, minlength=len(weights))
    rare = expected < 10.0
    seen, hoped = np.append(found[~rare], found[rare].sum()), np.append(expected[~rare], expected[rare].sum())
    return float(stats.chisquare(seen[hoped > 1e-3], hoped[hoped > 1e-3] * seen.sum() / hoped.sum()).pvalue)


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0, 2.7, 30.0])
def test_a_discrete_gaussian_has_its_weights(sigma: float) -> None:
    """Chi-square, 10^5 draws, seed fixed; false alarm 1e-6 each."""
    k = np.arange(-int(12 * sigma) - 2, int(12 * sigma) + 3)
    drawn = discrete_gaussian(sigma, COUNT, simulated("discrete", sigma))
    assert drawn.dtype == np.int64
    assert fits(drawn, np.exp(-np.square(k) / (2.0 * sigma**2))) > 1e-6


@pytest.mark.parametrize("sigma", [1e3, 123456.789, 1e9])
def test_a_wide_discrete_gaussian_is_normal(sigma: float) -> None:
    """Kolmogorov-Smirnov, 10^5 draws, seed fixed; false alarm 1e-6 each."""
    assert stats.kstest(discrete_gaussian(sigma, COUNT, simulated("wide", sigma)) / sigma, "norm").pvalue > 1e-6


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5, 20.0])
def test_a_discrete_laplace_has_its_weights(scale: float) -> None:
    """Chi-square, 10^5 draws, seed fixed; false alarm 1e-6 each."""
    k = np.arange(-int(40 * scale) - 2, int(40 * scale) + 3)
    assert fits(discrete_laplace(scale, COUNT, simulated("laplace", scale)), np.exp(-np.abs(k) / scale)) > 1e-6


@pytest.mark.parametrize("sigma", [0.4, 1.3, 20.0, 1e6])
def test_exact_arithmetic_and_doubles_decide_alike(sigma: float) -> None:
    """500 tries of a fixed seed, each decided both ways; a discrete Laplace of the same scale too."""
    parts = 8 if sigma >= discrete_noise._WIDE else 1
    gauss = discrete_noise._Law(int(sigma / parts) + 1, parts, variance=Fraction(sigma) ** 2)
    for law in (gauss, discrete_noise._Law(math.ceil(sigma * 1000 / 8), 8, 1000)):
        words = np.frombuffer(simulated("ways", sigma).bytes(16 * 500), np.uint32)
        drawn, kept = np.zeros(500, np.int64), np.zeros(500, np.uint8)
        half = float(1 / (2 * law.variance)) if law.variance else 0.0
        edges, first = discrete_noise._TABLES[law.parts]
        assert not discrete_noise._try(
            words, edges, first, law.width, law.divisor, law.parts, float(law.peak), half, drawn, kept
        )
        exact = [discrete_noise._exactly(law, words[4 * i : 4 * i + 4].tolist(), secure()) for i in range(500)]
        assert [None if not kept[i] else int(drawn[i]) for i in range(500)] == exact
        assert 0.3 < kept.mean() < 1.0


def test_a_try_that_doubles_cannot_decide_is_left_to_exact_arithmetic() -> None:
    """Words at the edges of the geometric part, and at the chance of a try: each is found to be in doubt."""
    edges, first = discrete_noise._TABLES[8]
    chance = math.exp(-100.0 / (8 * 128))
    thirds = [*edges[:20].tolist(), 0, 2**32 - 1]
    rows = [[100, 0, third, 5] for third in thirds] + [[100, 0, 2**32 - 1, int(chance * 2**32)]]
    words = np.array(rows, np.uint32).ravel()
    drawn, kept = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.uint8)
    doubts = discrete_noise._try(words, edges, first, 128, 1, 8, 0.0, 0.0, drawn, kept)
    assert doubts == 22 and kept.tolist() == [2] * 21 + [1, 2]
    drawn_exactly = discrete_noise._exactly(discrete_noise._Law(128), rows[0], secure())
    assert drawn_exactly in (100, 228)  # the word ends just at the edge between whole = 0 and 1


@pytest.mark.parametrize("parts", [1, 8])
def test_the_geometric_part_is_the_whole_part_of_a_logarithm(parts: int) -> None:
    random = np.random.default_rng(0)
    for word in random.integers(1000, 2**32, 200).tolist():
        low, high = (math.floor(-parts * math.log(w / 2**32)) for w in (word + 1, word))
        assert low <= discrete_noise._geometric(word, parts, secure()) <= high
    assert discrete_noise._geometric(0, parts, secure()) >= math.floor(parts * 22.18)


@pytest.mark.parametrize("x", [Fraction(0), Fraction(1, 3), Fraction(1), Fraction(40), Fraction(1, 10**30)])
def test_an_exact_coin_agrees_with_the_number_that_it_is_compared_with(x: Fraction) -> None:
    edge = math.floor(math.exp(-x) * 2.0**32)
    source = secure()
    if 1000 < edge < 2**32 - 500:
        assert discrete_noise._coin(x, edge - 8, source) and not discrete_noise._coin(x, edge + 8, source)
    elif edge >= 2**32 - 500:
        assert discrete_noise._coin(x, 2**31, source)
    else:
        assert not discrete_noise._coin(x, 2**31, source)


def test_draws_of_one_stream_are_the_same_and_of_another_are_not() -> None:
    one, other = discrete_gaussian(9.0, 50, simulated(1)), discrete_gaussian(9.0, 50, simulated(2))
    np.testing.assert_array_equal(one, discrete_gaussian(9.0, 50, simulated(1)))
    assert np.any(one != other)
    assert [len(discrete_gaussian(9.0, count, secure())) for count in (0, 1, 2, 17)] == [0, 1, 2, 17]


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf, 2.0**41])
def test_a_width_that_is_none_is_refused(wrong: float) -> None:
    for draw in (discrete_gaussian, discrete_laplace):
        with pytest.raises(ValueError, match="2\\^40"):
            draw(wrong, 3, secure())
