"""Quality by epsilon: what the command measures is what a run of the plan would give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tacit.audit.tradeoff import page, tradeoff_panel
from tacit.core.plan import Plan
from tacit.core.values import PlanError
from tacit.data.clients import ByCustomer, Uniform
from tacit.data.storefront import Storefront
from tacit.job.api import run
from tacit.job.tradeoff import Tradeoff, private_training, tradeoff
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.noise_aware_projection import NoiseAwareProjection
from tacit.models.popularity import Popularity
from tacit.privacy.accountant import noise_multiplier
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.gaussian import Gaussian

SHOP = Storefront(customers=150, items=60)
PRIVATE = Plan(
    name="private",
    data=SHOP,
    clients=ByCustomer(),
    model=NoiseAwareProjection(bumps=4, directions=20),
    algorithm=SumOfStatistics(),
    rounds=1,
    draws=1,
    baselines=(Popularity(),),
    protect=(Gaussian(clip_norm=1.0, noise_multiplier=0.0, epsilon=8.0),),
)


def curve(epsilons: tuple[float, ...], seeds: int = 2) -> Tradeoff:
    last = [*tradeoff(PRIVATE, SHOP.load(), epsilons, seeds)][-1]
    assert isinstance(last, Tradeoff)
    return last


def test_each_epsilon_is_met_and_never_overspent() -> None:
    found = curve((1.0, 8.0))
    assert [point["epsilon"] for point in found.points] == [1.0, 8.0]
    for point in found.points:
        assert point["noise_multiplier"] == pytest.approx(noise_multiplier(point["epsilon"], 1e-5, 1, "all", 1.0))
        assert 0.98 * point["epsilon"] < point["spent"] <= point["epsilon"]
        assert point["low"] <= point["hr@10"] <= point["high"]
        assert len(point["runs"]) == 2 and np.mean(point["runs"]) == pytest.approx(point["hr@10"])


def test_a_huge_epsilon_gives_what_no_noise_gives_but_for_what_is_believed() -> None:
    """At epsilon 10,000 noise has a multiplier of about 0.008: every figure within 0.1 of the one without."""
    found = curve((10_000.0,), seeds=1)
    assert abs(found.points[0]["hr@10"] - found.levels["no noise"]) < 0.1
    assert 0.0 < found.levels["Popularity"] < 1.0


def test_the_same_seeds_give_the_same_curve() -> None:
    assert curve((2.0,)).report() == curve((2.0,)).report()


def test_the_private_training_is_found_by_its_protection_or_by_name() -> None:
    plain = replace(PRIVATE, name="plain", protect=(), baselines=())
    both = replace(plain, also=(replace(PRIVATE, baselines=()),))
    assert private_training(both).name == "private"
    with pytest.raises(PlanError, match="Gaussian"):
        private_training(both, "plain")
    with pytest.raises(PlanError, match="there are: plain, private"):
        private_training(both, "other")
    with pytest.raises(PlanError, match="no training"):
        private_training(plain)


@pytest.mark.parametrize(("epsilons", "seeds"), [((), 1), ((0.0,), 1), ((1.0,), 0)])
def test_a_curve_without_points_is_refused(epsilons: tuple[float, ...], seeds: int) -> None:
    with pytest.raises(PlanError, match="epsilons"):
        next(tradeoff(PRIVATE, SHOP.load(), epsilons, seeds))


def test_the_curve_is_drawn_with_its_figures_and_without_markup_of_others() -> None:
    report = curve((1.0, 4.0)).report()
    report["levels"]["<script>"] = 0.5
    drawn = page(report, "Quality & privacy")
    assert "<svg" in drawn and "epsilon 4" in drawn and "Quality &amp; privacy" in drawn
    assert "<script" not in drawn
    assert tradeoff_panel({}) is None and tradeoff_panel({"tradeoff": {"points": [{"epsilon": None}]}}) is None


def test_a_run_of_two_rounds_ranks_as_the_curve_says(tmp_path: Path) -> None:
    """Equality without noise worth speaking of: the loop, with its shapes and its broadcast, and the curve's shortcut.
    The secure sum rounds, and at multiplier 0.001 so does the noise: 0.02 is three customers of 150.
    """
    loop = replace(
        PRIVATE,
        rounds=2,
        simulation=True,
        validation=False,
        baselines=(),
        clients=Uniform(parties=4),
        secure_sum=SecAgg(minimum=3),
        secure_between="nodes",
        protect=(Gaussian(clip_norm=1.0, noise_multiplier=0.001),),
    )
    report = run(loop, tmp_path / "run").report
    *_, found = tradeoff(replace(loop, secure_sum=None), SHOP.load(), (1e5,), 1)
    assert isinstance(found, Tradeoff)
    assert abs(report["private"]["hr@10"] - found.points[0]["hr@10"]) <= 0.02
