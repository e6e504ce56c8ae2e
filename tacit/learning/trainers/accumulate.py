"""Adding up contributions in float64, each bounded first where the plan says so."""

from __future__ import annotations

import math

import numpy as np

from tacit.core.protocols import Statistics
from tacit.core.trees import norm
from tacit.core.values import Array, Params, Population
from tacit.privacy.clip import factor


def add(sums: dict[str, Array], contribution: Params, clip_norm: float | None) -> None:
    """Add one client's contribution to float64 sums, in place.

    Raises:
        ValueError: the contribution holds NaN or infinity.
    """
    size = norm(contribution)
    if not math.isfinite(size):
        raise ValueError("a contribution holds NaN or infinity (a learning rate too high?): it must not be sent")
    scale = 1.0 if clip_norm is None else factor(size, clip_norm)
    for name, value in contribution.items():
        part = np.asarray(value, np.float64)
        part = part if scale == 1.0 else part * scale
        sums[name] = sums[name] + part if name in sums else part.copy()


def add_statistics(
    work: Statistics, shared: Params, own: dict[str, Array], population: Population, cohort: Array, clip: float | None
) -> Params:
    """Sums of a statistics work over a cohort: all clients at once, or one by one where each must be bounded.

    Work that draws noise for each client (it has `over`) is told which ones they are.
    """
    groups = [cohort] if clip is None else [cohort[i : i + 1] for i in range(len(cohort))]
    over = getattr(work, "over", None)
    sums: dict[str, Array] = {}
    for group in groups:
        mine = {name: values[group] for name, values in own.items()}
        told: Statistics = work if over is None else over(population.first + group)
        part, new = told.sums(shared, mine, population.take(group))
        add(sums, part, clip)
        for name, values in new.items():
            own[name][group] = values
    return sums
