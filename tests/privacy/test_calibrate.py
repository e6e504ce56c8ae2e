"""A plan's target epsilon becomes the noise that reaches it, for the cohorts that the plan really draws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tacit.core.plan import Plan
from tacit.core.values import PlanError, Turn
from tacit.data.clients import ByCustomer
from tacit.data.storefront import Storefront
from tacit.learning.fedavg import FedAvg
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.item_item import ItemItem
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.privacy.accountant import spent
from tacit.privacy.calibrate import calibrate, sampling_of
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.adaptive_clip import AdaptiveClip
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.local_gaussian import LocalGaussian
from tacit.privacy.transforms.scheduled_gaussian import ScheduledGaussian

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
    event = noise.event(*sampling_of(calibrated, 1000), Turn())
    assert event is not None
    assert 0.99 * 1.0 <= spent([event] * 3, 1e-5).epsilon <= 1.0
    assert calibrate(calibrated, 1000) == calibrated


@pytest.mark.parametrize(
    ("protect", "changes"),
    [
        ((DistributedGaussian(1.0, 0.0, 1.0, survivors_at_least=20),), {"secure_sum": SecAgg()}),
        (
            (DistributedGaussian(1.0, 0.0, 1.0, survivors_at_least=20),),
            {"secure_sum": SecAgg(), "cohort": 50, "sampling": "poisson"},
        ),
        ((ScheduledGaussian(1.0, 0.0, last=0.2, epsilon=1.0),), {}),
        pytest.param(
            (ScheduledGaussian(1.0, 0.0, last=0.2, epsilon=1.0),),
            {"cohort": 50, "sampling": "poisson"},
            marks=pytest.mark.slow,
        ),
        ((Clip(), LocalGaussian(1.0, 0.0, 1.0)), {"cohort": 50, "sampling": "poisson"}),
        ((AdaptiveClip(), Gaussian(1.0, 0.0, 1.0)), {}),
    ],
    ids=lambda given: "-".join(type(t).__name__ for t in given) if isinstance(given, tuple) else None,
)
def test_every_mechanism_is_calibrated_by_what_its_rounds_cost(protect: Any, changes: dict[str, Any]) -> None:
    """Customers that hold models of gradient steps, so that any transform fits."""
    target = plan(model=MatrixFactorisation(), algorithm=FedAvg(), protect=protect, **changes)
    calibrated = calibrate(target, 1000)
    noise = calibrated.noise
    assert noise is not None
    events = [noise.event(*sampling_of(calibrated, 1000), Turn(round=k, rounds=3)) for k in (1, 2, 3)]
    assert 0.99 <= spent([event for event in events if event is not None], 1e-5).epsilon <= 1.0 + 1e-9
    assert calibrate(calibrated, 1000) == calibrated


def test_a_public_state_that_would_follow_sums_without_noise_is_refused() -> None:
    with pytest.raises(PlanError, match="put the noise last"):
        plan(model=MatrixFactorisation(), algorithm=FedAvg(), protect=(Gaussian(), AdaptiveClip()))


def test_fewer_survivors_than_shares_are_refused() -> None:
    shared = DistributedGaussian(survivors_at_least=30)
    with pytest.raises(PlanError, match="raise its minimum to 30"):
        plan(model=MatrixFactorisation(), algorithm=FedAvg(), protect=(shared,), secure_sum=SecAgg(minimum=29))


def test_a_target_that_no_noise_reaches_is_refused_as_a_plan_error() -> None:
    with pytest.raises(PlanError, match="no noise multiplier"):
        calibrate(plan(protect=(replace(TARGET, epsilon=1e-9, delta=1e-15),)), 1000)


def test_a_plan_without_a_target_stays_as_it_is() -> None:
    for protect in ((), (Clip(),), (Gaussian(noise_multiplier=2.0),)):
        assert calibrate(plan(protect=protect), 1000) == plan(protect=protect)
