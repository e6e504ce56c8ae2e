"""Record-level privacy on the client, in a whole run: its epsilon stands wherever one is read, with its unit."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit.cli.commands import plan_of
from tacit.core.plan import Plan
from tacit.data.clients import ByAttribute
from tacit.data.tabular_file import TabularFile
from tacit.federation.vocabulary import parse_plan
from tacit.job.api import run
from tacit.job.budget import Drawing
from tacit.job.promise import promises
from tacit.learning.dp_sgd import DPSGD
from tacit.learning.fedavg import FedAvg
from tacit.models.logistic_regression import LogisticRegression
from tacit.privacy.accountant import spent
from tacit.privacy.budget.account import Account, Allowance
from tacit.privacy.budget.book import Book
from tacit.privacy.budget.errors import BudgetError
from tacit.privacy.budget.location import at
from tacit.privacy.transforms.gaussian import Gaussian

STEPS = DPSGD(steps=3, rate=0.5, noise_multiplier=2.0, delta=1e-4)
HOLDER = Account("clinic", "triage")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Four institutions with 30 rows each."""
    random = np.random.default_rng(0)
    rows = ["a,b,site,label"]
    for site in "nsew":
        for a, b in random.standard_normal((30, 2)):
            rows.append(f"{a:.3f},{b:.3f},{site},{'yes' if a + 0.3 * b > 0 else 'no'}")
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "columns.toml").write_text(
        'label = "label"\npositive = ["yes"]\nnegative = ["no"]\nnumeric = ["a", "b"]\ninstitution = "site"\n'
    )
    return Plan(
        name="private",
        data=TabularFile(str(tmp_path / "rows.csv"), str(tmp_path / "columns.toml")),
        clients=ByAttribute(),
        model=LogisticRegression(),
        algorithm=FedAvg(local=STEPS),
        rounds=2,
    )


def expected(rounds: int) -> Any:
    return spent(STEPS.events(rounds), 1e-4, "example")


def test_the_epsilon_of_private_steps_stands_in_report_page_rounds_and_ledger(plan: Plan, tmp_path: Path) -> None:
    report = run(plan, tmp_path / "run").report
    privacy = report["privacy"]
    assert (privacy["epsilon"], privacy["delta"], privacy["unit"]) == (expected(2).epsilon, 1e-4, "example")
    assert (privacy["noise_multiplier"], privacy["clip_norm"], privacy["sampling_rate"]) == (2.0, 1.0, 0.5)
    assert privacy["noise_in"] == "each client's own steps" and "server included" in privacy["against"]
    assert f"epsilon {expected(2).epsilon:.2f} per example" in report["sent"][0]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "per example" in page and f"ε {expected(2).epsilon:.2f}" in page and "each client&#39;s own steps" in page
    rounds = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert [(r["epsilon"], r["unit"]) for r in rounds] == [(expected(n).epsilon, "example") for n in (1, 2)]
    assert '"unit":"example"' in (tmp_path / "run" / "ledger" / "entries.jsonl").read_text()


def test_a_report_of_folds_says_that_its_epsilon_is_that_of_one(plan: Plan, tmp_path: Path) -> None:
    report = run(replace(plan, folds=3), tmp_path / "run").report
    assert report["privacy"]["epsilon"] == expected(2).epsilon
    assert any("one of 3 folds" in note and "budget" in note for note in report["notes"])


def test_private_steps_are_charged_to_the_holder_per_example_before_each_round(plan: Plan, tmp_path: Path) -> None:
    book = Book(at(str(tmp_path / "budget.sqlite3")))
    book.open(HOLDER, Allowance(50.0, 1e-4, unit="example"))
    report = run(plan, tmp_path / "run", budget=Drawing("clinic", "triage", book.database.place)).report
    charges = [entry for entry in book.history(HOLDER) if entry.kind == "charge"]
    assert [dict(entry.charged) for entry in charges] == [{STEPS.events(1)[0]: 3}] * 2
    budget = report["budget"]
    assert budget["unit"] == "example" and budget["spent"] == expected(2).epsilon == report["privacy"]["epsilon"]
    book.open(Account("clinic", "other"), Allowance(50.0, 1e-4))
    with pytest.raises(BudgetError, match=r"one customer.*hides one example"):
        run(plan, tmp_path / "other", budget=Drawing("clinic", "other", book.database.place))


def test_a_run_says_what_others_spent_what_it_spent_and_what_is_left(plan: Plan, tmp_path: Path) -> None:
    book = Book(at(str(tmp_path / "budget.sqlite3")))
    book.open(HOLDER, Allowance(50.0, 1e-4, unit="example"))
    drawing = Drawing("clinic", "triage", book.database.place)
    first = run(plan, tmp_path / "first", budget=drawing)["budget"]
    second = run(replace(plan, seed=1), tmp_path / "second", budget=drawing)["budget"]
    assert (first["others"], first["this_run"]) == (0.0, expected(2).epsilon)
    assert second["others"] == first["spent"] and 0.0 < second["this_run"] < first["this_run"]
    assert sum(second[key] for key in ("others", "this_run", "reserved", "left")) == pytest.approx(50.0)
    assert second["entries"][0] == first["entries"][1] + 2, "one entry reserves the second run's rounds"
    page = (tmp_path / "second" / "report.html").read_text()
    assert "spent by this run" in page and f"--run {second['reservation']}" in page
    assert re.search(rf"spent by others[^<]*</text>|{second['others']:.2f}", page)


