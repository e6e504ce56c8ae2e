"""A run under a budget: all its rounds are reserved before data are touched, each is charged before it begins.

A crash never under-counts: a round's charge is on stable storage before any party works on the round. A round that is
repeated after a crash draws new noise, so it is a new release and charged again; only under `simulation`, where the
repeated message is the same bit for bit, one charge is enough.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tacit.core.plan import Plan
from tacit.core.protocols import Engine
from tacit.core.trees import size
from tacit.core.values import DataError, Event, Params, Round, Schema
from tacit.federation.run import broadcast, run
from tacit.learning.contribution import contribution_like
from tacit.privacy import protection
from tacit.privacy.budget.account import Account, Entry
from tacit.privacy.budget.book import Book
from tacit.privacy.budget.composition import composed
from tacit.privacy.budget.errors import BudgetError
from tacit.privacy.budget.location import at
from tacit.privacy.calibrate import calibrate, sampling_of
from tacit.privacy.unit import noisy_steps, unit_of

FILE = Path("state") / "budget.json"  # in the run folder: which budget a resumed run goes on drawing from


@dataclass(frozen=True, slots=True)
class Drawing:
    """Which budget a run draws from."""

    holder: str
    purpose: str = "recommendations"
    place: str = ""  # a file or a postgresql:// URL without password; "" = $TACIT_BUDGET, else the user's own file


@dataclass(frozen=True, slots=True)
class Meter:
    """What charges one run's rounds."""

    book: Book
    account: Account
    run: str  # the reservation
    clients: int  # that the budget states; 0 = not stated

    def check(self, plan: Plan, clients: int, folder: Path) -> None:
        """Compare the number of clients that was reserved for with what the data hold.

        Raises:
            BudgetError: they differ, and the plan's cost depends on it. What was not charged is given back.
        """
        if plan.cohort and clients != self.clients:
            self.abandon(folder)
            raise BudgetError(
                f"{self.account} speaks of {self.clients} clients and the data hold {clients}, so that cohorts would "
                f"cost something else than was reserved: state the number with `tacit budget open --clients {clients}`"
            )

    def abandon(self, folder: Path) -> None:
        """Give back what was reserved, if nothing was charged: the run could not begin. It may be begun again."""
        if self.charges():
            return
        with suppress(BudgetError):
            self.book.cancel(self.account, self.run, "the run could not begin")
        known = _known(folder)
        if known is None or not (folder / "plan.toml").exists():
            _clear(folder)
        else:  # it is to draw from the same budget when it is resumed
            _store(folder, {**known, "run": secrets.token_hex(6), "clients": None})

    def charge(self, plan: Plan, name: str, number: int, events: Counter[Event], planned: Counter[Event]) -> Entry:
        """Charge a round before it begins."""
        reference = f"{self.run}/{name}/{number}"
        return self.book.charge(self.account, reference, events, self.run, planned, unchanged=plan.simulation)

    def begun(self, name: str) -> set[int]:
        """Rounds of a training that are charged already, so that to charge them once more is to repeat them."""
        known = (entry.reference.removeprefix(f"{self.run}/").rsplit("/", 1) for entry in self.charges())
        return {int(number) for training, number in known if training == name}

    def told(self, entry: Entry) -> tuple[str, dict[str, Any]]:
        """(identity, entry) of a charge for the run's ledger."""
        name, number = entry.reference.removeprefix(f"{self.run}/").rsplit("/", 1)
        events = [asdict(event) | {"count": count} for event, count in sorted(entry.charged.items(), key=repr)]
        about = {"training": name, "number": int(number), "attempt": entry.attempt, "events": events}
        return f"{name}/{number}/{entry.attempt}", about | {
            "holder": self.account.holder,
            "purpose": self.account.purpose,
        }

    def charges(self) -> list[Entry]:
        """Every charge of this run so far, by all its processes."""
        return [entry for entry in self.book.history(self.account, self.run) if entry.kind == "charge"]

    def summary(self) -> dict[str, Any]:
        """What the report says of the budget. Epsilons compose: this run's share is what it added to the others'."""
        standing, charges = self.book.standing(self.account), self.charges()
        terms, mine = asdict(standing.allowance), Counter[Event]()
        for entry in charges:
            mine.update(entry.charged)
        before = composed(standing.charged - mine, standing.allowance).epsilon
        return terms | {
            "holder": self.account.holder,
            "purpose": self.account.purpose,
            "spent": standing.spent.epsilon,
            "others": before,
            "this_run": max(0.0, standing.spent.epsilon - before),
            "reserved": max(0.0, standing.taken.epsilon - standing.spent.epsilon),
            "left": standing.left,
            "charges": len(charges),
            "repeated": sum(entry.attempt > 1 for entry in charges),
            "reservation": self.run,
            "entries": [charges[0].number, charges[-1].number] if charges else [],
        }

    def note(self, facts: Mapping[str, Any]) -> str:
        """The summary in a sentence."""
        return (
            f"Drawn from {self.account}: {facts['charges']} charges, each stored before its round began, "
            f"{facts['repeated']} of them for rounds that a crash had repeated. Of its epsilon {facts['epsilon']:g} "
            f"(delta {facts['delta']:g}, one {facts['unit']}, {facts['neighbouring']}) {facts['spent']:.4g} is spent "
            f"and {facts['left']:.4g} left. Measurements in this report are not part of it."
        )


