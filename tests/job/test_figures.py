"""The figures that the project promises on public data, measured by the job itself.

Fast ones leave the secure sum out (what it opens is proven equal elsewhere) and the trainings they do not ask about.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tacit.cli.commands import plan_of
from tacit.job.api import run
from tacit.job.assess import assess_rows, probabilities, truth
from tacit.job.task import load, tasks
from tacit.job.training import Trained, train
from tacit.learning.centralised import Centralised


def bare(plan, *keep):
    """The plan without secure sums, with only these further trainings."""
    also = tuple(replace(p, secure_sum=None, dropout=0.0) for p in plan.also if p.name in keep)
    return replace(plan, secure_sum=None, dropout=0.0, also=also, baselines=())


@pytest.fixture(scope="module")
def movielens(public, tmp_path_factory):
    public("movielens-100k")
    plan = bare(plan_of("movielens-100k"), "item_item", "likes")
    return run(plan, tmp_path_factory.mktemp("movielens") / "run").report


def test_movielens_100k_ranks_as_well_as_promised(movielens):
    federated = movielens["federated"]
    assert federated["hr@10"] >= 0.660
    assert federated["ndcg@10"] >= 0.385
    assert federated["full.hr@10"] >= 0.138
    assert federated["full.ndcg@10"] >= 0.069
    assert movielens["clients"] == 943


def test_movielens_100k_federated_is_as_good_as_centralised(movielens):
    for metric in ("hr@10", "ndcg@10", "full.hr@10", "full.ndcg@10"):
        low, high = movielens["centralized"]["low"][metric], movielens["centralized"]["high"][metric]
        assert low <= movielens["federated"][metric] <= high


def test_one_sum_of_gram_matrices_gives_the_centralised_item_item_model(movielens):
    one, other = movielens["item_item"], movielens["counterparts"]["item_item"]
    for metric in ("hr@10", "ndcg@10", "full.hr@10", "full.ndcg@10"):
        assert abs(one[metric] - other[metric]) <= 0.001


def test_likes_are_told_from_dislikes_as_well_as_promised(movielens):
    told = movielens["classification"]
    assert told["federated"]["accuracy"] >= 0.715
    assert abs(told["federated"]["accuracy"] - told["centralized"]["accuracy"]) <= 0.005
    for metric in ("precision", "recall", "f1", "auc"):
        assert told["federated"]["low"][metric] <= told["federated"][metric] <= told["federated"]["high"][metric]
    assert "4 or more" in told["protocol"] and told["threshold"] == 0.5


def test_adult_is_scored_as_well_by_eight_silos_as_by_pooled_rows(public, tmp_path):
    public("adult")
    plan = bare(plan_of("adult"))
    (task,) = tasks(plan, load(plan, None))
    assert len(task.train) == 8
    *_, trained = train(plan, task, tmp_path)
    assert isinstance(trained, Trained)
    owner = task.test_rows.owner()
    shared, own = Centralised().fit(plan.model, task.train, plan.seed)
    federated, pooled = (
        assess_rows([(truth(task), probabilities(plan.model, params, mine, task), owner)]).summary["accuracy"]
        for params, mine in ((trained.shared, trained.own), (shared, own))
    )
    assert federated >= 0.849
    assert abs(federated - pooled) <= 0.003


def test_four_hospitals_together_score_as_pooled_patients_do(public, tmp_path):
    public("heart-disease")
    report = run(bare(plan_of("heart-disease")), tmp_path / "run").report
    assert report["clients"] == 4
    assert abs(report["federated"]["auc"] - report["centralized"]["auc"]) <= 0.01
    assert report["federated"]["auc"] >= 0.867
    assert 0.5 < report["local"]["auc"] < report["federated"]["auc"] + 0.01, "each hospital alone, beside it"


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_whole_plan_for_movielens_100k_keeps_every_promise(public, tmp_path):
    public("movielens-100k")
    report = run(plan_of("movielens-100k"), tmp_path / "run").report
    assert report["federated"]["hr@10"] >= 0.660 and report["federated"]["ndcg@10"] >= 0.385
    assert report["federated"]["full.hr@10"] >= 0.138 and report["federated"]["full.ndcg@10"] >= 0.069
    assert report["secure_sum"]["exact"] is True and report["secure_sum"]["dropped"] > 0
    assert report["privacy"]["unit"] == "customer" and report["privacy"]["epsilon"] <= 8.0
    assert report["popularity"]["hr@10"] < report["private"]["hr@10"] < report["federated"]["hr@10"]
    assert report["ledger"]["verified"] is True


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_whole_plan_for_movielens_1m_keeps_every_promise(public, tmp_path):
    public("movielens-1m")
    report = run(plan_of("movielens-1m"), tmp_path / "run").report
    assert report["federated"]["hr@10"] >= 0.730 and report["federated"]["ndcg@10"] >= 0.450
    ranked = [report[name] for name in ("federated", "implicit_als", "item_item")]
    assert max(arm["full.hr@10"] for arm in ranked) >= 0.110
    assert max(arm["full.ndcg@10"] for arm in ranked) >= 0.055
    one, other = report["item_item"], report["counterparts"]["item_item"]
    assert abs(one["hr@10"] - other["hr@10"]) <= 0.001
    assert report["secure_sum"]["exact"] is True
    assert report["privacy"]["unit"] == "customer" and report["privacy"]["epsilon"] <= 8.0
    draws = {point["epsilon"]: point["runs"] for point in report["tradeoff"]["points"]}
    for epsilon, bar in ((1.0, 0.59), (4.0, 0.62), (8.0, 0.65)):
        assert min(draws[epsilon]) >= bar, f"every draw of the noise at epsilon {epsilon:g}"


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", ["adult", "heart-disease", "storefront"])
def test_other_built_in_plans_run_with_their_secure_sum(public, tmp_path, name):
    if name != "storefront":
        public(name)
    report = run(plan_of(name), tmp_path / "run").report
    assert report["secure_sum"]["exact"] is True
    assert report["ledger"]["verified"] is True
    metric = "hr@10" if name == "storefront" else "accuracy"
    assert np.isfinite(report["federated"][metric])
