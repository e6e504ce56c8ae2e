"""The Laplace and the exponential mechanism."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tacit.privacy.accountant import spent
from tacit.privacy.exponential import Exponential
from tacit.privacy.laplace import Laplace
from tacit.privacy.randomness import secure, simulated


def test_counts_stay_whole_numbers_and_get_discrete_noise() -> None:
    """Chi-square of the noise, 50,000 draws, seed fixed; false alarm 1e-6."""
    released = Laplace(epsilon=0.5).release(np.full(50_000, 7.0), simulated("laplace"))
    noise = (released - 7.0).astype(int)
    assert np.all(noise == released - 7.0)
    k = np.arange(-12, 13)
    weights = np.exp(-np.abs(k) * 0.5) * (1.0 - math.exp(-0.5)) / (1.0 + math.exp(-0.5))
    inside = np.bincount(noise[np.abs(noise) <= 12] + 12, minlength=25)
    counts, hoped = np.append(inside, 50_000 - inside.sum()), np.append(weights, 1.0 - weights.sum()) * 50_000
    assert stats.chisquare(counts, hoped).pvalue > 1e-6


def test_released_numbers_are_whole_multiples_of_a_step_that_does_not_depend_on_the_data() -> None:
    mechanism = Laplace(epsilon=1.0, sensitivity=0.3, whole=False)
    values = np.random.default_rng(0).random(20_000)
    released = mechanism.release(values, simulated("numbers"))
    steps = released / mechanism.step(len(values))
    assert np.all(steps == np.rint(steps))
    assert stats.kstest((released - values) / 0.3, "laplace").pvalue > 1e-6


@pytest.mark.parametrize("epsilon", [0.3, 1.0])
def test_the_chance_of_any_output_changes_by_at_most_a_factor_of_e_to_the_epsilon(epsilon: float) -> None:
    """200,000 draws each for 0 and 1, seed fixed: in every cell of 200 or more, within 6 standard errors."""
    here, there = (
        Laplace(epsilon).release(np.full(200_000, value), simulated("ratio", value)).astype(int) for value in (0.0, 1.0)
    )
    for k in range(-6, 7):
        one, other = int(np.sum(here == k)), int(np.sum(there == k))
        if min(one, other) >= 200:
            assert abs(math.log(one / other)) <= epsilon + 6.0 * math.sqrt(1.0 / one + 1.0 / other)
    chances = Exponential(epsilon).chances(np.array([0.0, 1.0, 2.0]))
    moved = Exponential(epsilon).chances(np.array([1.0, 0.0, 3.0]))
    assert np.abs(np.log(chances / moved)).max() <= epsilon
    counts, more = np.array([3.0, 1.0, 2.0]), np.array([4.0, 1.0, 2.0])
    monotone = Exponential(epsilon, monotone=True)
    assert np.abs(np.log(monotone.chances(counts) / monotone.chances(more))).max() <= epsilon


def test_the_event_is_epsilon() -> None:
    for mechanism in (Laplace(0.7), Laplace(0.7, whole=False), Exponential(0.7)):
        assert spent([mechanism.event()], 1e-9, "example").epsilon == pytest.approx(0.7, abs=2e-3)


def test_each_place_is_chosen_with_its_chance() -> None:
    """Chi-square, 20,000 choices, seed fixed; false alarm 1e-6."""
    mechanism, scores, source = Exponential(2.0, sensitivity=1.5), np.array([1.0, 3.0, 2.0, -5.0]), simulated("choose")
    found = np.bincount([mechanism.choose(scores, source) for _ in range(20_000)], minlength=4)
    assert stats.chisquare(found, mechanism.chances(scores) * 20_000).pvalue > 1e-6
    assert mechanism.choose(np.array([0.0, 1e6]), secure()) == 1


@pytest.mark.parametrize("cls", [Laplace, Exponential])
@pytest.mark.parametrize("wrong", [{"epsilon": 0.0}, {"epsilon": math.inf}, {"sensitivity": 0.0}])
def test_numbers_without_meaning_are_refused(cls: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="epsilon and sensitivity"):
        cls(**wrong)


def test_values_that_cannot_be_released_are_refused() -> None:
    for values in (np.array([0.5]), np.array([math.nan])):
        with pytest.raises(ValueError, match="whole"):
            Laplace().release(values, secure())
    for scores in (np.zeros(0), np.array([math.inf])):
        with pytest.raises(ValueError, match="score"):
            Exponential().choose(scores, secure())