def reserve(plan: Plan, folder: Path, drawing: Drawing | None) -> Meter | None:
    """Reserve every round of every training of a run, or go on with what was reserved; None for a run without budget.

    Raises:
        BudgetExceeded: it does not fit; says what is left and how many rounds that buys. No data were touched.
        BudgetError: a training without noise, of another unit, or with cohorts of a share that is not known.
        DataError: the run began without a budget, or with another one.
    """
    known = _known(folder)
    if known is None and drawing is None:
        return None
    if known is None and (folder / "report.json").exists() and not (folder / FILE).parent.exists():
        return None  # finished: nothing will be computed
    if known is None and any((folder / "state").glob("*/server.safetensors")):
        raise DataError(f"the run in {folder} began without a budget, so rounds of it were never charged: begin anew")
    if known is not None and drawing is not None and known["drawing"] != _stored(drawing):
        raise DataError(f"the run in {folder} draws from another budget: resume it without naming one")
    if known is not None and known["plan"] != plan.digest():
        raise DataError(f"{folder} holds what another plan reserved: choose another folder")
    drawing = Drawing(**known["drawing"]) if known is not None else drawing
    assert drawing is not None
    book, account = Book(at(drawing.place)), Account(drawing.holder, drawing.purpose)
    if known is not None and known["clients"] is not None:
        return Meter(book, account, known["run"], known["clients"])
    allowance = book.standing(account).allowance
    identity = known["run"] if known is not None else secrets.token_hex(6)
    stored = {"run": identity, "plan": plan.digest(), "drawing": _stored(drawing)}
    try:
        steps = _steps(plan, allowance.unit, allowance.clients)
        _store(folder, stored | {"clients": None})
        book.reserve(account, identity, steps, f"run of {plan.name!r}, plan {plan.digest()[:16]}")
    except BudgetError:
        if not (folder / "plan.toml").exists():
            _clear(folder)
        raise
    _store(folder, stored | {"clients": allowance.clients})
    return Meter(book, account, identity, allowance.clients)


def metered(
    meter: Meter | None, plan: Plan, name: str, engine: Engine, schema: Schema, after: Round | None
) -> Iterator[tuple[Round, tuple[Entry, ...]]]:
    """The rounds of `federation.run.run`, each asked for only when its charge is stored, with their charges.

    Raises:
        BudgetExceeded: a repeated round, or one that costs more than was reserved, does not fit; it was not begun.
    """
    rounds = run(plan, engine, schema, after)
    if meter is None:
        yield from ((done, ()) for done in rounds)
        return
    state = plan.algorithm.init(plan.model, schema, plan.seed) if after is None else after.state
    nodes = engine.nodes()
    clients = sum(nodes.values())
    parties = len(nodes) if plan.secure_between == "nodes" else plan.cohort or clients
    again = set() if plan.simulation else meter.begun(name)
    for number in range(1 if after is None else after.number + 1, plan.rounds + 1):
        values = size(contribution_like(plan, broadcast(plan.model, state.shared), schema, number))
        told = protection.unpacked(plan, state.server)
        own, events = _own(plan), _events(plan, number, values, clients, parties, told)
        planned = _events(plan, number, 0, clients, parties, protection.start(plan))
        drawn = events
        if number in again:  # in full: what it adds to rounds before says nothing of a second release
            drawn = _events(plan, number, values, clients, parties, told, again=True)
        charges = [meter.charge(plan, name, number, own + drawn, own + planned)]
        done = next(rounds)
        if (found := _costly(done.events)) != events:  # nobody has seen the round yet: charge what it did draw, too
            charges.append(meter.charge(plan, name, number, found, Counter()))
        state = done.state
        yield done, tuple(charges)


