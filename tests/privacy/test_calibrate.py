"""A plan's target epsilon becomes the noise that reaches it, for the cohorts that the plan really draws."""

from __future__ import annotations

from typing import Any

import pytest

from tacit.core.plan import Plan
from tacit.data.clients import ByCustomer
from tacit.data.storefront import Storefront
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.item_item import ItemItem
from tacit.privacy.accountant import spent
from tacit.privacy.calibrate import calibrate, sampling_of
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.gaussian import Gaussian

TARGET = Gaussian(clip_norm=0.5, noise_multiplier=0.0, epsilon=1.0, delta=1e-5)


def plan(**changes: Any) -> Plan:
    """One private sum of 1,000 customers, but for `changes`."""
    base = {"data": Storefront(), "clients": ByCustomer(), "model": ItemItem(), "algorithm": SumOfStatistics()}
    return Plan(**(base | {"rounds": 3, "protect": (Clip(2.0), TARGET)} | changes))


@pytest.mark.parametrize(
    ("changes", "clients", "expected"),
    [
        ({}, 1000, ("all", 1.0)),
        ({"cohort": 1000}, 1000, ("all", 1.0)),
        ({"cohort": 100}, 1000, ("fixed", 0.1)),
        ({"cohort": 100, "sampling": "poisson"}, 1000, ("poisson", 0.1)),
        ({"cohort": 100, "sampling": "poisson"}, 100, ("all", 1.0)),
    ],
)
def test_amplification_is_claimed_only_where_a_plan_really_samples(
    changes: dict[str, Any], clients: int, expected: tuple[str, float]
) -> None:
    assert sampling_of(plan(**changes), clients) == expected


@pytest.mark.parametrize("changes", [{}, pytest.param({"cohort": 20, "sampling": "poisson"}, marks=pytest.mark.slow)])
def test_a_calibrated_plan_spends_its_target_and_hardly_less(changes: dict[str, Any]) -> None:
    calibrated = calibrate(plan(**changes), 1000)
    noise = calibrated.noise
    assert isinstance(noise, Gaussian) and noise.noise_multiplier > 0.0
    assert (noise.clip_norm, noise.delta) == (0.5, 1e-5) and calibrated.protect[0] == Clip(2.0)
    event = noise.event(*sampling_of(calibrated, 1000))
    assert event is not None
    assert 0.99 * 1.0 <= spent([event] * 3, 1e-5).epsilon <= 1.0
    assert calibrate(calibrated, 1000) == calibrated


def test_a_plan_without_a_target_stays_as_it_is() -> None:
    for protect in ((), (Clip(),), (Gaussian(noise_multiplier=2.0),)):
        assert calibrate(plan(protect=protect), 1000) == plan(protect=protect)
