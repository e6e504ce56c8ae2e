"""Everything that was drawn from a budget, composed into one statement of the budget's own relation.

Events of one relation compose by the accountant (privacy loss distributions). Under replace-one, a mechanism without
sampling is one of twice the sensitivity; sampled events of the add-or-remove-one relation convert by group privacy,
since replacing one is removing one, then adding one: P <= e^epsilon Q + delta, applied twice, gives (2 epsilon,
(1 + e^epsilon) delta) (C. Dwork, A. Roth: "The Algorithmic Foundations of Differential Privacy", 2014, section 2.3).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from tacit.core.values import Event
from tacit.privacy.accountant import Spent, spent
from tacit.privacy.budget.account import ADD, REPLACE, Allowance
from tacit.privacy.budget.errors import BudgetError

_LEAST_DELTA = 1e-13  # below it, the accountant's own rounding counts


def composed(events: Mapping[Event, int], allowance: Allowance) -> Spent:
    """Epsilon of all events at the budget's delta, under its relation; infinite where no finite one is known.

    Raises:
        BudgetError: events of a mechanism that the accountant does not know, or of a relation that cannot be converted.
    """
    counts = {event: count for event, count in events.items() if count > 0}
    nothing = Spent(0.0, allowance.delta, allowance.unit, allowance.neighbouring, "PLD", 0.0)
    if not counts:
        return nothing
    fixed = {event: count for event, count in counts.items() if event.sampling == "fixed"}
    others = {event: count for event, count in counts.items() if event not in fixed}
    if allowance.neighbouring == ADD:
        if fixed:
            raise BudgetError(
                "cohorts of fixed size, and noise that clients add themselves, are accounted under the replace-one "
                "relation, which says nothing about adding or removing one: draw cohorts by Poisson sampling, or open "
                "a budget with --neighbouring replace-one"
            )
        return _spent(others, allowance.delta, allowance)
    whole = {event: count for event, count in others.items() if event.sampling == "all" or event.sampling_rate >= 1.0}
    grouped = {event: count for event, count in others.items() if event not in whole}
    moved = Counter(fixed)
    for event, count in whole.items():  # a fixed cohort of everybody: the accountant doubles the sensitivity
        moved[replace(event, sampling="fixed", sampling_rate=1.0)] += count
    share = allowance.delta / 2.0 if grouped and moved else allowance.delta
    out = _spent(moved, share, allowance) if moved else nothing
    if grouped:
        double = _by_group_privacy(grouped, share, allowance)
        out = replace(out, epsilon=out.epsilon + double.epsilon, check=out.check + double.check)
    return replace(out, delta=allowance.delta, neighbouring=REPLACE)


def fits(events: Mapping[Event, int], allowance: Allowance) -> bool:
    """Whether all events together stay within the budget."""
    counts = {event: count for event, count in events.items() if count > 0}
    if any(not _positive(event) for event in counts) or _surely_beyond(counts, allowance):
        return False
    return composed(counts, allowance).epsilon <= allowance.epsilon


def _positive(event: Event) -> bool:
    return math.isfinite(event.noise_multiplier) and event.noise_multiplier > 0.0


def _plain(event: Event) -> bool:
    return event.mechanism == "gaussian" and (event.sampling == "all" or event.sampling_rate >= 1.0)


def _spent(events: Mapping[Event, int], delta: float, allowance: Allowance) -> Spent:
    try:
        return spent(list(Counter(dict(events)).elements()), delta, allowance.unit)
    except ValueError as error:
        raise BudgetError(f"what was drawn cannot be accounted for: {error}") from None


def _by_group_privacy(events: Mapping[Event, int], delta: float, allowance: Allowance) -> Spent:
    """(2 e, d') of events that are (e, d) under add-or-remove-one, with d chosen so that (1 + exp(e)) d <= delta."""
    small = delta / 2.0
    while small >= _LEAST_DELTA:
        found = _spent(events, small, allowance)
        if found.epsilon > 50.0:
            break
        if (1.0 + math.exp(found.epsilon)) * small <= delta:
            check = _spent(events, small, allowance).check
            return replace(found, epsilon=2.0 * found.epsilon, check=2.0 * check, delta=delta)
        small = min(small / 2.0, delta / (1.0 + math.exp(found.epsilon)))
    return Spent(math.inf, delta, allowance.unit, REPLACE, "PLD", math.inf)


def _surely_beyond(events: Mapping[Event, int], allowance: Allowance) -> bool:
    """A cheap lower bound, so that hopeless draws (a noise multiplier of 0.001) are not composed at great length.

    Gaussian mechanisms without sampling compose exactly (B. Balle, Y.-X. Wang: "Improving the Gaussian Mechanism for
    Differential Privacy", ICML 2018, https://arxiv.org/abs/1805.06530, Theorem 8); one sampled step alone costs its
    rate times that, at a smaller epsilon.
    """
    if allowance.epsilon > 300.0:
        return False
    most = allowance.delta * (1.0 + 1e-6)  # what is just within the budget must not fail by rounding
    whole = sum(count / event.noise_multiplier**2 for event, count in events.items() if _plain(event))
    if whole and _delta(1.0 / math.sqrt(whole), allowance.epsilon) > most:
        return True
    for event in events:
        if event.mechanism == "gaussian" and event.sampling == "poisson" and event.sampling_rate > 0.0:
            inner = math.log1p(math.expm1(allowance.epsilon) / event.sampling_rate)
            if event.sampling_rate * _delta(event.noise_multiplier, inner) > most:
                return True
    return False


def _delta(noise: float, epsilon: float) -> float:
    """The exact delta of a Gaussian mechanism at this epsilon, under add-or-remove-one."""
    return _normal(0.5 / noise - epsilon * noise) - math.exp(epsilon) * _normal(-0.5 / noise - epsilon * noise)


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))
