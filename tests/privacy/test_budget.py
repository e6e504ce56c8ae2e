"""Budgets that are kept, in SQLite and in PostgreSQL: the same laws for both."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.core.values import Event
from tacit.privacy.accountant import spent
from tacit.privacy.budget.account import ADD, REPLACE, Account, Allowance
from tacit.privacy.budget.book import Book
from tacit.privacy.budget.composition import composed, fits
from tacit.privacy.budget.errors import BudgetError, BudgetExceeded
from tacit.privacy.budget.event_text import from_text, to_text
from tacit.privacy.budget.location import at, default
from tacit.privacy.budget.rounds import most

DELTA = 1e-5
ONE = Event("gaussian", 20.0, "all", 1.0)
NUMBERS = itertools.count(1)
SMALL = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def for_rounds(count: int, event: Event = ONE, neighbouring: str = ADD) -> Allowance:
    """A budget that just admits this many rounds."""
    terms = Allowance(1.0, DELTA, neighbouring=neighbouring)
    return Allowance(composed({event: count}, terms).epsilon, DELTA, neighbouring=neighbouring)


def opened(place: str, allowance: Allowance | None = None) -> tuple[Book, Account]:
    """An account of its own in this database."""
    book, account = Book(at(place)), Account(f"bank {next(NUMBERS)}", "recommendations")
    book.open(account, allowance or for_rounds(20))
    return book, account


def everything(book: Book, account: Account) -> tuple[Any, ...]:
    standing = book.standing(account)
    return book.history(account), standing.charged, standing.held


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "budget.sqlite3"


draws = st.lists(
    st.tuples(
        st.sampled_from(["charge", "reserve", "draw", "cancel"]),
        st.sampled_from([ONE, Event("gaussian", 30.0, "all", 1.0), Event("gaussian", 12.0, "all", 1.0)]),
        st.integers(1, 9),
    ),
    max_size=12,
)


@SMALL
@given(draws=draws)
def test_what_was_charged_and_reserved_never_exceeds_the_budget(file: Path, draws: list[Any]) -> None:
    book, account = opened(str(file))
    reservations: list[str] = []
    for number, (kind, event, count) in enumerate(draws):
        try:
            if kind == "charge":
                book.charge(account, f"query {number}", {event: count})
            elif kind == "reserve":
                book.reserve(account, f"run {number}", [{event: 1}] * count)
                reservations.append(f"run {number}")
            elif reservations and kind == "draw":
                book.charge(account, f"round {number}", {event: 1}, reservations[-1])
            elif reservations:
                book.cancel(account, reservations.pop())
        except BudgetError:
            pass
        standing = book.standing(account)
        assert standing.taken.epsilon <= standing.allowance.epsilon
        assert standing.spent.epsilon <= standing.taken.epsilon
        assert all(count > 0 for count in [*standing.charged.values(), *standing.held.values()])
        paid: Counter[Event] = Counter()
        for entry in book.history(account):
            paid.update(entry.charged)
        assert paid == standing.charged


@SMALL
@given(noise=st.floats(0.01, 4.0), count=st.integers(1, 50), sampling=st.sampled_from(["all", "poisson"]))
def test_a_refused_draw_changes_nothing(file: Path, noise: float, count: int, sampling: str) -> None:
    book, account = opened(str(file))
    book.charge(account, "before", {ONE: 3})
    before = everything(book, account)
    event = Event("gaussian", noise, sampling, 1.0 if sampling == "all" else 0.9)
    with pytest.raises(BudgetExceeded):
        book.charge(account, "query", {event: count})
    with pytest.raises(BudgetExceeded):
        book.reserve(account, "run", [{event: 1}] * count)
    assert everything(book, account) == before


def test_processes_that_race_for_a_budget_pass_only_while_it_lasts(
    place: str, children: Callable[..., dict[str, int]]
) -> None:
    """50 processes, a budget of 20 releases: exactly 20 pass, the other 30 are refused."""
    book, account = opened(place)
    told = children("race", place, account.holder, ONE, count=50, reference="release {}")
    assert told == {"passed": 20, "refused": 30}
    assert book.standing(account).charged == {ONE: 20}
    assert len(book.history(account)) == 21
    with pytest.raises(BudgetExceeded):
        book.charge(account, "one more", {ONE: 1})


def test_processes_that_race_for_one_reservation_draw_it_once_and_the_rest_as_any_other(
    place: str, children: Callable[..., dict[str, int]]
) -> None:
    book, account = opened(place)
    book.reserve(account, "run", [{ONE: 1}] * 8)
    told = children("race", place, account.holder, ONE, count=30, reference="round {}", reservation="run")
    assert told == {"passed": 20, "refused": 10}
    standing = book.standing(account)
    assert (standing.charged, standing.held) == ({ONE: 20}, {})


KILLS = {  # three releases: SIGKILL around the second
    "before the charge": ("tacit.privacy.budget.book:Book.charge", 2, "before"),
    "when it was composed and not locked": ("tacit.privacy.budget.records:attempts", 2, "before"),
    "when the entry is written and not committed": ("tacit.privacy.budget.records:append", 2, "after"),
    "after the charge, before the release": ("tacit.privacy.budget.book:Book.charge", 2, "after"),
    "after the release, before it is noted": ("__main__:release", 2, "after"),
    "when the next one is noted": ("__main__:noted", 2, "after"),
}


@pytest.mark.parametrize(
    ("point", "reserved"),
    [*((point, False) for point in KILLS), *((point, True) for point in list(KILLS)[2:5])],
)
def test_a_process_killed_at_any_point_never_leaves_a_release_without_its_charge(
    place: str, children: Callable[..., dict[str, int]], tmp_path: Path, point: str, reserved: bool
) -> None:
    book, account = opened(place)
    at, call, when = KILLS[point]
    more: dict[str, Any] = {"count": 3, "out": str(tmp_path / "out"), "state": str(tmp_path / "state")}
    if reserved:
        book.reserve(account, "run", [{ONE: 1}] * 3)
        more["reservation"] = "run"
    die = {"at": at, "call": call, "when": when}
    told = children("release", place, account.holder, ONE, **more, die=die)
    assert told == {"status": -signal.SIGKILL}

    def released() -> Counter[str]:
        return Counter((tmp_path / "out").read_text().splitlines() if (tmp_path / "out").exists() else [])

    def charged() -> Counter[str]:
        return Counter(entry.reference for entry in book.history(account) if entry.kind == "charge")

    assert released() <= charged()
    assert sum(charged().values()) - sum(released().values()) <= 1
    assert children("release", place, account.holder, ONE, **more) == {"status": 0}
    assert released() <= charged()
    repeated = point in ("after the charge, before the release", "after the release, before it is noted")
    assert charged() == Counter({"release 1": 1, "release 2": 1 + repeated, "release 3": 1})
    assert book.standing(account).charged == {ONE: 3 + repeated}
    assert sum(book.standing(account).held.values()) == 0, "what is repeated uses the reservation up, then draws freely"


def test_a_charge_from_a_reservation_always_passes(place: str) -> None:
    book, account = opened(place)
    book.reserve(account, "run", [{ONE: 1}] * 5)
    book.charge(account, "the rest", {ONE: 15})
    for number in range(5):
        book.charge(account, f"round {number}", {ONE: 1}, "run")
    with pytest.raises(BudgetExceeded):
        book.charge(account, "round 6", {ONE: 1}, "run")
    standing = book.standing(account)
    assert (standing.charged, standing.held, standing.left) == ({ONE: 20}, {}, 0.0)


def test_another_event_than_was_reserved_is_composed_and_uses_the_planned_one_up(place: str) -> None:
    book, account = opened(place)
    book.reserve(account, "run", [{ONE: 1}] * 20)
    quieter, louder = Event("gaussian", 25.0, "all", 1.0), Event("gaussian", 15.0, "all", 1.0)
    book.charge(account, "round 1", {quieter: 1}, "run", instead_of={ONE: 1})
    standing = book.standing(account)
    assert (standing.charged, standing.held) == ({quieter: 1}, {ONE: 19})
    with pytest.raises(BudgetExceeded):
        book.charge(account, "round 2", {louder: 1}, "run", instead_of={ONE: 1})
    assert book.standing(account).held == {ONE: 19}


def test_a_charge_that_is_repeated_is_counted_again_unless_its_message_is_the_same(place: str) -> None:
    book, account = opened(place)
    first = book.charge(account, "round 1", {ONE: 1})
    again = book.charge(account, "round 1", {ONE: 1})
    assert (first.attempt, again.attempt) == (1, 2)
    same = book.charge(account, "round 1", {ONE: 1}, unchanged=True)
    assert (same.number, same.attempt) == (first.number, 1)
    other = book.charge(account, "round 1", {ONE: 2}, unchanged=True)
    assert other.attempt == 3, "another event is another message"
    assert book.standing(account).charged == {ONE: 4}
    book.charge(account, "the rest", {ONE: 16})
    assert book.charge(account, "round 1", {ONE: 1}, unchanged=True).number == first.number, (
        "nothing is left, or needed"
    )


def test_cancelling_a_reservation_gives_back_only_what_was_never_charged(place: str) -> None:
    book, account = opened(place)
    book.reserve(account, "run", [{ONE: 1}] * 20)
    book.charge(account, "round 1", {ONE: 1}, "run")
    book.cancel(account, "run")
    standing = book.standing(account)
    assert (standing.charged, standing.held) == ({ONE: 1}, {})
    with pytest.raises(BudgetError, match="nothing to cancel"):
        book.cancel(account, "run")
    book.charge(account, "round 2", {ONE: 1}, "run")  # a run that goes on draws like any other
    book.charge(account, "the rest", {ONE: 18})
    with pytest.raises(BudgetExceeded):
        book.charge(account, "round 3", {ONE: 1}, "run")


@SMALL
@given(counts=st.lists(st.integers(0, 6), min_size=3, max_size=3), relation=st.sampled_from([ADD, REPLACE]))
def test_the_budget_is_spent_as_the_accountant_composes_it(file: Path, counts: list[int], relation: str) -> None:
    book, account = opened(str(file), Allowance(60.0, DELTA, neighbouring=relation))
    kinds = [
        ONE,
        Event("gaussian", 5.0, "all", 1.0),
        Event("gaussian", 3.0, "fixed" if relation == REPLACE else "all", 1),
    ]
    for event, count in zip(kinds, counts, strict=True):
        if count:
            book.charge(account, f"{count} of it", {event: count})
    events = [event for event, count in zip(kinds, counts, strict=True) for _ in range(count)]
    if relation == REPLACE:
        events = [Event(e.mechanism, e.noise_multiplier, "fixed", 1.0) for e in events]
    alone = spent(events, DELTA)
    found = book.standing(account).spent
    assert found.epsilon == pytest.approx(alone.epsilon, rel=1e-9)
    assert found.neighbouring == relation
    each = sum(spent([event], DELTA).epsilon for event in events)
    assert found.epsilon <= each + 1e-9, "composed, not added"


def test_a_reservation_that_does_not_fit_says_what_is_left_and_how_many_rounds_it_buys(place: str) -> None:
    book, account = opened(place)
    book.charge(account, "query", {ONE: 13})
    with pytest.raises(BudgetExceeded, match=r"is taken, 0\.\d+ is left, and 9 rounds do not fit\. It buys 7 rounds"):
        book.reserve(account, "run", [{ONE: 1}] * 9)
    assert book.rounds_left(account, {ONE: 1}) == 7
    book.reserve(account, "run", [{ONE: 1}] * 7)
    assert book.rounds_left(account, {ONE: 1}) == 0
    with pytest.raises(BudgetExceeded, match="reservations of unfinished runs included"):
        book.charge(account, "query", {ONE: 1})


def test_a_reservation_is_made_once_for_each_run(place: str) -> None:
    book, account = opened(place)
    first = book.reserve(account, "run", [{ONE: 1}] * 12)
    assert book.reserve(account, "run", [{ONE: 1}] * 12).number == first.number
    assert book.standing(account).held == {ONE: 12}


def test_holders_and_purposes_have_budgets_of_their_own(place: str) -> None:
    book, account = opened(place)
    other = Account(account.holder, "marketing")
    with pytest.raises(BudgetError, match=r"was not opened.*tacit budget open"):
        book.standing(other)
    book.open(other, for_rounds(1))
    book.charge(account, "query", {ONE: 20})
    book.charge(other, "query", {ONE: 1})
    assert {account, other} <= set(book.accounts())


def test_what_a_budget_allows_is_never_changed(place: str) -> None:
    book, account = opened(place)
    with pytest.raises(BudgetError, match="open already"):
        book.open(account, Allowance(100.0, DELTA))
    terms = book.standing(account).allowance
    assert book.open(account, terms).allowance == terms, "opening it again as it is changes nothing"
    more = Allowance(terms.epsilon, terms.delta, clients=943)
    assert book.open(account, more).allowance.clients == 943, "the number of clients may be stated anew"
    assert [entry.kind for entry in book.history(account)] == ["open", "clients"]


def test_the_history_tells_every_draw_in_order(place: str) -> None:
    book, account = opened(place)
    book.reserve(account, "run", [{ONE: 1}] * 2, "a  run\nin my words")
    book.charge(account, "round 1", {ONE: 1}, "run")
    book.charge(account, "query", {ONE: 2}, about="how many bought it")
    book.cancel(account, "run")
    told = [(e.number, e.kind, e.reference, dict(e.charged), dict(e.held)) for e in book.history(account)]
    assert told == [
        (1, "open", "budget", {}, {}),
        (2, "reserve", "run", {}, {ONE: 2}),
        (3, "charge", "round 1", {ONE: 1}, {ONE: -1}),
        (4, "charge", "query", {ONE: 2}, {}),
        (5, "cancel", "run", {}, {ONE: -1}),
    ]
    assert [entry.number for entry in book.history(account, "run")] == [2, 3, 5]
    assert book.history(account)[1].about == "a run in my words"


def test_cohorts_of_fixed_size_are_refused_by_a_budget_of_the_other_relation(place: str) -> None:
    book, account = opened(place)
    with pytest.raises(BudgetError, match="replace-one"):
        book.charge(account, "query", {Event("gaussian", 50.0, "fixed", 0.1): 1})
    assert book.standing(account).charged == {}


def test_a_mechanism_that_the_accountant_does_not_know_is_refused(place: str) -> None:
    book, account = opened(place)
    with pytest.raises(BudgetError, match="cannot be accounted for"):
        book.charge(account, "query", {Event("magic", 5.0, "all", 1.0): 1})
    with pytest.raises(BudgetExceeded):
        book.charge(account, "query", {Event("gaussian", 0.0, "all", 1.0): 1})
    assert book.standing(account).charged == {}


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 97, "\u202ename", "-rf"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(BudgetError, match="is no"):
        Account(name, "recommendations")
    with pytest.raises(BudgetError, match="is no"):
        Account("bank", name)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 1e-5), (float("inf"), 1e-5), (1.0, 0.0), (1.0, 1.0)])
def test_an_allowance_that_allows_nothing_or_everything_is_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(BudgetError):
        Allowance(epsilon, delta)


# How events of both relations compose.


def test_group_privacy_converts_sampled_events_to_replace_one() -> None:
    """Its delta is just within the budget's, by the formula of the docstring."""
    event, terms = Event("gaussian", 4.0, "poisson", 0.1), Allowance(8.0, DELTA, neighbouring=REPLACE)
    found = composed({event: 20}, terms)
    assert found.neighbouring == REPLACE and found.delta == DELTA
    at_delta = spent([event] * 20, DELTA).epsilon
    assert 2.0 * at_delta < found.epsilon < 2.6 * at_delta
    both = composed({event: 20, Event("gaussian", 40.0, "fixed", 1.0): 10}, terms)
    assert both.epsilon > found.epsilon


