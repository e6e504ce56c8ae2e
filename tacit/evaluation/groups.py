"""A metric by group of customers, with intervals, and with no group so small that it singles somebody out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tacit.core.values import Array
from tacit.evaluation.bootstrap import interval

OTHER = "other (small groups)"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Group:
    """The mean of a metric over one group, with its 95 % bootstrap interval over customers."""

    name: str
    customers: int
    mean: float
    low: float
    high: float

    def summary(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def by_group(values: Array, labels: Array, minimum: int = 10, draws: int = 2000, seed: int = 0) -> tuple[Group, ...]:
    """The mean of one value for each customer (n,) in every group of `labels` (n,), sorted by name, small ones last.

    Groups under `minimum` customers are merged into "other (small groups)". If that is still too small, the smallest
    remaining groups join it, since a total less all other groups would give it away. Fewer than `minimum` customers in
    all: no group is shown.

    Raises:
        ValueError: shapes differ, or minimum < 1.
    """
    if np.shape(values) != np.shape(labels) or np.ndim(values) != 1:
        raise ValueError(f"one label for each value was needed, got {np.shape(labels)} for {np.shape(values)}")
    if minimum < 1:
        raise ValueError(f"minimum must be at least 1, got {minimum}")
    names = np.array([_name(label) for label in np.asarray(labels).tolist()], dtype=object)
    merged = merge_small(names, minimum)
    shown = sorted(set(merged.tolist()), key=lambda name: (name == OTHER, name))
    out = []
    for name in shown:
        chosen = np.asarray(values, np.float64)[merged == name]
        if len(chosen) >= minimum:
            out.append(Group(name, len(chosen), float(chosen.mean()), *interval(chosen, draws, seed)))
    return tuple(out)


def merge_small(labels: Array, minimum: int = 10) -> Array:
    """The labels (n,), those of groups under `minimum` replaced by "other (small groups)", as `by_group` does."""
    names, sizes = np.unique(labels.astype(str), return_counts=True)
    order = np.argsort(sizes, kind="stable")
    small: list[str] = []
    held = 0
    for place in order:
        if sizes[place] >= minimum and (held == 0 or held >= minimum):
            break
        small.append(str(names[place]))
        held += int(sizes[place])
    return np.where(np.isin(labels.astype(str), small), OTHER, labels.astype(str)).astype(object)


def activity_quartiles(rows: Array) -> Array:
    """(n,) quartile of each customer by number of training rows (n,); equal numbers share a quartile."""
    if len(rows) == 0:
        return np.zeros(0, dtype=object)
    edges = np.quantile(rows, [0.25, 0.5, 0.75])
    names = np.array(["1 (fewest rows)", "2", "3", "4 (most rows)"], dtype=object)
    return np.asarray(names[np.searchsorted(edges, rows, side="left")], dtype=object)


def _name(label: Any) -> str:
    if label is None or label != label or str(label).strip() == "":
        return UNKNOWN
    return str(label)
