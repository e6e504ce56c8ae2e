"""Drawing from budgets: open, reserve, charge, cancel, and what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tacit.core.values import Event
from tacit.privacy.accountant import Spent
from tacit.privacy.budget import records, schema
from tacit.privacy.budget.account import Account, Allowance, Entry, Standing, checked_name
from tacit.privacy.budget.composition import composed, fits
from tacit.privacy.budget.database import Database, Session
from tacit.privacy.budget.errors import BudgetError, BudgetExceeded
from tacit.privacy.budget.rounds import Step, most


@dataclass(frozen=True, slots=True)
class Book:
    """The budgets in one database.

    A draw is admitted if everything charged, everything reserved and the draw itself, composed by the accountant, stay
    within the budget. It is composed before the lock is taken; only if somebody else drew in between, once more under
    the lock. What is charged is never given back.

    Guarantees:
        what was charged and reserved never exceeds the budget.
        a refused draw changes nothing.
        processes that race for a budget pass only while it lasts.
        a process killed at any point never leaves a release without its charge.
        a charge from a reservation always passes.
        a charge that is repeated is counted again unless its message is the same.
        cancelling a reservation gives back only what was never charged.
        the budget is spent as the accountant composes it.
    """

    database: Database

    def open(self, account: Account, allowance: Allowance, about: str = "") -> Standing:
        """Begin a budget. Where it stands already, with the same terms, only the number of clients may be stated anew.

        Raises:
            BudgetError: it stands with other terms, or the database cannot be used.
        """
        with self.database.create() as session:
            schema.make(self.database, session)
            found = records.allowance(session, account)
            if found is None:
                session.execute(
                    "INSERT INTO tacit_budget (holder, purpose, epsilon, delta, unit, neighbouring, clients, entries) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                    (
                        *(account.holder, account.purpose, float(allowance.epsilon), float(allowance.delta)),
                        *(allowance.unit, allowance.neighbouring, allowance.clients),
                    ),
                )
                records.append(session, account, 1, "open", "budget", "", _short(about), {}, {})
            elif replace(found[0], clients=allowance.clients) != allowance:
                raise BudgetError(
                    f"{account} is open already, with {_terms(found[0])}: what it allows is never changed. A budget "
                    "for something else needs another purpose."
                )
        with self.database.write(account) as session:
            known, entries = self._known(session, account)
            if allowance.clients not in (0, known.clients):
                session.execute(
                    "UPDATE tacit_budget SET clients = ? WHERE holder = ? AND purpose = ?",
                    (allowance.clients, account.holder, account.purpose),
                )
                told = f"{allowance.clients} clients"
                records.append(session, account, entries + 1, "clients", "clients", "", told, {}, {})
        return self.standing(account)

    def accounts(self) -> list[Account]:
        """Every account that was opened here."""
        with self.database.read() as session:
            return records.accounts(session) if schema.check(self.database, session) else []

    def standing(self, account: Account) -> Standing:
        """What is allowed, charged and reserved.

        Raises:
            BudgetError: there is no such budget, or it cannot be read.
        """
        with self.database.read() as session:
            allowance, _ = self._known(session, account)
            charged, held = records.sums(session, account)
        spent = composed(charged, allowance)
        return Standing(account, allowance, charged, held, spent, composed(charged + held, allowance))

    def history(self, account: Account, reservation: str | None = None) -> list[Entry]:
        """Every entry, oldest first; or only those of one reservation."""
        with self.database.read() as session:
            self._known(session, account)
            return records.entries(session, account, reservation)

    def reserve(self, account: Account, reference: str, rounds: Sequence[Step], about: str = "") -> Entry:
        """Hold what a run will draw, before it touches data. The same reference again gives the same reservation.

        Args:
            account: whose budget, for what.
            reference: the run; its charges name it as their reservation.
            rounds: for each round the events that it will draw.
            about: in the holder's words.

        Raises:
            BudgetExceeded: not all rounds fit; says how many would.
            BudgetError: no such budget; or an event that it cannot compose.
        """
        checked_name("reference", reference)
        whole = _all(rounds)
        with self.database.read() as session:
            allowance, before = self._known(session, account)
            charged, held = records.sums(session, account)
            mine = [e for e in records.entries(session, account, reference) if e.kind == "reserve"]
        if mine:
            return mine[0]
        if (fit := most(charged + held, rounds, allowance)) < len(rounds):
            raise BudgetExceeded(_refusal(account, allowance, charged, held, len(rounds), fit))
        with self.database.write(account) as session:
            allowance, entries = self._known(session, account)
            if records.attempts(session, account, "reserve", reference):
                return next(e for e in records.entries(session, account, reference) if e.kind == "reserve")
            if entries != before:
                charged, held = records.sums(session, account)
                if not fits(charged + held + whole, allowance):
                    raise BudgetExceeded(_refusal(account, allowance, charged, held, len(rounds), None))
            return records.append(
                session, account, entries + 1, "reserve", reference, reference, _short(about), {}, whole
            )

    def charge(
        self,
        account: Account,
        reference: str,
        events: Mapping[Event, int],
        reservation: str = "",
        instead_of: Mapping[Event, int] | None = None,
        unchanged: bool = False,
        about: str = "",
    ) -> Entry:
        """Charge what is about to be released. When this returns, the charge is on stable storage: release after it.

        Args:
            account: whose budget, for what.
            reference: what is released: a round of a run, a query. Charged once more, it counts once more.
            events: what the release draws.
            reservation: draw from what this run reserved, as far as that reaches; the rest must fit as any draw.
            instead_of: the part of the reservation that this charge uses up, where that is not `events`.
            unchanged: what is released is bit for bit what was released (or was to be) under the same reference, so
                that nothing is charged again.
            about: in the holder's words.

        Raises:
            BudgetExceeded: it does not fit; nothing may be released.
            BudgetError: no such budget or reservation; or an event that it cannot compose.
        """
        checked_name("reference", reference)
        events = Counter(dict(events))
        planned = events if instead_of is None else Counter(dict(instead_of))
        with self.database.read() as session:
            allowance, before = self._known(session, account)
            if unchanged and (same := _same(session, account, reference, events)) is not None:
                return same
            charged, held = records.sums(session, account)
            reserved = self._reserved(session, account, reservation)
        used = reserved & planned
        free = not events - used  # every event was reserved: composed when it was
        if not free and not fits(charged + held - used + events, allowance):
            raise BudgetExceeded(_refusal(account, allowance, charged, held, 1, 0))
        with self.database.write(account) as session:
            allowance, entries = self._known(session, account)
            if entries != before:
                if unchanged and (same := _same(session, account, reference, events)) is not None:
                    return same
                used = self._reserved(session, account, reservation) & planned
                if events - used:
                    charged, held = records.sums(session, account)
                    if not fits(charged + held - used + events, allowance):
                        raise BudgetExceeded(_refusal(account, allowance, charged, held, 1, None))
            taken = {event: -count for event, count in used.items()}
            return records.append(
                session, account, entries + 1, "charge", reference, reservation, _short(about), events, taken
            )

    def cancel(self, account: Account, reservation: str, about: str = "") -> Entry:
        """Give back what a run reserved and never charged. A run that goes on afterwards draws like any other.

        Raises:
            BudgetError: no such reservation, or nothing of it is left.
        """
        with self.database.write(account) as session:
            _, entries = self._known(session, account)
            held = self._reserved(session, account, checked_name("reference", reservation))
            if not held:
                raise BudgetError(f"nothing is reserved under {reservation!r} in {account}: there is nothing to cancel")
            back = {event: -count for event, count in held.items()}
            return records.append(
                session, account, entries + 1, "cancel", reservation, reservation, _short(about), {}, back
            )

    def rounds_left(self, account: Account, step: Mapping[Event, int], limit: int = 10_000) -> int:
        """How many rounds of this kind still fit, up to a limit."""
        with self.database.read() as session:
            allowance, _ = self._known(session, account)
            charged, held = records.sums(session, account)
        return most(charged + held, [step] * limit, allowance)

    def _known(self, session: Session, account: Account) -> tuple[Allowance, int]:
        found = records.allowance(session, account) if schema.check(self.database, session) else None
        if found is None:
            raise BudgetError(
                f"{account} was not opened in {self.database.place}: `tacit budget open --holder {account.holder!r} "
                f"--purpose {account.purpose!r} --epsilon 8 --delta 1e-5` would open one"
            )
        return found

    def _reserved(self, session: Session, account: Account, reservation: str) -> Counter[Event]:
        """What a reservation still holds."""
        if not reservation:
            return Counter()
        if not records.attempts(session, account, "reserve", reservation):
            raise BudgetError(f"{account} knows of no reservation {reservation!r}")
        return records.sums(session, account, reservation)[1]


def _same(session: Session, account: Account, reference: str, events: Counter[Event]) -> Entry | None:
    """The charge of the same for the same, if there is one."""
    if not records.attempts(session, account, "charge", reference):
        return None
    told = records.entries(session, account)
    return next((e for e in told if (e.kind, e.reference, e.charged) == ("charge", reference, events)), None)


def _all(rounds: Sequence[Step]) -> Counter[Event]:
    out = Counter[Event]()
    for step in rounds:
        out.update(step)
    return out


def _terms(allowance: Allowance) -> str:
    return (
        f"epsilon {allowance.epsilon:g} at delta {allowance.delta:g} for one {allowance.unit} "
        f"({allowance.neighbouring})"
    )


def _refusal(
    account: Account,
    allowance: Allowance,
    charged: Counter[Event],
    held: Counter[Event],
    wanted: int,
    fit: int | None,
) -> str:
    """What was needed, what is left, what it buys. Under a lock (`fit` is None) nothing more is composed."""
    start = f"{account} allows {_terms(allowance)}"
    if fit is None:
        return f"{start}, and others drew from it at this moment: {_rounds(wanted)} no longer fit. Nothing was drawn."
    spent: Spent = composed(charged + held, allowance)
    reserved = ", reservations of unfinished runs included" if held else ""
    left = max(0.0, allowance.epsilon - spent.epsilon)
    what = "what was to be drawn does" if wanted == 1 else f"{wanted} rounds do"
    buys = f" It buys {_rounds(fit)} of this kind." if wanted > 1 else ""
    return (
        f"{start}; epsilon {spent.epsilon:.4g} of it is taken{reserved}, {left:.4g} is left, and {what} not fit."
        f"{buys} Nothing was drawn: use more noise or fewer rounds."
    )


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _short(about: str) -> str:
    return " ".join(about.split())[:200]
