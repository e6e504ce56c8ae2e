"""How a round's contributions become integers mod 2^32, so that a secure sum can add them."""

from __future__ import annotations

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import LocalWork, Statistics
from tacit.core.values import Params
from tacit.privacy.quantise import Quantiser

SLACK = 1.0 + 1e-6  # a clipped vector may exceed its bound by rounding


def quantiser(plan: Plan, work: LocalWork | Statistics, like: Params, clients: int, parties: int) -> Quantiser:
    """Bounds by the clip norm, by the ranges that a model declares, or by the plan's `quantise_bound`.

    Parts that a model declares whole (counts) stay exact, unless they are clipped. A party speaks for one client, or
    (`secure_between = "nodes"`) for all that its node hosts.
    """
    hosted = clients if plan.secure_between == "nodes" else 1
    names = sorted(like)
    lengths = tuple(int(np.size(like[name])) for name in names)
    if plan.clip_norm is not None:
        return Quantiser(plan.clip_norm * SLACK * hosted, parties, (sum(lengths),))
    declared = getattr(work, "model", work)
    ranges, whole = dict(getattr(declared, "ranges", {})), set(getattr(declared, "whole", ()))
    bounds = tuple(float(ranges.get(name, plan.quantise_bound)) * hosted for name in names)
    return Quantiser(bounds, parties, lengths, tuple(name in whole for name in names))