def test_rounds_with_everyone_under_replace_one_have_twice_the_sensitivity() -> None:
    terms = Allowance(8.0, DELTA, neighbouring=REPLACE)
    double = spent([Event("gaussian", 10.0, "all", 1.0)] * 30, DELTA).epsilon
    assert composed({ONE: 30}, terms).epsilon == pytest.approx(double, rel=1e-9)


@settings(max_examples=5, deadline=None)
@given(noise=st.floats(0.6, 30.0), rate=st.sampled_from([0.01, 0.2, 1.0]), epsilon=st.floats(0.1, 10.0))
def test_the_cheap_bound_refuses_only_what_the_accountant_refuses(noise: float, rate: float, epsilon: float) -> None:
    event = Event("gaussian", noise, "all" if rate == 1.0 else "poisson", rate)
    terms = Allowance(epsilon, DELTA)
    assert fits({event: 1}, terms) == (composed({event: 1}, terms).epsilon <= epsilon)


def test_hopeless_noise_is_refused_without_composing_it_at_length() -> None:
    for sampling, rate in (("all", 1.0), ("poisson", 0.01)):
        assert not fits({Event("gaussian", 1e-4, sampling, rate): 1000}, Allowance(8.0, DELTA))


@settings(max_examples=25, deadline=None)
@given(taken=st.integers(0, 25), steps=st.integers(0, 40))
def test_as_many_rounds_fit_as_the_budget_has_room_for(taken: int, steps: int) -> None:
    found = most(Counter({ONE: taken}), [{ONE: 1}] * steps, for_rounds(20))
    assert found == max(0, min(steps, 20 - taken))


