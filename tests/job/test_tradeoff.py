"""Quality by epsilon: what the command measures is what a run of the plan would give."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit.audit.tradeoff import page, tradeoff_panel
from tacit.audit.verify import verify
from tacit.core.plan import Plan
from tacit.core.values import PlanError, VerificationError
from tacit.data.clients import ByCustomer, Uniform
from tacit.data.interactions import Interactions
from tacit.data.storefront import Storefront
from tacit.federation.vocabulary import parse_plan, read_plan
from tacit.job.api import resume, run
from tacit.job.budget import Drawing
from tacit.job.run import run_job
from tacit.job.tradeoff import Tradeoff, private_training, tradeoff
from tacit.job.training import Step
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.noise_aware_projection import NoiseAwareProjection
from tacit.models.popularity import Popularity
from tacit.privacy.accountant import noise_multiplier
from tacit.privacy.budget.account import Account, Allowance
from tacit.privacy.budget.book import Book
from tacit.privacy.budget.errors import BudgetError
from tacit.privacy.budget.location import at
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


# -- in a run ----------------------------------------------------------------------------------------------------------

COUNTS = replace(PRIVATE, model=Popularity())  # the quickest model that is learned from sums
WITH_CURVE = replace(
    COUNTS,
    name="plain",
    protect=(),
    also=(replace(COUNTS, baselines=(), tradeoff=(8.0, 1.0)),),
)


@pytest.fixture(scope="module")
def with_curve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that draws a curve of two points."""
    folder = tmp_path_factory.mktemp("curve") / "run"
    run(WITH_CURVE, folder)
    return folder


def test_a_run_s_curve_is_the_one_that_the_command_draws_and_stands_in_its_report(with_curve: Path) -> None:
    report = json.loads((with_curve / "report.json").read_text())
    alone = [*tradeoff(private_training(WITH_CURVE), SHOP.load(), (1.0, 8.0), seeds=3)][-1]
    assert isinstance(alone, Tradeoff)
    found = report["tradeoff"]
    assert found["points"] == list(alone.points) and found["trainings"] == 7
    assert found["levels"]["no noise"] == alone.levels["no noise"]
    assert found["levels"]["popularity"] == report["popularity"]["hr@10"] == alone.levels["Popularity"]
    assert found["levels"]["plain"] == report["plain"]["hr@10"]
    assert "Quality by privacy" in (with_curve / "report.html").read_text()


def test_every_point_of_the_curve_has_its_calibrated_plan_under_the_ledger(with_curve: Path) -> None:
    assert verify(with_curve).finished
    for epsilon in (1.0, 8.0):
        kept = read_plan(with_curve / "plans" / f"tradeoff-{epsilon:g}.toml")
        assert kept.noise == Gaussian(1.0, noise_multiplier(epsilon, 1e-5, 1, "all", 1.0))
    path = with_curve / "plans" / "tradeoff-1.toml"
    path.write_text(path.read_text() + "# altered\n")
    with pytest.raises(VerificationError, match=r"tradeoff-1\.toml"):
        verify(with_curve)


def test_an_interrupted_curve_goes_on_with_the_points_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, seen = iter(run_job(WITH_CURVE, tmp_path / "run")), []
    for step in steps:
        assert isinstance(step, Step)
        if step.training == "tradeoff":
            seen.append(step.record["epsilon"])
            break
    del steps
    drawn: list[float] = []

    def watched(plan: Plan, data: Interactions, epsilons: list[float], seeds: int) -> Any:
        drawn.extend(epsilons)
        return tradeoff(plan, data, epsilons, seeds)

    monkeypatch.setattr("tacit.job.curve.tradeoff", watched)
    report = resume(tmp_path / "run").report
    assert (seen, drawn) == ([1.0], [8.0])
    assert [point["epsilon"] for point in report["tradeoff"]["points"]] == [1.0, 8.0]
    monkeypatch.undo()
    assert report["tradeoff"] == run(WITH_CURVE, tmp_path / "whole").report["tradeoff"]


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (replace(WITH_CURVE, tradeoff=(2.0,)), "one curve"),
        (replace(PRIVATE, name="plain", protect=(), tradeoff=(2.0,)), "Gaussian"),
        (replace(WITH_CURVE, name="tradeoff"), "another part of the report"),
        (replace(WITH_CURVE, name="tradeoff-8"), "point of the curve"),
    ],
)
def test_a_curve_that_cannot_be_drawn_is_refused_before_data_are_touched(
    plan: Plan, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tacit.job.run.load", lambda *_: pytest.fail("data were touched"))
    with pytest.raises(PlanError, match=words):
        run(plan, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_curve_is_an_experiment_that_no_budget_pays_for(tmp_path: Path) -> None:
    book = Book(at(str(tmp_path / "budget.sqlite3")))
    book.open(Account("bank-a", "recommendations"), Allowance(100.0, 1e-5))
    drawing = Drawing("bank-a", place=book.database.place)
    with pytest.raises(BudgetError, match=r"2 epsilons and once without noise.*experiment.*Leave out `tradeoff`"):
        run(replace(PRIVATE, tradeoff=(1.0, 2.0)), tmp_path / "run", budget=drawing)
    assert len(book.history(Account("bank-a", "recommendations"))) == 1 and not (tmp_path / "run").exists()


def test_a_further_training_does_not_inherit_the_wish_for_a_curve() -> None:
    plan = replace(PRIVATE, tradeoff=(1.0, 2.5), also=(replace(PRIVATE, name="other", baselines=()),))
    read = parse_plan(plan.toml())
    assert read == plan and read.also[0].tradeoff == () and read.digest() == plan.digest()
