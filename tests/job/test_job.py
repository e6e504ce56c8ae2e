"""The job around the loop: splits onto nodes, references, what is refused before anybody works, what is kept."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from tacit.core.values import DataError, PlanError, TacitError, Turn
from tacit.data.clients import ByAttribute, ByCustomer, Uniform
from tacit.data.storefront import Storefront
from tacit.federation.cohort import draw
from tacit.federation.vocabulary import parse_plan
from tacit.job.api import resume, run
from tacit.job.result import Result
from tacit.job.run import run_job
from tacit.job.task import tasks
from tacit.job.training import Step, split_nodes
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.implicit_als import ImplicitALS
from tacit.models.item_item import ItemItem
from tacit.models.like_classifier import LikeClassifier
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.popularity import Popularity
from tacit.privacy.accountant import spent
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.laplace import Laplace
from tacit.privacy.transforms.low_rank import LowRank

SPARSE = 0  # a seed whose coins at 1/40 leave some rounds without anybody


@pytest.fixture
def sums(small_plan):
    """A plan that is quick: sums, no noise, no private parameters, everybody a node of its own customers."""
    return replace(
        small_plan,
        model=ImplicitALS(dim=3),
        algorithm=SumOfStatistics(),
        protect=(),
        secure_sum=None,
        baselines=(),
        also=(),
        rounds=2,
        clients=ByCustomer(),
    )


# -- customers on nodes ------------------------------------------------------------------------------------------------


def test_every_customer_is_hosted_once_whatever_the_nodes_are(small_plan):
    data = Storefront(40, 60).load()
    for clients in (ByCustomer(), ByAttribute("region"), ByAttribute("gender"), Uniform(7)):
        (task,) = tasks(replace(small_plan, clients=clients, also=()), data)
        nodes = dict(task.populations())
        assert sum(len(rows) for rows in nodes.values()) == 40 == sum(task.nodes.values())
        firsts = [rows.first for rows in nodes.values()]
        assert firsts == np.cumsum([0, *(len(rows) for rows in nodes.values())])[:-1].tolist()


def test_nodes_whose_names_are_alike_keep_their_own_customers(small_plan):
    """Names become addresses; two that become the same address must not swallow each other's customers."""
    data = Storefront(40, 60).load()
    towns = np.array(["St. Ives", "St- Ives", "St  Ives", "Ely"])[np.arange(40) % 4]
    data = replace(data, attributes={"town": towns})
    (task,) = tasks(replace(small_plan, clients=ByAttribute("town"), also=()), data)
    assert len(task.nodes) == 4 and sum(task.nodes.values()) == 40
    assert all(
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") for name in task.nodes
    )


def test_clients_keep_their_numbers_when_a_node_is_cut_for_several_processes(sums):
    (task,) = tasks(sums, Storefront(40, 60).load())
    whole = split_nodes(task, 0)
    assert list(whole) == ["customers"]
    parts = split_nodes(task, 3)
    assert [rows.first for rows in parts.values()] == [0, 14, 27]
    joined = np.concatenate([rows.fields["item"] for rows in parts.values()])
    assert np.array_equal(joined, task.train.fields["item"])
    assert len(split_nodes(task, 99)) == 40


# -- what is refused before anybody works ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["centralized", "local", "popularity", "cost", "ledger", "privacy", "plan", "data"])
@pytest.mark.parametrize("where", ["first", "also"])
def test_a_training_may_not_take_the_name_of_another_part_of_the_report(sums, tmp_path, name, where):
    sums = replace(sums, baselines=(Popularity(),))
    plan = replace(sums, name=name) if where == "first" else replace(sums, also=(replace(sums, name=name),))
    with pytest.raises(PlanError, match=rf"{name!r}.*another name"):
        list(run_job(plan, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".", "..", "café", "a\nb", "x" * 200])
def test_a_training_needs_a_name_that_a_folder_can_have(sums, tmp_path, name):
    with pytest.raises(PlanError, match="name"):
        list(run_job(replace(sums, also=(replace(sums, name=name),)), tmp_path / "run"))
    assert not list(tmp_path.iterdir())


def test_too_large_a_cohort_is_refused_in_words(sums, tmp_path):
    with pytest.raises(PlanError, match="cohort is 41"):
        list(run_job(replace(sums, cohort=41), tmp_path / "run"))


def test_a_run_folder_that_is_a_file_is_refused_in_words(sums, tmp_path):
    (tmp_path / "run").write_text("something else")
    with pytest.raises(DataError, match="is a file"):
        list(run_job(sums, tmp_path / "run"))
    with pytest.raises(DataError, match=r"is a file|cannot be made"):
        list(run_job(sums, tmp_path / "run" / "deeper"))
    assert (tmp_path / "run").read_text() == "something else"