def _steps(plan: Plan, unit: str, clients: int) -> list[Counter[Event]]:
    """What the k-th rounds of all trainings draw together, for every k."""
    trainings = (plan, *plan.also)
    steps = [Counter[Event]() for _ in range(max(each.rounds for each in trainings))]
    for each in trainings:
        if each.tradeoff:
            raise BudgetError(
                f"{each.name!r} asks for quality by epsilon, which trains it at {len(each.tradeoff)} epsilons and once "
                "without noise: an experiment, which no budget pays for. Leave out `tradeoff`, or run it without a "
                "budget on data that need none"
            )
        if each.noise is None and noisy_steps(each) is None:
            raise BudgetError(
                f"the training {each.name!r} adds no noise, so that no epsilon is enough for it: give it a noise "
                "mechanism, leave it out of the plan, or run it without a budget on data that need none"
            )
        if (mine := unit_of(each)) != unit:
            raise BudgetError(f"the budget counts what is learned of one {unit}, and {each.name!r} hides one {mine}")
        if each.cohort and not clients:
            raise BudgetError(
                f"{each.name!r} draws cohorts, whose cost depends on the number of clients, and no data are read to "
                "learn it: state it once with `tacit budget open --clients NUMBER`"
            )
        ready = calibrate(each, max(clients, 1))
        parties = ready.cohort or max(clients, 1)
        for number in range(1, ready.rounds + 1):
            events = _own(ready) + _events(ready, number, 0, max(clients, 1), parties, protection.start(ready))
            for event, count in events.items():
                steps[number - 1][event] += count * max(each.folds, 1)
    if plan.choose is not None:  # after all rounds
        steps.append(Counter([plan.choose.event()]))
    return steps


def _own(plan: Plan) -> Counter[Event]:
    """What a round draws from every client's examples where each client protects its own (DPSGD)."""
    steps = noisy_steps(plan)
    return Counter(steps.events(1)) if steps is not None and plan.noise is None else Counter()


def _events(
    plan: Plan, number: int, values: int, clients: int, parties: int, told: tuple[Params, ...], again: bool = False
) -> Counter[Event]:
    sampling, rate = sampling_of(plan, clients)
    turns = protection.turns(plan, number, values, clients, parties, told)
    found = (
        getattr(t, "repeated" if again and hasattr(t, "repeated") else "event")(sampling, rate, turn)
        for t, turn in zip(plan.protect, turns, strict=True)
    )
    return _costly(tuple(event for event in found if event is not None))


def _costly(events: tuple[Event, ...]) -> Counter[Event]:
    """Events that say something; infinite noise says nothing."""
    return Counter(event for event in events if event.noise_multiplier != math.inf)


def _stored(drawing: Drawing) -> dict[str, str]:
    """The drawing with the place that it means, so that a resumed run finds it from anywhere."""
    place = at(drawing.place).place
    return asdict(drawing) | {"place": place if "://" in place else str(Path(place).resolve())}


def _known(folder: Path) -> Mapping[str, Any] | None:
    try:
        known = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return known if {"run", "plan", "drawing", "clients"} <= set(known) else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError):
        raise DataError(f"{folder / FILE} is damaged: the run cannot say which budget it draws from") from None


def _clear(folder: Path) -> None:
    """Leave no trace of a run that did not begin."""
    with suppress(OSError):
        (folder / FILE).unlink(missing_ok=True)
        (folder / FILE).parent.rmdir()
        folder.rmdir()


def _store(folder: Path, known: Mapping[str, Any]) -> None:
    path = folder / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".tmp").open("w", encoding="utf-8") as file:
            json.dump(dict(known), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path.with_suffix(".tmp"), path)
    except OSError as error:
        raise DataError(f"the run folder {folder} cannot be made: {error.strerror}") from None
