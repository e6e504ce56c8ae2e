"""How many rounds the rest of a budget buys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tacit.core.values import Event
from tacit.privacy.budget.account import Allowance
from tacit.privacy.budget.composition import fits

Step = Mapping[Event, int]  # what is drawn together: one round of each training of a run


def most(taken: Counter[Event], steps: Sequence[Step], allowance: Allowance) -> int:
    """The largest k such that the first k steps fit beside what is taken already.

    Numbers are tried upwards from 1 by doubling, so that what is far beyond the budget is never composed.
    """
    low, high = 0, 1  # low fits (or is 0)
    while high <= len(steps) and fits(_with(taken, steps, high), allowance):
        if high == len(steps):
            return high
        low, high = high, min(2 * high, len(steps))
    high = min(high, len(steps) + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(_with(taken, steps, middle), allowance) else (low, middle)
    return low


def _with(taken: Counter[Event], steps: Sequence[Step], count: int) -> Counter[Event]:
    out = Counter(taken)
    for step in steps[:count]:
        out.update(step)
    return out
