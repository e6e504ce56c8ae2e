"""A plan that chooses among its trainings: what is told, what is paid, and what is never shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tacit.audit.verify import verify
from tacit.core.plan import Plan
from tacit.core.values import DataError, Event, PlanError
from tacit.federation.vocabulary import parse_plan
from tacit.job import api, choice
from tacit.job.budget import Drawing
from tacit.privacy.accountant import spent
from tacit.privacy.budget.account import Account, Allowance
from tacit.privacy.budget.book import Book
from tacit.privacy.budget.location import at

PLAN = """
name = "small steps"
rounds = 2
simulation = true
data = { kind = "Storefront", customers = 40, items = 60 }
clients = { kind = "Uniform", parties = 3 }
model = { kind = "MatrixFactorisation", dim = 4 }
algorithm = { kind = "FedAvg", local = { kind = "SGD", lr = 0.1 } }
protect = [{ kind = "Gaussian", clip_norm = 0.1, noise_multiplier = 4.0 }]
choose = { kind = "PrivateChoice", epsilon = 0.5 }

[[also]]
name = "large steps"
algorithm = { kind = "FedAvg", local = { kind = "SGD", lr = 0.8 } }
"""


@pytest.fixture
def plan() -> Plan:
    return parse_plan(PLAN)


def test_the_chosen_training_stands_in_the_report_and_its_epsilon_in_the_sum(plan: Plan, tmp_path: Path) -> None:
    report = api.run(plan, tmp_path / "run").report
    chosen = report["chosen"]
    assert chosen["training"] in chosen["of"] == ["small steps", "large steps"]
    assert chosen["epsilon"] == 0.5 and chosen["unit"] == "customer"
    trainings = [part for part in report["privacy"]["parts"] if part["training"] != "choice"]
    assert report["privacy"]["epsilon"] == pytest.approx(sum(part["epsilon"] for part in trainings) + 0.5)
    assert report["privacy"]["training"] == "small steps and large steps and choice"
    assert verify(tmp_path / "run")
    assert "chosen       " in str(api.run(plan, tmp_path / "run"))
    again = api.run(plan, tmp_path / "again").report  # simulated: the same choice
    assert again["chosen"] == chosen


def test_no_round_is_measured_on_validation_items_where_a_choice_by_them_is_paid_for(
    plan: Plan, tmp_path: Path
) -> None:
    api.run(plan, tmp_path / "chosen")
    api.run(replace(plan, choose=None), tmp_path / "watched")
    rounds = [(tmp_path / name / "rounds.jsonl").read_text() for name in ("chosen", "watched")]
    assert ["hr@10" in text for text in rounds] == [False, True]
    assert '"hr@10"' not in json.dumps(json.loads((tmp_path / "chosen" / "report.json").read_text())["curves"])


def test_a_choice_is_drawn_from_the_budget_before_it_is_made_and_never_twice(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run dies just after the choice was made; its continuation keeps it and charges nothing more."""
    real = replace(plan, simulation=False, also=(replace(plan.also[0], simulation=False),))
    book, holder = Book(at(str(tmp_path / "budget.sqlite3"))), Account("bank-a", "recommendations")
    events = [Event("gaussian", 4.0, "all", 1.0)] * 4 + [Event("exponential", 2.0, "all", 1.0)]
    book.open(holder, Allowance(spent(events, 1e-5).epsilon * 1.001, 1e-5, clients=40))
    drawing = Drawing("bank-a", place=str(tmp_path / "budget.sqlite3"))

    def dies(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tacit.job.run.build", dies)
        with pytest.raises(KeyboardInterrupt):
            api.run(real, tmp_path / "run", budget=drawing)
    made = json.loads((tmp_path / "run" / "state" / "choice.json").read_text())
    report = api.run(real, tmp_path / "run").report
    assert report["chosen"]["training"] == made
    found = [entry for entry in book.history(holder) if entry.kind == "charge"]
    assert [entry.reference.split("/", 1)[1] for entry in found][-1] == "choice/1" and len(found) == 5
    assert found[-1].charged == {Event("exponential", 2.0, "all", 1.0): 1}
    assert report["budget"]["charges"] == 5


def test_a_choice_that_was_left_damaged_is_refused(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "choice.json").write_text('"a third one"')
    with pytest.raises(DataError, match="damaged"):
        choice._known(tmp_path / "choice.json", ["small steps", "large steps"])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"also": ()}, "several"),
        ({"protect": ()}, "several"),
        ({"validation": False}, "validation"),
        ({"split_seed": 3}, "split_seed"),
    ],
)
def test_a_plan_with_nothing_to_choose_from_is_refused(plan: Plan, change: dict, word: str) -> None:
    with pytest.raises(PlanError, match=word):
        replace(plan, **change)
    with pytest.raises(PlanError, match=r"several|beside `also`"):
        parse_plan(PLAN + 'choose = { kind = "PrivateChoice" }\n')
