"""Who takes part in a round."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tacit.core.plan import Plan
from tacit.core.trees import seed_of
from tacit.core.values import Array
from tacit.federation.randomness import stream
from tacit.privacy.participation import block

COHORT = "#cohort"  # the name under which a request carries its cohort, beside the shared parameters


def draw(plan: Plan, clients: int, round: int) -> Array:
    """Sorted numbers of the clients in this round's cohort.

    Fixed: `plan.cohort` distinct clients, every set equally likely. Poisson: each client by its own coin with
    probability cohort / clients, so the size varies and may be 0. Cyclic: block after block of clients, in turn.
    """
    if plan.cohort == 0 or plan.cohort >= clients:
        return np.arange(clients)
    if plan.sampling == "cyclic":
        return block(plan, clients, round)
    coins = stream(plan, "cohort", round).uniform(clients)
    if plan.sampling == "poisson":
        return np.flatnonzero(coins < plan.cohort / clients)
    return np.sort(np.argpartition(coins, plan.cohort)[: plan.cohort])


def by_node(cohort: Array, nodes: Mapping[str, int]) -> dict[str, Array]:
    """Node -> numbers, on that node, of the cohort's clients; nodes without any are left out."""
    out, first = {}, 0
    for name, count in nodes.items():
        mine = cohort[(cohort >= first) & (cohort < first + count)] - first
        if len(mine):
            out[name] = mine
        first += count
    return out


def vanishes(plan: Plan, client: int, round: int) -> bool:
    """Whether this client, in simulation, drops out of this round after it has shared its keys."""
    return plan.dropout > 0.0 and seed_of("dropout", plan.seed, client, round) < plan.dropout * 2.0**63