@given(
    mechanism=st.text(max_size=20),
    noise=st.floats(0.0, 1e9),
    sampling=st.sampled_from(["all", "poisson", "fixed"]),
    rate=st.floats(0.0, 1.0),
)
@settings(max_examples=50, deadline=None)
def test_an_event_comes_back_from_its_text(mechanism: str, noise: float, sampling: str, rate: float) -> None:
    event = Event(mechanism, noise, sampling, rate)
    assert from_text(to_text(event)) == event
    assert to_text(Event("gaussian", 20, "all", 1)) == to_text(ONE), "whole numbers are floats"


# Files, damage, versions.


def test_the_file_belongs_to_its_owner_and_lies_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TACIT_BUDGET", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert at().place == str(default()) == str(tmp_path / "tacit" / "budget.sqlite3")
    opened(str(default()))
    assert default().stat().st_mode & 0o077 == 0
    monkeypatch.setenv("TACIT_BUDGET", str(tmp_path / "other.sqlite3"))
    assert at().place == str(tmp_path / "other.sqlite3")
    assert at(str(tmp_path / "named")).place == str(tmp_path / "named"), "an option goes before the environment"


def test_a_file_that_is_not_there_is_not_made_by_a_draw(file: Path) -> None:
    with pytest.raises(BudgetError, match="tacit budget open"):
        Book(at(str(file))).charge(Account("bank", "recommendations"), "query", {ONE: 1})
    assert not file.exists()