def test_statements_of_different_units_are_not_added_up(plan: Plan, tmp_path: Path) -> None:
    noisy = replace(plan, name="noisy", algorithm=FedAvg(), protect=(Gaussian(1.0, 5.0),))
    result = run(replace(plan, also=(noisy,)), tmp_path / "run")
    privacy = result["privacy"]
    assert (privacy["unit"], privacy["epsilon"]) == ("example", expected(2).epsilon)
    (other,) = privacy["other_units"]
    assert (other["unit"], other["training"]) == ("institution", "noisy")
    told = str(result)
    assert f"epsilon {expected(2).epsilon:.2f} at delta 0.0001 per example" in told and "per institution" in told
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"and ε {other['epsilon']:.2f} per institution" in page and "per example and institution" in page


def test_a_plan_says_what_it_will_spend_before_data_are_read(plan: Plan) -> None:
    target = replace(plan, name="target", algorithm=FedAvg(local=replace(STEPS, noise_multiplier=0.0, epsilon=1.0)))
    noisy = replace(plan, name="noisy", algorithm=FedAvg(), protect=(Gaussian(1.0, 5.0),))
    drawn = replace(noisy, name="drawn", cohort=2, sampling="poisson")
    bare = replace(plan, name="bare", algorithm=FedAvg())
    mine, aimed, summed, sampled, none = promises(replace(plan, also=(target, noisy, drawn, bare)))
    assert mine.startswith(f"private: epsilon {expected(2).epsilon:.3g} at delta 0.0001 per example")
    assert re.match(r"target: epsilon (1|0\.99\d*) at delta 0.0001 per example", aimed)
    both = spent([Gaussian(1.0, 5.0).event("all", 1.0, None)] * 2, 1e-5)  # type: ignore[arg-type]
    assert summed.startswith(f"noisy: epsilon {both.epsilon:.3g} at delta 1e-05 per institution")
    assert "per institution" in sampled and "tacit privacy calibrate --noise-multiplier 5" in sampled
    assert none == "bare: no noise, so that no epsilon can be stated"


def test_a_plan_says_what_its_choice_spends_and_never_calls_noise_local_that_the_server_adds() -> None:
    base = parse_plan(
        'name = "summed"\nprotect = [{ kind = "Laplace", noise_multiplier = 0.0, epsilon = 0.5 }]\nrounds = 1\n'
        'choose = { kind = "PrivateChoice", epsilon = 0.25 }\ndata = "Storefront"\nclients = "ByCustomer"\n'
        'model = "Popularity"\nalgorithm = "SumOfStatistics"\n[[also]]\nname = "local"\n'
        'protect = [{ kind = "Clip" }, { kind = "LocalLaplace", noise_multiplier = 0.0, epsilon = 0.5 }]\n'
    )
    summed, local, choice = promises(base)
    assert "by noise in the sum" in summed and "by noise in each client's contribution" in local
    assert choice == "the choice among summed, local: epsilon 0.25 at delta 0 per customer (add-or-remove-one)"


def test_a_plan_says_that_no_epsilon_covers_the_curve_that_it_asks_for() -> None:
    told = promises(plan_of("storefront"))
    assert sum("experiment on the rows, which no epsilon covers" in line for line in told) == 1
    assert any(line.startswith("private: quality at 6 epsilons") for line in told)


@pytest.mark.parametrize("simulation", [True, False])
def test_a_run_with_private_steps_is_repeated_bit_by_bit_only_under_simulation(
    plan: Plan, tmp_path: Path, simulation: bool
) -> None:
    plan = replace(plan, simulation=simulation)
    updates = []
    for name in ("one", "two"):
        run(plan, tmp_path / name)
        updates.append([json.loads(r)["update"] for r in (tmp_path / name / "rounds.jsonl").read_text().splitlines()])
    assert (updates[0] == updates[1]) == simulation


def test_the_same_model_s_pooled_reference_is_fitted_once_and_is_the_same(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run(replace(plan, name="second", rounds=1), tmp_path / "alone")
    fitted = []

    def counted(self: Any, model: Any, train: Any, seed: int) -> Any:
        fitted.append(len(train))
        return fit(self, model, train, seed)

    from tacit.learning.centralised import Centralised

    fit = Centralised.fit
    monkeypatch.setattr(Centralised, "fit", counted)
    other = replace(plan, name="other", model=LogisticRegression(l2=0.1))
    both = run(replace(plan, also=(replace(plan, name="second", rounds=1), other)), tmp_path / "both")
    assert fitted.count(4) == 2, "two models, three trainings"
    assert both["centralized"] == alone["centralized"] and both["local"] == alone["local"]
    assert list(both["counterparts"]) == ["other"]
