"""How a round's contributions become integers mod 2^32, so that a secure sum can add them."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import LocalWork, Shared, Statistics
from tacit.core.values import Params, Turn
from tacit.privacy import messages, protection
from tacit.privacy.packing import Packed
from tacit.privacy.quantise import Quantiser

Codec: TypeAlias = Quantiser | Packed
SLACK = 1.0 + 1e-6  # a clipped vector may exceed its bound by rounding


def quantiser(
    plan: Plan, work: LocalWork | Statistics, like: Params, clients: int, parties: int, turns: tuple[Turn, ...] = ()
) -> Codec:
    """Bounds by what transforms let through, by the ranges that a model declares, or by the plan's `quantise_bound`.

    Parts that a model declares whole (counts) stay exact, unless they are clipped. A party speaks for one client, or
    (`secure_between = "nodes"`) for all that its node hosts. Contributions that lie on a grid of few points are packed,
    several values to a word; what transforms leave without a bound is held to the plan's `quantise_bound` by value.

    Raises:
        PlanError: the sum of so many values of so many bits does not fit into a word.
    """
    hosted = clients if plan.secure_between == "nodes" else 1
    names = sorted(like)
    lengths = tuple(int(np.size(like[name])) for name in names)
    if not turns:
        turns = protection.turns(plan, 1, sum(lengths), clients, parties, protection.start(plan))
    bound, length = protection.reach(plan, turns), protection.length(plan, turns, sum(lengths))
    if hosted == 1 and (grid := messages.grid(plan.protect, turns)) is not None:
        most = plan.cohort if plan.cohort and plan.sampling != "poisson" else parties
        return Packed(length, grid[1], grid[0], most)
    if math.isfinite(bound):
        whole_bound = bound * SLACK * hosted
        if isinstance(plan.protect[-1], Shared):  # room for everybody's noise, spread evenly over the parties
            whole_bound += plan.protect[-1].headroom(turns[-1], whole_bound * parties / 2.0**31) / parties
        return Quantiser(whole_bound, parties, (length,))
    if plan.per_client:
        return Quantiser(plan.quantise_bound, parties, (length,))
    declared = getattr(work, "model", work)
    ranges, whole = dict(getattr(declared, "ranges", {})), set(getattr(declared, "whole", ()))
    bounds = tuple(float(ranges.get(name, plan.quantise_bound)) * hosted for name in names)
    return Quantiser(bounds, parties, lengths, tuple(name in whole for name in names))