@pytest.mark.parametrize("damage", ["garbage", "torn", "a bit", "empty"])
def test_a_damaged_file_is_refused_and_left_as_it_is(file: Path, damage: str) -> None:
    book, account = opened(str(file))
    for number in range(19):
        book.charge(account, f"query {number}", {ONE: 1})
    whole = bytearray(file.read_bytes())
    where = whole.rindex(b"gaussian") - 30
    flipped = whole.copy()
    for place in range(where, where + 16):
        flipped[place] ^= 0xFF
    damaged = {"garbage": b"?" * 5000, "torn": bytes(whole[: len(whole) // 2]), "a bit": bytes(flipped), "empty": b""}
    file.write_bytes(damaged[damage])
    for draw in (
        lambda: book.charge(account, "one more", {ONE: 1}),
        lambda: book.reserve(account, "run", [{ONE: 1}]),
        lambda: book.standing(account),
    ):
        with pytest.raises(BudgetError) as caught:
            draw()
        assert caught.value.__cause__ is None and ("is damaged" in str(caught.value)) == (damage != "empty")
    assert file.read_bytes() == damaged[damage]


def test_an_entry_that_was_cut_out_is_missed(file: Path) -> None:
    book, account = opened(str(file))
    book.charge(account, "query", {ONE: 20})
    with sqlite3.connect(file) as raw:
        raw.execute("DELETE FROM tacit_budget_movement")
        raw.execute("DELETE FROM tacit_budget_entry WHERE number = 2")
    raw.close()
    with pytest.raises(BudgetError, match=r"damaged: 2 entries were written and 1 are there"):
        book.charge(account, "query", {ONE: 1})


def test_budgets_of_another_schema_are_refused_in_words_and_nothing_is_lost(file: Path) -> None:
    book, account = opened(str(file))
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE tacit_budget_schema SET version = '2'")
    raw.close()
    before = file.read_bytes()
    with pytest.raises(BudgetError, match=r"schema 2, and this tacit reads schema 1"):
        book.charge(account, "query", {ONE: 1})
    with pytest.raises(BudgetError, match="schema 2"):
        book.open(account, for_rounds(20))
    assert file.read_bytes() == before


def test_a_charge_that_a_newer_tacit_wrote_stops_every_draw(file: Path) -> None:
    book, account = opened(str(file))
    book.charge(account, "query", {ONE: 1})
    with sqlite3.connect(file) as raw:
        raw.execute('UPDATE tacit_budget_movement SET event = \'{"mechanism":"new","shape":3}\'')
    raw.close()
    with pytest.raises(BudgetError, match="newer tacit"):
        book.charge(account, "query", {ONE: 1})


def test_the_database_of_something_else_is_left_alone(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("CREATE TABLE customers (name TEXT)")
    raw.close()
    before = file.read_bytes()
    with pytest.raises(BudgetError, match="something else"):
        opened(str(file))
    assert file.read_bytes() == before


def test_a_busy_file_is_said_to_be_busy(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book, account = opened(str(file))
    monkeypatch.setattr("tacit.privacy.budget.sqlite.WAIT", 0.05)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(BudgetError, match="held by other processes"):
        book.charge(account, "query", {ONE: 1})
    other.execute("ROLLBACK")
    other.close()
    book.charge(account, "query", {ONE: 1})


def test_a_commit_in_sqlite_waits_for_the_disk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PRAGMA synchronous is 3 (EXTRA): file, journal and folder."""
    book, account = opened(str(file))
    with book.database.write(account) as session:
        assert session.execute("PRAGMA synchronous") == [(3,)]
        assert session.execute("PRAGMA journal_mode") == [("delete",)]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:lovelace1815@db.example/tacit",
        "postgres://ada:@db.example/tacit",
        "postgresql://db.example/tacit?user=ada&password=lovelace1815",
        "postgresql://db.example/tacit?PASSWORD=lovelace1815",
        "host=db.example password=lovelace1815",
        "host=db.example password = lovelace1815",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BudgetError, match="PGPASSWORD") as caught:
        at(url)
    assert "lovelace1815" not in repr(caught.value)


@pytest.mark.parametrize("url", ["mysql://db.example/tacit", "https://example.org", "postgresql://db:notaport/x"])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(BudgetError):
        at(url)


# PostgreSQL alone.


def test_without_psycopg_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BudgetError, match=r"pip install 'tacit\[postgresql\]'"):
        Book(at("postgresql://db.example/budgets")).accounts()


def test_a_server_that_is_not_there_is_named_without_its_password(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Account("bank", "recommendations")
    with pytest.raises(BudgetError, match="cannot be reached") as caught:
        Book(at("postgresql://tacit@127.0.0.1:9/postgres")).standing(account)
    assert caught.value.__cause__ is None
    monkeypatch.setenv("PGPASSWORD", "hunter2 hunter2")
    with pytest.raises(BudgetError, match="refused the login") as caught:
        Book(at(postgresql)).standing(account)
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def fresh(postgresql: str) -> str:
    """A database of its own on the cluster."""
    import psycopg

    name = f"fresh_{next(NUMBERS)}_{os.getpid()}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    return postgresql.replace("/postgres", f"/{name}").replace("postgresql:/", "postgresql:/")


def changed(url: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[call-overload]


def test_a_shared_database_is_used_beside_other_tables_and_checked_for_its_schema(fresh: str) -> None:
    changed(fresh, "CREATE TABLE customers (name TEXT)")
    with pytest.raises(BudgetError, match="was not opened"):
        Book(at(fresh)).standing(Account("bank", "recommendations"))
    book, account = opened(fresh)
    changed(fresh, "UPDATE tacit_budget_schema SET version = '2'")
    with pytest.raises(BudgetError, match="schema 2"):
        book.charge(account, "query", {ONE: 1})
    changed(fresh, "UPDATE tacit_budget_schema SET version = '1'")
    changed(fresh, "DROP TABLE tacit_budget_movement")
    with pytest.raises(BudgetError, match="tables of its budgets are missing"):
        book.charge(account, "query", {ONE: 1})


def test_a_commit_waits_for_the_servers_disk_whatever_its_settings_say(fresh: str) -> None:
    book, account = opened(fresh)
    changed(fresh, f"ALTER DATABASE {fresh.rsplit('/', 1)[1]} SET synchronous_commit = off")
    with book.database.write(account) as session:
        assert session.execute("SELECT current_setting('synchronous_commit')") == [("on",)]


def test_a_user_without_rights_is_told_which_ones(fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, account = opened(fresh)
    name = f"reader{os.getpid()}"
    changed(fresh, f"CREATE ROLE {name} LOGIN PASSWORD 'pw'")
    monkeypatch.setenv("PGPASSWORD", "pw")
    with pytest.raises(BudgetError, match="grant"):
        Book(at(fresh.replace("tacit@", f"{name}@"))).standing(account)
