"""`tacit budget`: open a budget, see what is left, draw from it, read its history."""

from __future__ import annotations

import argparse
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tacit.core.values import Event, PlanError
from tacit.job.budget import Drawing
from tacit.privacy.accountant import MECHANISMS
from tacit.privacy.budget.account import ADD, REPLACE, Account, Allowance, Entry, Standing
from tacit.privacy.budget.book import Book
from tacit.privacy.budget.errors import BudgetError
from tacit.privacy.budget.location import at

PLACE = "a file, or a postgresql:// URL without password (default: $TACIT_BUDGET, else a file in your data folder)"
_LIMIT = 10_000  # rounds that `show` counts up to


def add(commands_of: Any) -> None:
    """The command `budget` with its actions."""
    actions = commands_of.add_parser(
        "budget",
        help="privacy budgets that are kept",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="One budget for each data holder and purpose: runs, queries and releases draw from it before "
        "anything is released, and are refused when it is spent. See docs/budget.md.",
        epilog=_examples(
            "tacit budget open --holder bank-a --epsilon 8 --delta 1e-5",
            "tacit run PLAN --holder bank-a",
            "tacit budget show",
        ),
    ).add_subparsers(dest="action", required=True, metavar="ACTION")
    begin = _action(
        actions,
        "open",
        "begin a budget; what it allows is never changed afterwards",
        "tacit budget open --holder bank-a --purpose recommendations --epsilon 8 --delta 1e-5 --clients 6040",
        "tacit budget open --holder bank-a --epsilon 2 --budget postgresql://tacit@db.example/budgets",
    )
    begin.add_argument("--epsilon", type=float, required=True)
    begin.add_argument("--delta", type=float, default=1e-5, help="well below 1 / clients (default: 1e-5)")
    begin.add_argument("--unit", default="customer", help="whose presence it hides (default: customer)")
    begin.add_argument("--neighbouring", choices=[ADD, REPLACE], default=ADD, help=f"default: {ADD}")
    begin.add_argument(
        "--clients", type=int, default=0, help="public number of clients, for plans with cohorts; may be stated anew"
    )
    show = _action(
        actions,
        "show",
        "what is spent, reserved and left",
        "tacit budget show",
        "tacit budget show --holder bank-a --noise-multiplier 1.1 --sampling 0.1   how many such rounds fit",
        holder=False,
    )
    _event_options(show, required=False)
    history = _action(actions, "history", "every draw, oldest first", "tacit budget history --holder bank-a --json")
    history.add_argument("--run", default=None, metavar="RESERVATION", help="only what one run did")
    charge = _action(
        actions,
        "charge",
        "charge a query or a release; release it only after this has succeeded",
        "tacit budget charge --holder bank-a --noise-multiplier 20 --reference buyers-in-may",
        "tacit budget charge --holder bank-a --mechanism laplace --noise-multiplier 30 --times 12",
    )
    _event_options(charge, required=True)
    charge.add_argument("--times", type=int, default=1, help="releases of this kind (default: 1)")
    charge.add_argument("--reference", help="what is released (default: a random name)")
    charge.add_argument("--about", default="", help="a remark for the history")
    charge.add_argument(
        "--unchanged",
        action="store_true",
        help="the very message that was charged under this reference is sent again: charge nothing",
    )
    cancel = _action(
        actions,
        "cancel",
        "give back what a run reserved and never charged",
        "tacit budget cancel --holder bank-a --run 9f86d081884c",
    )
    cancel.add_argument("--run", required=True, metavar="RESERVATION", help="as `tacit budget history` names it")


def add_drawing(parser: argparse.ArgumentParser) -> None:
    """The options with which a run names its budget."""
    parser.add_argument("--holder", metavar="NAME", help="draw every round from this data holder's budget")
    parser.add_argument("--purpose", metavar="NAME", help="of that budget (default: recommendations)")
    parser.add_argument("--budget", metavar="PLACE", help=f"where it is: {PLACE}")


def drawing(arguments: argparse.Namespace) -> Drawing | None:
    """Which budget a run draws from, or None.

    Raises:
        PlanError: a budget without a holder.
        BudgetError: a place that cannot be one, or a password in it.
    """
    if arguments.holder is None:
        named = "--budget" if arguments.budget else "--purpose" if arguments.purpose else "$TACIT_BUDGET"
        if arguments.budget or arguments.purpose or os.environ.get("TACIT_BUDGET"):
            raise PlanError(f"{named} is set: name the data holder whose budget the run draws from with --holder")
        return None
    at(arguments.budget)
    return Drawing(arguments.holder, arguments.purpose or "recommendations", arguments.budget or "")


def run(arguments: argparse.Namespace) -> int:
    """What `tacit budget ACTION` does; returns the exit status.

    Raises:
        BudgetError: no such budget, or it does not allow what was asked for.
    """
    book = Book(at(arguments.budget))
    if arguments.action == "show":
        return _show(book, arguments)
    account = Account(arguments.holder, arguments.purpose)
    match arguments.action:
        case "open":
            terms = (arguments.epsilon, arguments.delta, arguments.unit, arguments.neighbouring, arguments.clients)
            _tell(arguments, _facts(book.open(account, Allowance(*terms))))
        case "history":
            _history(book.history(account, arguments.run), arguments)
        case "charge":
            event = _event(arguments)
            if event is None or arguments.times < 1:
                raise PlanError("--times must be at least 1")
            name = arguments.reference or f"query {secrets.token_hex(6)}"
            if arguments.unchanged and not arguments.reference:
                raise PlanError("--unchanged sends a message again: name it with --reference")
            entry = book.charge(
                account, name, {event: arguments.times}, unchanged=arguments.unchanged, about=arguments.about
            )
            _tell(arguments, _entry(entry) | _facts(book.standing(account)))
        case _:
            entry = book.cancel(account, arguments.run)
            _tell(arguments, _entry(entry) | _facts(book.standing(account)))
    return 0