def test_data_that_are_not_there_leave_no_folder_behind(tmp_path, monkeypatch):
    for variable in ("TACIT_DATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "empty"))
    monkeypatch.chdir(tmp_path)
    plan = parse_plan('data="MovieLens100K"\nclients="ByCustomer"\nmodel="ItemItem"\nalgorithm="SumOfStatistics"')
    with pytest.raises(DataError, match="movielens-100k was not found"):
        list(run_job(plan, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# -- references --------------------------------------------------------------------------------------------------------


def test_any_recommender_may_be_a_baseline_and_two_of_a_kind_are_told_apart(sums, tmp_path):
    baselines = (Popularity(), ItemItem(ridge=5.0), MatrixFactorisation(dim=2), ItemItem(ridge=500.0))
    result = run(replace(sums, baselines=baselines), tmp_path / "run")
    for name in ("popularity", "item_item", "matrix_factorisation", "item_item_2"):
        assert 0.0 <= result[name]["hr@10"] <= 1.0


TABULAR = """
rounds = 3
data = { kind = "TabularFile", path = "t.csv", mapping = "m.toml" }
clients = { kind = "Uniform", parties = 3 }
model = { kind = "MultilayerPerceptron", hidden = 4 }
algorithm = { kind = "Standardised", inner = "FedAvg" }
baselines = ["LogisticRegression"]
"""


def test_labelled_rows_may_have_a_baseline_too(tmp_path):
    random = np.random.default_rng(0)
    rows = random.normal(size=(90, 2))
    lines = ["a,b,label", *(f"{a},{b},{int(a + b > 0)}" for a, b in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    (tmp_path / "m.toml").write_text('numeric = ["a", "b"]')
    result = run(parse_plan(TABULAR), tmp_path / "run", data=tmp_path)
    assert result["logistic_regression"]["accuracy"] > 0.8


def test_a_baseline_of_the_other_kind_is_refused_before_training(sums, tmp_path):
    with pytest.raises(TacitError, match="LikeClassifier"):
        for item in run_job(replace(sums, baselines=(LikeClassifier(),)), tmp_path / "run"):
            assert not isinstance(item, Step), "refused before the first round"


def test_a_classifier_of_likes_is_reported_beside_its_pooled_counterpart(sums, tmp_path):
    likes = replace(sums, name="likes", model=LikeClassifier(dim=2), rounds=15, cohort=0, dropout=0.0)
    told = run(replace(sums, also=(likes,)), tmp_path / "run")["classification"]
    for arm in ("federated", "centralized"):
        assert {"accuracy", "precision", "recall", "f1", "auc"} <= set(told[arm])
    assert abs(told["federated"]["accuracy"] - told["centralized"]["accuracy"]) <= 0.005


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_the_best_round_on_validation_is_kept_with_its_own_private_parameters(small_plan, tmp_path):
    """A learning rate so high that quality falls: an earlier round is kept, and scores as that round did."""
    plan = replace(
        small_plan,
        protect=(),
        secure_sum=None,
        also=(),
        baselines=(),
        rounds=6,
        cohort=0,
        select="best",
        algorithm=FedAvg(SGD(lr=4.0), server_lr=3.0),
    )
    result = run(plan, tmp_path / "best")
    curve = [(point["round"], point["hr@10"]) for point in result["curves"]["federated"]]
    best = max(curve, key=lambda pair: (pair[1], -pair[0]))[0]
    assert best != 6
    shorter = run(replace(plan, rounds=best), tmp_path / "shorter")
    assert {k: v for k, v in shorter["federated"].items()} == {k: v for k, v in result["federated"].items()}


def test_the_report_charges_what_the_accountant_says(sums, tmp_path):
    plan = replace(sums, protect=(Gaussian(0.1, 0.9, delta=1e-4),))
    result = run(plan, tmp_path / "run")
    event = plan.noise.event("fixed", 0.5, Turn())
    for point in result["curves"]["federated"]:
        assert point["epsilon"] == spent([event] * point["round"], 1e-4).epsilon
    assert result["privacy"]["epsilon"] == spent([event] * 2, 1e-4).epsilon
    assert result["privacy"]["neighbouring"] == "replace-one"


def test_a_target_epsilon_is_met_and_not_wasted(sums, tmp_path):
    target = Gaussian(0.1, 0.0, epsilon=3.0, delta=1e-4)
    plan = replace(sums, protect=(target,), sampling="poisson")
    privacy = run(plan, tmp_path / "run")["privacy"]
    assert 2.9 < privacy["epsilon"] <= 3.0
    assert (privacy["sampling"], privacy["sampling_rate"]) == ("poisson", 0.5)
    assert privacy["neighbouring"] == "add-or-remove-one"


def test_two_noisy_trainings_on_the_same_customers_are_charged_together(sums, tmp_path):
    """Basic composition: epsilons and deltas add up."""
    first = replace(sums, rounds=2, protect=(Gaussian(0.1, 1.0),))
    plan = replace(first, also=(replace(first, name="second", rounds=1),))
    privacy = run(plan, tmp_path / "run")["privacy"]
    parts = privacy["parts"]
    assert [part["training"] for part in parts] == ["federated", "second"]
    for key in ("epsilon", "delta"):
        assert privacy[key] == pytest.approx(sum(part[key] for part in parts))
    assert privacy["neighbouring"] == "replace-one" == parts[0]["neighbouring"]


def test_statements_of_two_relations_are_joined_by_group_privacy(sums, tmp_path):
    """Replacing one is removing one and adding one: (epsilon, delta) becomes (2 epsilon, (1 + e^epsilon) delta).

    C. Dwork, A. Roth: The Algorithmic Foundations of Differential Privacy, 2014, Theorem 2.2 for delta = 0; with delta
    by the same two steps, P(M(a) in S) <= e^eps P(M(b) in S) + delta <= e^2eps P(M(c) in S) + e^eps delta + delta.
    """
    first = replace(sums, rounds=1, protect=(Gaussian(0.1, 2.0),))
    plan = replace(first, also=(replace(first, name="everyone", cohort=0),))
    privacy = run(plan, tmp_path / "run")["privacy"]
    one, other = privacy["parts"]
    assert (one["neighbouring"], other["neighbouring"]) == ("replace-one", "add-or-remove-one")
    assert privacy["neighbouring"] == "replace-one"
    assert privacy["epsilon"] == pytest.approx(one["epsilon"] + 2 * other["epsilon"])
    assert privacy["delta"] == pytest.approx(one["delta"] + (1 + np.exp(other["epsilon"])) * other["delta"])


def test_the_sizes_of_noisy_poisson_cohorts_are_told_to_nobody(sums, tmp_path):
    """Amplification by sampling counts on them being hidden; seed 0 draws cohorts that differ."""
    plan = replace(sums, sampling="poisson", rounds=4, dropout=0.1, protect=(Gaussian(0.1, 1.0),))
    run(plan, tmp_path / "run")
    for name in ("rounds.jsonl", "ledger/entries.jsonl"):
        for line in (tmp_path / "run" / name).read_text().splitlines():
            told = json.loads(line)
            assert {told.get(key, 20) for key in ("cohort", "clients")} == {20}
            assert told.get("dropped", 0) == 0


@pytest.mark.parametrize("protect", [(Gaussian(0.1, 1.0),), (LowRank(8, 2), Gaussian(0.1, 1.0))], ids=["sum", "each"])
def test_a_poisson_cohort_of_nobody_has_the_bytes_of_any_other(sums, tmp_path, protect):
    """Seed 0 draws three empty cohorts in eight rounds of 40 coins at 1/40."""
    plan = replace(sums, model=Popularity(), sampling="poisson", cohort=1, rounds=8, seed=SPARSE, protect=protect)
    run(plan, tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert min(len(draw(plan, 40, number)) for number in range(1, 9)) == 0 < records[0]["bytes_up"]
    assert len({record["bytes_up"] for record in records}) == 1


def test_no_digest_of_a_sum_without_its_noise_is_told(sums, tmp_path):
    """Whoever knows all other customers could try what the last one holds until the digest fits."""
    sums = replace(sums, model=Popularity(), cohort=0, clients=Uniform(3), secure_sum=SecAgg(minimum=20))
    shares = (DistributedGaussian(0.1, 1.0, survivors_at_least=20),)
    for name, protect, told in (("late", (Laplace(1.0, 40.0),), 0), ("shares", shares, 64), ("none", (), 64)):
        report = run(replace(sums, protect=protect), tmp_path / name).report
        lines = (tmp_path / name / "rounds.jsonl").read_text().splitlines()
        assert {len(json.loads(line)["sum_digest"]) for line in lines} == {told}
        assert report["secure_sum"]["exact"] is True


def test_a_gain_by_sampling_is_not_said_to_hold_against_those_who_see_who_takes_part(sums, tmp_path):
    noise = DistributedGaussian(0.1, 2.0, survivors_at_least=20)
    plan = replace(sums, model=Popularity(), clients=Uniform(3), secure_sum=SecAgg(minimum=20), protect=(noise,))
    told = [
        run(replace(plan, cohort=cohort, sampling=sampling), tmp_path / sampling)["privacy"]
        for cohort, sampling in ((30, "poisson"), (0, "fixed"))
    ]
    assert told[0]["epsilon"] < told[1]["epsilon"]
    assert "server included" in told[1]["against"] and "server included" not in told[0]["against"]
    assert f"epsilon is {told[1]['epsilon']:.3g}" in told[0]["against"]


@pytest.mark.parametrize("between", ["clients", "nodes"])
def test_dropouts_are_counted_and_the_opened_sum_is_exact(sums, tmp_path, between):
    plan = replace(
        sums,
        clients=Uniform(5),
        dropout=0.2,
        cohort=0,
        secure_sum=SecAgg(minimum=3, dropout=0.4),
        secure_between=between,
        simulation=False,
    )
    report = run(plan, tmp_path / "run").report
    records = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert report["secure_sum"]["exact"] is True
    assert report["secure_sum"]["dropped"] == sum(record["dropped"] for record in records) > 0
    assert all(record["clients"] + record["dropped"] == 40 for record in records)


@pytest.mark.parametrize("between", ["clients", "nodes"])
def test_the_report_says_how_many_proofs_were_checked_and_that_sums_were_exact(sums, tmp_path, between):
    if os.environ.get("CI") != "1":
        pytest.importorskip("py_arkworks_bls12381")
    plan = replace(
        sums,
        model=Popularity(),
        secure_sum=SecAgg(minimum=2, proof="opening"),
        secure_between=between,
        clients=Uniform(4),
    )
    done = run(plan, tmp_path / "run")
    report = done.report
    told = report["secure_sum"]
    parties = 4 if between == "nodes" else told["clients"]
    assert (told["proof"], told["proofs"], told["exact"]) == ("opening", 2 * parties, True)
    assert "proofs checked" in str(done)
    assert "proof" not in run(replace(plan, secure_sum=SecAgg(minimum=2)), tmp_path / "bare").report["secure_sum"]


def test_a_sum_that_is_not_the_plain_one_would_be_told(sums, tmp_path, monkeypatch):
    """The check is real: when one party's plain integers are not those that went in, the report says so."""
    from tacit.federation import sessions

    inner = sessions.Sessions._remember

    def wrong(self, round, encoded):
        inner(self, round, encoded + np.uint32(1))

    monkeypatch.setattr(sessions.Sessions, "_remember", wrong)
    result = run(replace(sums, secure_sum=SecAgg(minimum=3)), tmp_path / "run")
    assert result["secure_sum"]["exact"] is False
    assert "exact: NO" in str(result)


def test_a_run_that_explodes_says_so_and_stores_no_round(small_plan, tmp_path):
    plan = replace(small_plan, algorithm=FedAvg(SGD(lr=1e30)), also=())
    with pytest.raises(TacitError, match="NaN or infinity"):
        list(run_job(plan, tmp_path / "run"))
    stored = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert stored - {".lock"} == {
        *("plan.toml", "federated.toml", "entries.jsonl", "checkpoints", "key.pub", "data.json"),
    }
    assert (tmp_path / "run" / "ledger" / "entries.jsonl").read_text().count("\n") == 2  # the plan and its file


def test_steps_come_one_for_each_round_and_the_result_at_the_end(sums, tmp_path):
    items = list(run_job(replace(sums, also=(replace(sums, name="second", rounds=1),)), tmp_path / "run"))
    assert [(i.training, i.record["number"], i.rounds) for i in items[:-1]] == [
        ("federated", 1, 2),
        ("federated", 2, 2),
        ("second", 1, 1),
    ]
    assert isinstance(items[-1], Result)


def test_the_function_resumes_what_the_function_began(sums, tmp_path):
    begun = run_job(sums, tmp_path / "run")
    next(begun)
    begun.close()
    result = resume(tmp_path / "run")
    whole = run(sums, tmp_path / "whole")
    assert result["federated"] == whole["federated"]
    assert np.array_equal(result.models["federated"]["items"], whole.models["federated"]["items"])
    with pytest.raises(PlanError, match="holds no run"):
        resume(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_job_on_ray_is_the_job_in_this_process(small_plan, tmp_path):
    here = run(small_plan, tmp_path / "here")
    there = run(small_plan, tmp_path / "there", processes=2)
    assert (tmp_path / "here" / "model.safetensors").read_bytes() == (
        tmp_path / "there" / "model.safetensors"
    ).read_bytes()
    for arm in ("federated", "best"):
        assert here[arm] == there[arm]
