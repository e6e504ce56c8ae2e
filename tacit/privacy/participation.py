"""Who may take part when, where cohorts go through the clients in turn: the blocks of a cycle."""

from __future__ import annotations

import numpy as np

from tacit.core.plan import Plan
from tacit.core.trees import seed_of
from tacit.core.values import Array
from tacit.privacy.randomness import simulated


def blocks(plan: Plan, clients: int) -> int:
    """Cohorts that a cycle is cut into, and so rounds from one participation of a client to its next."""
    if plan.sampling != "cyclic" or not 0 < plan.cohort < clients:
        return 1
    return -(-clients // plan.cohort)


def expected(plan: Plan, clients: int) -> int:
    """Contributions that a round expects."""
    return round(clients / blocks(plan, clients)) if plan.sampling == "cyclic" else plan.cohort or clients


def block(plan: Plan, clients: int, round: int) -> Array:
    """Sorted numbers of the clients of a round's block; blocks differ by at most one client.

    The order is shuffled once, by the plan's seed, and public: nobody is hidden by it, and a run that is resumed keeps
    to it, on which the spacing of participations rests.
    """
    count = blocks(plan, clients)
    order = np.argsort(simulated(seed_of("cycle", plan.seed, clients)).uniform(clients), kind="stable")
    return np.sort(np.array_split(order, count)[(round - 1) % count])
