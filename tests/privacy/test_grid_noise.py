"""Noise on a grid: what its low bits say, what it costs, and that neighbouring sums reach the same values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tacit.core.values import Turn
from tacit.privacy import grid_noise
from tacit.privacy.discrete_noise import discrete_gaussian
from tacit.privacy.randomness import secure, simulated
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.local_gaussian import LocalGaussian
from tacit.privacy.transforms.scheduled_gaussian import ScheduledGaussian

COUNT = 200_000


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 50),
    st.sampled_from([1e-3, 0.7, 5.0]),
    st.sampled_from([1e-2, 1.0, 300.0]),
    st.sampled_from([1e-12, 1.0, 1e6, 1e14]),
)
@settings(max_examples=60, deadline=None)
def test_what_is_released_is_a_whole_number_of_steps_that_do_not_depend_on_the_data(
    seed: int, size: int, clip_norm: float, multiplier: float, scale: float
) -> None:
    total = np.random.default_rng(seed).standard_normal(size) * scale * clip_norm
    released = grid_noise.noisy(total, clip_norm, multiplier, simulated(seed))
    grain = grid_noise.step(clip_norm, multiplier, size)
    assert math.log2(grain) == int(math.log2(grain))
    assert np.all(released / grain == np.rint(released / grain))
    assert not np.any(np.signbit(released[released == 0.0]))  # a zero's sign would say on which side a sum was


def test_every_mechanism_with_float_sums_releases_whole_steps() -> None:
    """Sums that differ in their last bits only give the same releases, bit for bit; normal noise in floats tells."""
    total = np.random.default_rng(0).standard_normal(1000)
    near = np.nextafter(total, np.inf)
    turn = Turn(size=1000)
    for release in (
        Gaussian().decode,
        ScheduledGaussian().decode,
        lambda x, turn, source: LocalGaussian(clip_norm=100.0).encode(x, turn, source),
    ):
        one, other = release(total, turn, simulated(1)), release(near, turn, simulated(1))
        assert np.all(one == other)
    floats = simulated(1).normal(1000)
    assert np.any(total + floats != near + floats)


@given(st.integers(0, 2**32 - 1), st.integers(1, 2000), st.sampled_from([1e-3, 1.0, 50.0]))
@settings(max_examples=60, deadline=None)
def test_rounding_moves_two_neighbouring_sums_apart_by_at_most_2_13_of_the_clip_norm(
    seed: int, size: int, multiplier: float
) -> None:
    random = np.random.default_rng(seed)
    total, one = random.standard_normal(size) * 10.0, random.standard_normal(size)
    other, grain = total + one / np.linalg.norm(one), grid_noise.step(1.0, multiplier, size)
    moved = np.linalg.norm(np.rint(other / grain) * grain - np.rint(total / grain) * grain)
    assert moved <= 1.0 + 2.0**-13
    assert grain * math.sqrt(size) <= 2.0**-13


def test_the_noise_is_larger_than_the_multiplier_says_by_one_part_in_4096(monkeypatch: pytest.MonkeyPatch) -> None:
    """And that pays for everything that it is said to pay for."""
    found = []
    monkeypatch.setattr(grid_noise, "discrete_gaussian", lambda s, *a: found.append(s) or discrete_gaussian(s, *a))
    for size, clip_norm, multiplier in ((1, 1.0, 1e-4), (10**5, 0.3, 1.0), (100, 1.0, 1e4)):
        noise = grid_noise.gaussian(clip_norm, multiplier, size, secure())
        grain = grid_noise.step(clip_norm, multiplier, size)
        assert found[-1] * grain == pytest.approx(multiplier * clip_norm * (1.0 + 1.0 / 4096.0), rel=1e-12)
        assert found[-1] >= 4096.0 and len(noise) == size
        moved = 1.0 + grain * math.sqrt(size) / clip_norm + 2.0**-15 + 2.0**-19
        left = math.sqrt(found[-1] ** 2 - 16.0) * grain / clip_norm  # of the normal noise that it is computed from
        assert left / moved >= multiplier


@pytest.mark.parametrize("multiplier", [0.5, 1.0, 4.0])
def test_the_exact_cost_of_a_released_number_is_at_most_the_gaussian_mechanisms(multiplier: float) -> None:
    """Oracle: delta(epsilon) summed over all whole numbers, the sums a clip norm and a step apart, beside Balle and
    Wang's closed form. Within 1 % of it, too."""
    grain = grid_noise.step(1.0, multiplier, 1)
    sigma, moved = multiplier * (1.0 + grid_noise.SLACK) / grain, round(1.0 / grain) + 1
    k = np.arange(-int(12 * sigma) - moved, int(12 * sigma) + 2 * moved)
    weights = np.exp(-np.square(k / sigma) / 2.0)
    shifted = np.exp(-np.square((k - moved) / sigma) / 2.0)
    for epsilon in (0.1, 0.5, 1.0, 3.0):
        exact = np.maximum(shifted - math.exp(epsilon) * weights, 0.0).sum() / weights.sum()
        half = 0.5 / multiplier
        closed = stats.norm.cdf(half - epsilon * multiplier) - math.exp(epsilon) * stats.norm.cdf(
            -half - epsilon * multiplier
        )
        if closed > 1e-12:
            assert 0.99 * closed <= exact <= closed


def test_it_is_normal_beside_the_noise_in_floats() -> None:
    """Kolmogorov-Smirnov, 2 x 10^5 draws, seed fixed; false alarm 1e-6 each."""
    noise = grid_noise.gaussian(0.5, 2.0, COUNT, simulated("grid"))
    assert stats.kstest(noise, "norm").pvalue > 1e-6
    assert stats.ks_2samp(noise, simulated("floats").normal(COUNT)).pvalue > 1e-6


def test_noise_of_more_steps_than_can_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2\^40"):
        grid_noise.gaussian(1.0, 1e9, 10**6, secure())
    assert grid_noise.noisy(np.zeros(0), 1.0, 1.0, secure()).shape == (0,)
