"""The whole trade-off of a training: delta at many epsilons, from the accountant's own distributions, coarsely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
from dp_accounting.rdp.rdp_privacy_accountant import compute_delta

from tacit.core.values import Array, Event
from tacit.privacy.accountant import distribution, merged, rdp_curve

GRID = 0.01  # losses are rounded up to multiples of it
ORDERS = (*range(2, 17), 20, 24, 32, 48)  # of RDP: whole and small ones, since cost grows with their squares


def deltas(events: Sequence[Event], epsilons: Array) -> Array:
    """(k,) upper bounds on delta at each epsilon (k,), under events of one relation.

    Under replace-one it is the smaller of what RDP gives and of no sampling at all.
    """
    groups = tuple(sorted(Counter(events).items(), key=repr))
    fixed = any(event.sampling == "fixed" for event, _ in groups)
    plain = tuple((replace(e, noise_multiplier=e.noise_multiplier / 2.0, sampling="all"), n) for e, n in groups)
    parts = [distribution(event, GRID).self_compose(count) for event, count in merged(plain if fixed else groups)]
    found = np.array(reduce(lambda one, other: one.compose(other), parts).get_delta_for_epsilon(epsilons))
    if fixed and any(event.sampling_rate < 1.0 for event, _ in groups):
        curve = np.sum([count * rdp_curve(event, ORDERS) for event, count in groups], axis=0)
        found = np.minimum(found, [compute_delta(ORDERS, curve, e)[0] for e in epsilons.tolist()])
    return found
