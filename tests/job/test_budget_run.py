"""Runs under a budget: reserved before data are touched, charged before each round, never less than was released."""

from __future__ import annotations

import json
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tacit.audit.verify import verify
from tacit.core.plan import Plan
from tacit.core.values import DataError, Event
from tacit.data.clients import ByAttribute
from tacit.data.heart_disease import HeartDisease
from tacit.data.interactions_file import InteractionsFile
from tacit.federation.vocabulary import parse_plan
from tacit.job import api
from tacit.job.budget import Drawing, _steps
from tacit.learning.dp_sgd import DPSGD
from tacit.learning.fedavg import FedAvg
from tacit.models.logistic_regression import LogisticRegression
from tacit.privacy.accountant import spent
from tacit.privacy.budget.account import Account, Allowance
from tacit.privacy.budget.book import Book
from tacit.privacy.budget.errors import BudgetError, BudgetExceeded
from tacit.privacy.budget.location import at

SMALL = """
name = "federated"
rounds = 3
cohort = 20
sampling = "poisson"
simulation = {simulation}
data = {{ kind = "Storefront", customers = 40, items = 60 }}
clients = {{ kind = "Uniform", parties = 3 }}
model = {{ kind = "MatrixFactorisation", dim = 4 }}
algorithm = {{ kind = "FedAvg", local = {{ kind = "SGD", lr = 0.5 }} }}
protect = [{{ kind = "Gaussian", clip_norm = 0.1, noise_multiplier = 1.0 }}]
"""
ROUND = Event("gaussian", 1.0, "poisson", 0.5)
HOLDER = Account("bank-a", "recommendations")


def text(simulation: bool = False) -> str:
    return SMALL.format(simulation=str(simulation).lower())


@pytest.fixture
def plan() -> Plan:
    return parse_plan(text())


def epsilon(rounds: int) -> float:
    return spent([ROUND] * rounds, 1e-5).epsilon


def opened(folder: Path, rounds: int, clients: int = 40) -> tuple[Book, Drawing]:
    """A budget that just admits this many rounds."""
    book = Book(at(str(folder / "budget.sqlite3")))
    book.open(HOLDER, Allowance(epsilon(rounds), 1e-5, clients=clients))
    return book, Drawing(HOLDER.holder, place=str(folder / "budget.sqlite3"))


def charges(book: Book) -> list[tuple[str, int]]:
    """(training/round, attempt) of every charge."""
    found = [entry for entry in book.history(HOLDER) if entry.kind == "charge"]
    return [(entry.reference.split("/", 1)[1], entry.attempt) for entry in found]


def told(run: Path) -> list[tuple[str, int]]:
    """The same by the run's ledger."""
    entries = map(json.loads, (run / "ledger" / "entries.jsonl").read_text().splitlines())
    return [(f"{e['training']}/{e['number']}", e["attempt"]) for e in entries if e["kind"] == "charge"]


def test_every_round_is_charged_and_stands_in_the_ledger_and_the_report(plan: Plan, tmp_path: Path) -> None:
    book, drawing = opened(tmp_path, 5)
    report = api.run(plan, tmp_path / "run", budget=drawing).report
    assert charges(book) == told(tmp_path / "run") == [(f"federated/{number}", 1) for number in (1, 2, 3)]
    standing = book.standing(HOLDER)
    assert (standing.charged, standing.held) == ({ROUND: 3}, {})
    assert report["budget"]["spent"] == standing.spent.epsilon == report["privacy"]["epsilon"]
    assert (report["budget"]["charges"], report["budget"]["repeated"]) == (3, 0)
    assert verify(tmp_path / "run").entries == report["ledger"]["entries"]
    again = api.run(plan, tmp_path / "run", budget=drawing)
    assert again.report == report and len(charges(book)) == 3, "a finished run draws nothing"


