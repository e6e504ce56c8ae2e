"""`tacit budget ...`, and runs that name a budget on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tacit.core.values import Event
from tacit.privacy.accountant import spent

HOLDER = ("--holder", "bank-a")
QUERY = ("--noise-multiplier", 20)
EPSILON = spent([Event("gaussian", 20.0, "all", 1.0)] * 3, 1e-5).epsilon


@pytest.fixture
def place(tacit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A budget for three queries, in the user's data folder."""
    monkeypatch.delenv("TACIT_BUDGET", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert tacit("budget", "open", *HOLDER, "--epsilon", EPSILON, "--delta", 1e-5, "--json").json["left"] == EPSILON
    return tmp_path / "share" / "tacit" / "budget.sqlite3"


def test_a_query_is_charged_until_nothing_is_left(tacit: Callable[..., Any], place: Path) -> None:
    for number in (1, 2, 3):
        said = tacit("budget", "charge", *HOLDER, *QUERY, "--reference", f"count {number}", "--json").json
        assert (said["number"], said["reference"], said["attempt"]) == (number + 1, f"count {number}", 1)
    assert (said["spent"], said["left"]) == (EPSILON, 0.0)
    said = tacit("budget", "charge", *HOLDER, *QUERY)
    assert (said.status, said.out) == (1, "") and "0 is left" in said.err
    said = tacit("budget", "charge", *HOLDER, *QUERY, "--json")
    assert said.status == 1 and said.json["kind"] == "BudgetExceeded"
    assert len(tacit("budget", "history", *HOLDER, "--json").json["entries"]) == 4


def test_a_message_that_is_sent_again_unchanged_costs_nothing(tacit: Callable[..., Any], place: Path) -> None:
    charge = ("budget", "charge", *HOLDER, *QUERY, "--reference", "count", "--json")
    assert [tacit(*charge).json["attempt"], tacit(*charge).json["attempt"]] == [1, 2]
    assert tacit(*charge, "--unchanged").json["attempt"] == 1
    assert len(tacit("budget", "history", *HOLDER, "--json").json["entries"]) == 3
    assert tacit("budget", "charge", *HOLDER, *QUERY, "--unchanged").status == 1


def test_show_tells_what_is_left_and_how_many_rounds_it_buys(tacit: Callable[..., Any], place: Path) -> None:
    tacit("budget", "charge", *HOLDER, *QUERY)
    said = tacit("budget", "show", *QUERY, "--json").json
    assert said["place"] == str(place)
    (facts,) = said["budgets"]
    assert (facts["holder"], facts["purpose"], facts["rounds_left"]) == ("bank-a", "recommendations", 2)
    assert facts["epsilon"] == EPSILON and facts["left"] == EPSILON - facts["taken"]
    shown = tacit("budget", "show", *QUERY).out
    assert "bank-a for recommendations: epsilon" in shown and "2 rounds of this kind fit" in shown
    assert tacit("budget", "show", "--holder", "bank-b").status == 1


def test_history_tells_every_draw_in_a_line(tacit: Callable[..., Any], place: Path) -> None:
    tacit("budget", "charge", *HOLDER, *QUERY, "--reference", "count of buyers", "--about", "asked in May")
    lines = tacit("budget", "history", *HOLDER).out.splitlines()
    assert len(lines) == 3 and "open" in lines[0] and "1 x gaussian noise 20" in lines[1] and "asked in May" in lines[2]


def test_a_run_under_a_budget_is_refused_or_draws_and_a_reservation_can_be_cancelled(
    tacit: Callable[..., Any], place: Path
) -> None:
    """The refusal comes before data are looked for: there are none."""
    run = ("run", "movielens-100k", "--json")
    assert "adds no noise" in tacit(*run, *HOLDER).err or "--clients" in tacit(*run, *HOLDER).err
    assert tacit("budget", "cancel", *HOLDER, "--run", "nothing").status == 1
    assert not Path("runs").exists()


def test_a_budget_without_a_holder_is_asked_for_one(
    tacit: Callable[..., Any], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--holder" in tacit("run", "storefront", "--budget", place).err
    assert "--holder" in tacit("run", "storefront", "--purpose", "recommendations").err
    monkeypatch.setenv("TACIT_BUDGET", str(place))
    assert "$TACIT_BUDGET is set" in tacit("run", "storefront").err


def test_a_resumed_run_takes_no_other_budget(tacit: Callable[..., Any], place: Path) -> None:
    assert "--holder" in tacit("run", "--resume", "anything", *HOLDER).err


def test_a_password_on_the_command_line_is_refused_and_not_repeated(tacit: Callable[..., Any], empty: Path) -> None:
    url = "postgresql://ada:lovelace1815@db.example/budgets"
    for command in (("budget", "show"), ("run", "storefront", *HOLDER)):
        said = tacit(*command, "--budget", url)
        assert said.status == 1 and "PGPASSWORD" in said.err and "lovelace1815" not in said.err + said.out


@pytest.mark.parametrize("arguments", [("--noise", 0), ("--noise", 20, "--sampling", 2), ("--noise", 20, "--times", 0)])
def test_numbers_without_a_meaning_are_refused(tacit: Callable[..., Any], place: Path, arguments: Any) -> None:
    said = tacit("budget", "charge", *HOLDER, *arguments)
    assert said.status == 1 and "Traceback" not in said.err
    assert len(tacit("budget", "history", *HOLDER, "--json").json["entries"]) == 1


@pytest.mark.parametrize("action", ["open", "show", "history", "charge", "cancel"])
def test_every_action_shows_examples(tacit: Callable[..., Any], action: str) -> None:
    said = tacit("budget", action, "--help")
    assert said.status == 0 and f"tacit budget {action} " in said.out.partition("examples:")[2]
