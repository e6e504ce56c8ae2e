"""Noise at the client, and noise that changes from round to round."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tacit.core.values import Event, Turn
from tacit.privacy.accountant import spent
from tacit.privacy.randomness import secure, simulated
from tacit.privacy.transforms.local_gaussian import LocalGaussian
from tacit.privacy.transforms.scheduled_gaussian import SHAPES, ScheduledGaussian

COUNT = 100_000


def test_what_leaves_a_client_is_its_bounded_contribution_plus_noise_of_noise_multiplier_times_clip_norm_on_each_value() -> (  # noqa: E501
    None
):
    """Kolmogorov-Smirnov, 10^5 draws, seed fixed; false alarm 1e-6."""
    mechanism = LocalGaussian(clip_norm=0.5, noise_multiplier=2.0)
    turn = Turn(size=COUNT)
    x = np.zeros(COUNT)
    x[0] = 1e9
    sent = mechanism.encode(x, turn, simulated("local"))
    noise = sent[1:]
    assert stats.kstest(noise, "norm").pvalue > 1e-6
    assert abs(sent[0]) < 0.5 + 6.0
    assert np.linalg.norm(sent) <= mechanism.reach(math.inf, turn) * (1.0 + 1e-6)
    assert np.all(mechanism.decode(sent, turn, secure()) == sent)


def test_no_sampling_is_claimed_and_one_client_may_be_replaced() -> None:
    mechanism = LocalGaussian(noise_multiplier=4.0)
    events = [mechanism.event("poisson", 0.01, Turn())] * 10
    assert events[0] is not None
    paid = spent([event for event in events if event is not None], 1e-5)
    assert paid.neighbouring == "replace-one"
    assert paid.epsilon == pytest.approx(spent([Event("gaussian", 2.0, "all", 1.0)] * 10, 1e-5).epsilon)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_noise_of_a_round_has_mean_0_and_standard_deviation_multiplier_times_clip_norm_of_that_round(
    shape: str,
) -> None:
    """Kolmogorov-Smirnov, 10^5 draws a round, seed fixed; false alarm 1e-6 each."""
    mechanism = ScheduledGaussian(clip_norm=0.5, noise_multiplier=2.0, last=0.25, shape=shape)
    for round in (1, 4, 9):
        turn = Turn(round=round, rounds=9)
        noise = mechanism.decode(np.zeros(COUNT), turn, simulated("scheduled", shape, round))
        assert stats.kstest(noise / (0.5 * mechanism.multiplier(turn)), "norm").pvalue > 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_the_rounds_compose_to_the_cost_of_each_rounds_own_noise(shape: str) -> None:
    """Oracle: one Gaussian whose precision is the sum of the rounds' precisions."""
    mechanism = ScheduledGaussian(noise_multiplier=6.0, last=0.3, shape=shape)
    turns = [Turn(round=k, rounds=20) for k in range(1, 21)]
    events = [event for turn in turns if (event := mechanism.event("all", 1.0, turn)) is not None]
    one = 1.0 / math.sqrt(sum(mechanism.multiplier(turn) ** -2 for turn in turns))
    assert spent(events, 1e-5).epsilon == pytest.approx(spent([Event("gaussian", one, "all", 1.0)], 1e-5).epsilon)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_round_has_the_noise_multiplier_and_the_last_one_last_times_that(shape: str) -> None:
    mechanism = ScheduledGaussian(noise_multiplier=3.0, last=0.2, shape=shape)
    levels = [mechanism.multiplier(Turn(round=k, rounds=7)) for k in range(1, 8)]
    assert levels[0] == pytest.approx(3.0) and levels[-1] == pytest.approx(0.6)
    assert levels == sorted(levels, reverse=True)
    assert mechanism.multiplier(Turn()) == 3.0


@pytest.mark.parametrize("cls", [LocalGaussian, ScheduledGaussian])
@pytest.mark.parametrize(
    "wrong", [{"clip_norm": 0.0}, {"noise_multiplier": 0.0}, {"epsilon": 1.0}, {"delta": 0.0}, {"noise_multiplier": -1}]
)
def test_a_mechanism_that_could_not_protect_is_refused(cls: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=cls.__name__):
        cls(**wrong)


@pytest.mark.parametrize("wrong", [{"last": 0.0}, {"last": math.inf}, {"shape": "zigzag"}])
def test_a_schedule_that_is_none_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="shape"):
        ScheduledGaussian(**wrong)


def test_noise_that_was_not_calibrated_is_not_added_as_zero() -> None:
    with pytest.raises(ValueError, match="calibrate"):
        LocalGaussian(noise_multiplier=0.0, epsilon=1.0).encode(np.zeros(3), Turn(size=3), secure())
    with pytest.raises(ValueError, match="calibrate"):
        ScheduledGaussian(noise_multiplier=0.0, epsilon=1.0).decode(np.zeros(3), Turn(), secure())