def test_a_run_that_would_overspend_is_refused_before_data_are_touched(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, drawing = opened(tmp_path, 2)

    def touched(*_: Any) -> None:
        raise AssertionError("data were touched")

    monkeypatch.setattr("tacit.job.run.load", touched)
    with pytest.raises(BudgetExceeded, match=r"3 rounds do not fit\. It buys 2 rounds"):
        api.run(plan, tmp_path / "run", budget=drawing)
    assert len(book.history(HOLDER)) == 1 and not (tmp_path / "run").exists()
    with pytest.raises(AssertionError, match="touched"):
        api.run(replace(plan, rounds=2), tmp_path / "run", budget=drawing)


def test_a_run_whose_data_cannot_be_read_gives_back_what_it_reserved(plan: Plan, tmp_path: Path) -> None:
    book, drawing = opened(tmp_path, 3)
    absent = InteractionsFile(path=str(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError):
        api.run(replace(plan, data=absent), tmp_path / "run", budget=drawing)
    assert [entry.kind for entry in book.history(HOLDER)] == ["open", "reserve", "cancel"]
    assert book.standing(HOLDER).taken.epsilon == 0.0 and not (tmp_path / "run").exists()


def test_a_training_without_noise_fits_no_budget(plan: Plan, tmp_path: Path) -> None:
    book, drawing = opened(tmp_path, 50)
    bare = replace(plan, also=(replace(plan, name="bare", protect=()),))
    with pytest.raises(BudgetError, match="'bare' adds no noise"):
        api.run(bare, tmp_path / "run", budget=drawing)
    assert len(book.history(HOLDER)) == 1


def test_all_trainings_of_a_plan_draw_from_the_same_budget(plan: Plan, tmp_path: Path) -> None:
    book, drawing = opened(tmp_path, 5)
    both = replace(plan, also=(replace(plan, name="second", rounds=2, seed=4),))
    api.run(both, tmp_path / "run", budget=drawing)
    assert book.standing(HOLDER).charged == {ROUND: 5} and not book.standing(HOLDER).held
    with pytest.raises(BudgetExceeded, match=r"0 is left.*It buys 0 rounds"):
        api.run(plan, tmp_path / "other", budget=drawing)


def test_a_budget_for_another_unit_or_without_the_number_of_clients_is_refused(plan: Plan, tmp_path: Path) -> None:
    book, drawing = opened(tmp_path, 3, clients=0)
    with pytest.raises(BudgetError, match=r"--clients NUMBER"):
        api.run(plan, tmp_path / "run", budget=drawing)
    other = Account(HOLDER.holder, "audits")
    book.open(other, Allowance(8.0, 1e-5, unit="institution", clients=40))
    with pytest.raises(BudgetError, match=r"one institution.*hides one customer"):
        api.run(plan, tmp_path / "run", budget=replace(drawing, purpose="audits"))
    assert not (tmp_path / "run").exists()


def test_a_number_of_clients_that_the_data_deny_ends_the_run_before_it_draws(plan: Plan, tmp_path: Path) -> None:
    book, drawing = opened(tmp_path, 3, clients=41)
    with pytest.raises(BudgetError, match=r"speaks of 41 clients and the data hold 40"):
        api.run(plan, tmp_path / "run", budget=drawing)
    assert charges(book) == [] and book.standing(HOLDER).taken.epsilon == 0.0
    book.open(HOLDER, replace(book.standing(HOLDER).allowance, clients=40))
    api.resume(tmp_path / "run")
    assert len(charges(book)) == 3, "the resumed run draws from the budget that it began with"


def test_rounds_that_were_never_charged_cannot_be_continued_under_a_budget(plan: Plan, tmp_path: Path) -> None:
    _, drawing = opened(tmp_path, 5)
    steps = iter(api.run_job(plan, tmp_path / "run"))
    next(steps)
    steps.close()
    with pytest.raises(DataError, match="began without a budget"):
        api.run(plan, tmp_path / "run", budget=drawing)


def test_a_run_goes_on_with_the_budget_that_it_began_with(plan: Plan, tmp_path: Path) -> None:
    book, drawing = opened(tmp_path, 5)
    steps = iter(api.run_job(plan, tmp_path / "run", drawing=drawing))
    next(steps)
    steps.close()
    with pytest.raises(DataError, match="another budget"):
        api.run(plan, tmp_path / "run", budget=replace(drawing, purpose="marketing"))
    api.resume(tmp_path / "run")
    assert len(told(tmp_path / "run")) == len(charges(book)) >= 3


def test_a_target_epsilon_reserves_just_what_it_will_spend(plan: Plan, tmp_path: Path) -> None:
    gaussian = replace(plan.protect[0], noise_multiplier=0.0, epsilon=2.0)
    book = Book(at(str(tmp_path / "budget.sqlite3")))
    book.open(HOLDER, Allowance(2.0, 1e-5, clients=40))
    api.run(replace(plan, protect=(gaussian,)), tmp_path / "run", budget=Drawing("bank-a", place=book.database.place))
    assert 1.95 < book.standing(HOLDER).spent.epsilon <= 2.0


KILLS = {  # around what, which call, and which round is drawn again
    "before the first charge": ("tacit.privacy.budget.book:Book.charge", 1, "before", 0),
    "when the charge of round 2 is written and not committed": ("tacit.privacy.budget.records:append", 3, "after", 0),
    "when round 2 is charged and not begun": ("tacit.privacy.budget.book:Book.charge", 2, "after", 2),
    "when one of three nodes has stored round 2": (
        *("tacit.federation.private_store:PrivateStore.commit", 4, "after"),
        2,
    ),
    "between the nodes' commit of round 2 and the server's": ("tacit.job.checkpoint:save", 2, "before", 2),
    "between the server's checkpoint and the ledger": ("tacit.job.checkpoint:save", 2, "after", 0),
}


@pytest.mark.parametrize("point", KILLS)
def test_a_run_killed_at_any_point_has_charged_all_that_it_released_and_charges_again_what_it_repeats(
    warm: Any, tmp_path: Path, point: str
) -> None:
    book, drawing = opened(tmp_path, 6)
    (tmp_path / "plan.toml").write_text(text())
    run, (at_, call, when, repeated) = tmp_path / "run", KILLS[point]
    begin = ["run", tmp_path / "plan.toml", "--out", run, "--quiet"]
    begin += ["--holder", drawing.holder, "--budget", drawing.place]
    assert warm.run(*begin, die={"at": at_, "call": call, "when": when})[0] == -signal.SIGKILL
    released = (run / "rounds.jsonl").read_text().count("\n") if (run / "rounds.jsonl").exists() else 0
    assert released <= len(charges(book))
    assert sum((book.standing(HOLDER).charged + book.standing(HOLDER).held).values()) == 3
    assert warm.run("run", "--resume", run, "--quiet")[::2] == (0, "")
    expected = Counter(f"federated/{number}" for number in (1, 2, 3))
    if repeated:
        expected[f"federated/{repeated}"] += 1
    assert Counter(name for name, _ in charges(book)) == expected
    assert told(run) == charges(book)
    report = json.loads((run / "report.json").read_text())
    assert report["budget"]["repeated"] == bool(repeated)
    assert report["budget"]["spent"] == epsilon(sum(expected.values()))
    assert verify(run).finished


def test_under_simulation_a_repeated_round_is_the_same_message_and_charged_once(warm: Any, tmp_path: Path) -> None:
    book, drawing = opened(tmp_path, 3)
    (tmp_path / "plan.toml").write_text(text(simulation=True))
    begin = ["run", tmp_path / "plan.toml", "--out", tmp_path / "run", "--quiet"]
    begin += ["--holder", drawing.holder, "--budget", drawing.place]
    die = {"at": "tacit.job.checkpoint:save", "call": 2, "when": "before"}
    assert warm.run(*begin, die=die)[0] == -signal.SIGKILL
    assert warm.run("run", "--resume", tmp_path / "run", "--quiet")[::2] == (0, "")
    assert charges(book) == told(tmp_path / "run") == [(f"federated/{number}", 1) for number in (1, 2, 3)]


def test_a_repeated_round_that_the_budget_cannot_pay_ends_the_run(warm: Any, tmp_path: Path) -> None:
    book, drawing = opened(tmp_path, 3)
    (tmp_path / "plan.toml").write_text(text())
    run = tmp_path / "run"
    begin = ["run", tmp_path / "plan.toml", "--out", run, "--quiet"]
    begin += ["--holder", drawing.holder, "--budget", drawing.place]
    die = {"at": "tacit.job.checkpoint:save", "call": 2, "when": "before"}
    assert warm.run(*begin, die=die)[0] == -signal.SIGKILL
    status, _, error = warm.run("run", "--resume", run, "--quiet")
    assert status == 1 and "0 is left" in error and "Traceback" not in error
    assert charges(book) == [("federated/1", 1), ("federated/2", 1), ("federated/2", 2)]
    assert (run / "rounds.jsonl").read_text().count("\n") == 2, "round 3 was not begun"
    assert book.standing(HOLDER).spent.epsilon <= epsilon(3)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_killed_while_it_reserves_reserves_once(warm: Any, tmp_path: Path, when: str) -> None:
    book, drawing = opened(tmp_path, 3)
    (tmp_path / "plan.toml").write_text(text())
    begin = ["run", tmp_path / "plan.toml", "--out", tmp_path / "run", "--quiet"]
    begin += ["--holder", drawing.holder, "--budget", drawing.place]
    die = {"at": "tacit.privacy.budget.book:Book.reserve", "call": 1, "when": when}
    assert warm.run(*begin, die=die)[0] == -signal.SIGKILL
    assert warm.run(*begin)[::2] == (0, "")
    assert Counter(entry.kind for entry in book.history(HOLDER)) == {"open": 1, "reserve": 1, "charge": 3}


def test_a_budget_file_that_vanished_stops_the_next_round(plan: Plan, tmp_path: Path) -> None:
    _, drawing = opened(tmp_path, 5)
    steps = iter(api.run_job(plan, tmp_path / "run", drawing=drawing))
    next(steps)
    (tmp_path / "budget.sqlite3").rename(tmp_path / "elsewhere.sqlite3")
    with pytest.raises(BudgetError, match="there is no budget file"):
        next(steps)
    assert (tmp_path / "run" / "rounds.jsonl").read_text().count("\n") == 1


def test_the_unit_of_the_budget_must_be_the_one_that_the_noise_hides(plan: Plan, tmp_path: Path) -> None:
    """Examples that every client protects itself draw from a budget for one example, whatever the server does."""
    book = Book(at(str(tmp_path / "budget.sqlite3")))
    book.open(HOLDER, Allowance(50.0, 1e-5, unit="example"))
    own = FedAvg(local=DPSGD(steps=2, rate=0.5, noise_multiplier=2.0))
    table = replace(
        plan,
        data=HeartDisease(),
        clients=ByAttribute("site"),
        model=LogisticRegression(),
        cohort=0,
        sampling="fixed",
        rounds=3,
    )
    steps = _steps(replace(table, algorithm=own, protect=()), "example", 0)
    assert steps == [{Event("gaussian", 2.0, "poisson", 0.5): 2}] * 3
    with pytest.raises(BudgetError, match=r"one customer.*hides one example"):
        _steps(replace(table, algorithm=own, protect=()), "customer", 0)
    with pytest.raises(BudgetError, match=r"one example.*hides one institution"):
        _steps(table, "example", 0)