def _show(book: Book, arguments: argparse.Namespace) -> int:
    accounts = [
        account
        for account in book.accounts()
        if arguments.holder in (None, account.holder) and arguments.purpose in (None, account.purpose)
    ]
    if not accounts:
        raise BudgetError(f"{book.database.place} holds no such budget: `tacit budget open` begins one")
    event, shown = _event(arguments), []
    for account in accounts:
        facts = _facts(book.standing(account))
        if event is not None:
            facts["rounds_left"] = book.rounds_left(account, {event: 1}, _LIMIT)
        shown.append(facts)
    if arguments.json:
        print(json.dumps({"place": book.database.place, "budgets": shown}))
        return 0
    print(f"budgets in {book.database.place}")
    for facts in shown:
        print(
            f"{facts['holder']} for {facts['purpose']}: epsilon {facts['spent']:.4g} of {facts['epsilon']:g} spent, "
            f"{facts['taken'] - facts['spent']:.4g} more reserved, {facts['left']:.4g} left "
            f"(delta {facts['delta']:g}, one {facts['unit']}, {facts['neighbouring']})"
        )
        if "rounds_left" in facts:
            more = " or more" if facts["rounds_left"] == _LIMIT else ""
            print(f"  {facts['rounds_left']}{more} rounds of this kind fit")
    return 0


def _history(entries: list[Entry], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps({"entries": [_entry(entry) for entry in entries]}))
        return
    for entry in entries:
        drawn = [f"{count} x {_shown(event)}" for event, count in entry.charged.items()]
        moved = sum(entry.held.values())
        drawn += [f"{abs(moved)} {'reserved' if moved > 0 else 'of the reservation'}"] if moved else []
        again = f" (again: {entry.attempt})" if entry.attempt > 1 else ""
        print(f"{entry.number:>5}  {entry.time}  {entry.kind:<8}{entry.reference}{again}  {', '.join(drawn)}".rstrip())
        if entry.about:
            print(f"       {entry.about}")


def _facts(standing: Standing) -> dict[str, Any]:
    return {
        "holder": standing.account.holder,
        "purpose": standing.account.purpose,
        **asdict(standing.allowance),
        "spent": standing.spent.epsilon,
        "taken": standing.taken.epsilon,
        "left": standing.left,
        "accountant": standing.taken.accountant,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    told = {key: getattr(entry, key) for key in ("number", "kind", "reference", "attempt", "reservation", "about")}
    return told | {"time": entry.time, "charged": _counted(entry.charged), "held": _counted(entry.held)}


def _counted(events: Mapping[Event, int]) -> list[dict[str, Any]]:
    return [asdict(event) | {"count": count} for event, count in events.items()]


def _shown(event: Event) -> str:
    how = "" if event.sampling == "all" else f", {event.sampling} cohorts of {event.sampling_rate:.3g}"
    return f"{event.mechanism} noise {event.noise_multiplier:.4g}{how}"


def _tell(arguments: argparse.Namespace, facts: Mapping[str, Any]) -> None:
    if arguments.json:
        print(json.dumps(dict(facts)))
        return
    shown = {key: value for key, value in facts.items() if value not in ("", []) and key not in ("charged", "held")}
    print("\n".join(f"{key:<14}{value}" for key, value in shown.items()))


def _event(arguments: argparse.Namespace) -> Event | None:
    """The event that the options name, or None where they name none.

    Raises:
        PlanError: numbers without a meaning.
    """
    noise, rate = arguments.noise, arguments.sampling
    if noise is None:
        return None
    if not 0.0 < noise < float("inf") or not 0.0 < rate <= 1.0:
        raise PlanError(f"--noise-multiplier must be above 0 and --sampling in (0, 1], got {noise} and {rate}")
    sampling = "fixed" if arguments.cohort == "fixed" else "all" if rate == 1.0 else "poisson"
    return Event(arguments.mechanism, noise, sampling, rate)


def _event_options(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--noise-multiplier",
        "--noise",
        dest="noise",
        type=float,
        required=required,
        help="noise over what one unit can move the released value by (`tacit privacy calibrate --help`)",
    )
    parser.add_argument("--mechanism", choices=MECHANISMS, default="gaussian", help="default: gaussian")
    parser.add_argument("--sampling", type=float, default=1.0, help="share of the units in a release (default: 1)")
    parser.add_argument(
        "--cohort", choices=["poisson", "fixed"], default="poisson", help="by coins (default), or of a fixed size"
    )


def _action(actions: Any, name: str, about: str, *examples: str, holder: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_examples(*examples),
    )
    parser.add_argument("--holder", required=holder, metavar="NAME", help="whose data: an institution")
    purpose = "recommendations" if holder else None
    parser.add_argument("--purpose", default=purpose, metavar="NAME", help=f"default: {purpose or 'every one'}")
    parser.add_argument("--budget", metavar="PLACE", help=PLACE)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def _examples(*lines: str) -> str:
    return "\n".join(["examples:", *(f"  {line}" for line in lines)])
