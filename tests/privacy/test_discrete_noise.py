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


def test_where_doubles_cannot_tell_exact_arithmetic_gives_the_same_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every comparison is sent the exact way; the draws are then those of the doubles."""
    fast = discrete_gaussian(1.3, 300, simulated("exact"))
    calls = []
    exact = discrete_noise._coin
    monkeypatch.setattr(discrete_noise, "_DOUBT", 2.0)
    monkeypatch.setattr(discrete_noise, "_coin", lambda *given: calls.append(1) or exact(*given))
    np.testing.assert_array_equal(discrete_gaussian(1.3, 300, simulated("exact")), fast)
    assert len(calls) > 300


@pytest.mark.parametrize("x", [Fraction(0), Fraction(1, 3), Fraction(1), Fraction(40), Fraction(1, 10**30)])
def test_an_exact_coin_agrees_with_the_number_that_it_is_compared_with(x: Fraction) -> None:
    edge = math.floor(math.exp(-x) * 2.0**64)
    source = secure()
    if 1000 < edge < 2**64 - 2000:
        assert discrete_noise._coin(x, edge - 2**12, source) and not discrete_noise._coin(x, edge + 2**12, source)
    elif edge >= 2**64 - 2000:
        assert discrete_noise._coin(x, 2**63, source)
    else:
        assert not discrete_noise._coin(x, 2**63, source)


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
