"""Noise that follows the norms of what was released: within its filter for every sequence, however adversarial."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tacit.core.values import Event, PlanError, Turn
from tacit.data.clients import ByCustomer
from tacit.data.storefront import Storefront
from tacit.learning.fedavg import FedAvg
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.privacy.accountant import spent
from tacit.privacy.calibrate import calibrate
from tacit.privacy.protection import decode, start, turns
from tacit.privacy.randomness import secure, simulated
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.norm_driven_gaussian import NormDrivenGaussian


def turn_at(round: int, rounds: int, separation: int, told: Any, size: int = 40) -> Turn:
    return Turn(round, rounds, size, told=told, separation=separation)


def trained(
    made: NormDrivenGaussian, rounds: int, separation: int, sums: Callable[[int], Any]
) -> tuple[list[Event], list[float]]:
    """(events, multipliers) of a training in which `sums(round)` is what was released."""
    told, events, multipliers = dict(made.start()), [], []
    for round in range(1, rounds + 1):
        turn = turn_at(round, rounds, separation, told)
        event = made.event("all", 1.0, turn)
        assert event is not None
        events.append(event)
        multipliers.append(made.multiplier(turn))
        told = dict(made.follow(np.asarray(sums(round), np.float64), turn))
    return events, multipliers


def foretold(made: NormDrivenGaussian, rounds: int, separation: int) -> list[Event]:
    """The events that a plan reserves before the training."""
    found = (made.event("all", 1.0, turn_at(r, rounds, separation, made.start())) for r in range(1, rounds + 1))
    return [event for event in found if event is not None]


def precision(events: Sequence[Event]) -> np.ndarray:
    """What is spent up to and including each round."""
    return np.cumsum([event.noise_multiplier**-2.0 for event in events])


@given(
    st.lists(st.one_of(st.floats(0.0, 1e6), st.sampled_from([0.0, 1e-30, 1e30])), min_size=1, max_size=24),
    st.integers(1, 7),
    st.floats(0.01, 1.0),
    st.floats(1.0, 100.0),
)
@settings(max_examples=150, deadline=None)
def test_the_rounds_so_far_never_cost_more_than_as_many_at_constant_noise(
    norms: list[float], separation: int, first: float, most: float
) -> None:
    """Every block's own spending, and the charges of every prefix, for sums of any norms whatever."""
    made, rounds = NormDrivenGaussian(noise_multiplier=2.0, first=first, most=most), len(norms)
    events, multipliers = trained(made, rounds, separation, lambda round: np.full(40, norms[round - 1]))
    each = np.square(2.0 / np.array(multipliers))
    charged, reserved = 4.0 * precision(events), 4.0 * precision(foretold(made, rounds, separation))
    spending = np.zeros(separation)
    for index in range(rounds):
        spending[index % separation] += each[index]
        participations = index // separation + 1
        assert spending.max() <= participations + 1e-9
        assert spending.max() <= charged[index] + 1e-9
        assert charged[index] <= reserved[index] + 1e-9
    assert charged[-1] <= -(-rounds // separation) + 1e-9


def test_what_is_reserved_before_the_training_is_the_cost_at_constant_noise() -> None:
    for rounds, separation in ((1, 1), (2, 1), (9, 1), (60, 10), (55, 10), (3, 7)):
        made = NormDrivenGaussian(noise_multiplier=3.0)
        participations = -(-rounds // separation)
        assert 9.0 * precision(foretold(made, rounds, separation))[-1] == pytest.approx(participations)


def test_what_rounds_are_charged_does_not_depend_on_the_sums() -> None:
    """Else a training that stops early would state a cost that its own releases have chosen: no epsilon at all."""
    made = NormDrivenGaussian(noise_multiplier=2.0, first=0.3, rate=1.0)
    for separation in (1, 4):
        falling, _ = trained(made, 20, separation, lambda round: np.eye(40)[0] * 100.0 * 0.8**round)
        growing, _ = trained(made, 20, separation, lambda round: np.eye(40)[0] * 100.0 * 1.2**round)
        assert falling == growing == foretold(made, 20, separation)


def test_the_noise_falls_when_the_sums_that_were_released_become_smaller() -> None:
    """Sums whose norm falls by 7 % a round, and sums that do not: what the first saved is used up in the end."""
    made = NormDrivenGaussian(noise_multiplier=1.0, first=0.3, rate=1.0)
    events, falling = trained(made, 20, 1, lambda round: np.eye(40)[0] * 100.0 * 0.93**round)
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(falling[:10]))
    assert falling[0] == pytest.approx(1.0 / math.sqrt(0.3)) and falling[9] < 0.6 * falling[0]
    assert precision(events)[-1] == pytest.approx(20.0)
    _, flat = trained(made, 20, 1, lambda round: np.eye(40)[0] * 100.0)
    assert flat[9] > falling[9] and flat[9] > 1.0


def test_the_multiplier_follows_only_what_was_released() -> None:
    """The next state is a function of the noisy sum: the same for it whatever was summed, other for other noise."""
    plan = _plan(protect=(NormDrivenGaussian(noise_multiplier=1.0),))
    told = start(plan)
    now = turns(plan, 1, 40, 100, 100, told)
    source: Any = [simulated("follow", number) for number in range(3)]
    noisy, after, hidden = decode(plan, np.ones(40), now, source[0], {})
    made = plan.protect[0]
    assert isinstance(made, NormDrivenGaussian) and hidden == {}
    assert dict(after[0]) == dict(made.follow(noisy, now[0]))
    assert dict(after[0]) != dict(made.follow(np.ones(40), now[0]))
    _, other, _ = decode(plan, np.ones(40), now, source[1], {})
    assert float(other[0]["norm"]) != float(after[0]["norm"])


def test_a_norm_that_drowned_in_noise_leaves_the_noise_constant() -> None:
    made = NormDrivenGaussian(noise_multiplier=1.0, first=0.5)
    _, multipliers = trained(made, 6, 1, lambda round: np.zeros(40))
    np.testing.assert_allclose(np.square(1.0 / np.array(multipliers)), [0.5, 1.5, 1.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("round", [1, 2])
def test_the_noise_of_a_round_has_mean_0_and_standard_deviation_multiplier_times_clip_norm_of_that_round(
    round: int,
) -> None:
    """50,000 values of a fixed seed; Kolmogorov-Smirnov, false alarm 1e-6."""
    made = NormDrivenGaussian(clip_norm=0.5, noise_multiplier=2.0, first=0.5)
    told = {"round": np.array(1), "spent": np.array([0.5]), "norm": np.array(3.0), "begin": np.array(4.0)}
    turn = turn_at(round, 9, 1, made.start() if round == 1 else told)
    noise = made.decode(np.zeros(50_000), turn, simulated("norm driven", round))
    assert stats.kstest(noise / (made.multiplier(turn) * 0.5), "norm").pvalue > 1e-6
    assert (made.multiplier(turn) < 2.0 / math.sqrt(0.5)) == (round == 2)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(1e-8, 1e8))
@settings(max_examples=50, deadline=None)
def test_one_client_moves_the_sum_before_noise_by_at_most_clip_norm_in_l2(
    seed: int, clip_norm: float, scale: float
) -> None:
    x = np.random.default_rng(seed).standard_normal(30) * scale
    encoded = NormDrivenGaussian(clip_norm=clip_norm).encode(x, Turn(), secure())
    assert np.linalg.norm(encoded) <= clip_norm * (1.0 + 1e-9)


def test_a_plan_is_calibrated_to_the_noise_that_is_constant_at_the_same_epsilon() -> None:
    target = NormDrivenGaussian(noise_multiplier=0.0, epsilon=2.0)
    made = calibrate(_plan(protect=(target,)), 100).noise
    plain = calibrate(_plan(protect=(Gaussian(noise_multiplier=0.0, epsilon=2.0),)), 100).noise
    assert isinstance(made, NormDrivenGaussian) and isinstance(plain, Gaussian)
    assert made.noise_multiplier == pytest.approx(plain.noise_multiplier, rel=1e-6)
    events, _ = trained(made, 10, 1, lambda round: np.full(40, 9.0 / round))
    assert spent(events, 1e-5).epsilon == pytest.approx(2.0, rel=1e-6)


def test_noise_that_is_chosen_on_the_way_is_refused_beside_cohorts_that_are_drawn_by_chance() -> None:
    """No exact filter is known for them."""
    for sampling in ("poisson", "fixed"):
        with pytest.raises(PlanError, match="not accounted for"):
            _plan(protect=(NormDrivenGaussian(),), cohort=10, sampling=sampling)
    _plan(protect=(NormDrivenGaussian(),), cohort=10, sampling="cyclic")


@pytest.mark.parametrize(
    "wrong", [{"first": 0.0}, {"first": 1.5}, {"most": 0.5}, {"rate": 0.0}, {"clip_norm": 0.0}, {"most": math.inf}]
)
def test_settings_without_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="NormDrivenGaussian"):
        NormDrivenGaussian(**wrong)


def _plan(**changes: Any) -> Any:
    from tacit.core.plan import Plan

    parts: dict[str, Any] = {
        "data": Storefront(),
        "clients": ByCustomer(),
        "model": MatrixFactorisation(dim=4),
        "algorithm": FedAvg(),
        "rounds": 10,
    }
    return Plan(**(parts | changes))
