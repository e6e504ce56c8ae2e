"""What lists of recommendations are like, apart from being right: coverage, concentration, diversity, novelty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tacit.core.values import Array, Population
from tacit.evaluation.bootstrap import interval
from tacit.evaluation.kernel import kernel


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BeyondAccuracy:
    """Properties of n customers' lists of k items. The arrays hold one value for each customer: personal."""

    coverage: float  # share of the catalogue that is in at least one list
    gini: float  # 0: all items are recommended equally often, towards 1: few items take all places
    diversity: Array  # (n,) 1 - mean cosine between two items of a list; NaN for lists under two items
    novelty: Array  # (n,) mean self-information of the items of a list, in bits; NaN for an empty list
    k: int = 10

    def __repr__(self) -> str:
        """Shows sizes only."""
        return f"BeyondAccuracy({len(self.diversity)} customers, k={self.k})"

    def summary(self, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
        """Figures by name, with 95 % intervals of those that are means over customers; None where undefined."""
        out: dict[str, Any] = {f"coverage@{self.k}": self.coverage, f"gini@{self.k}": self.gini}
        ends: dict[str, dict[str, float]] = {"low": {}, "high": {}}
        for name, values in ((f"diversity@{self.k}", self.diversity), (f"novelty@{self.k}", self.novelty)):
            defined = values[~np.isnan(values)]
            out[name] = float(defined.mean()) if len(defined) else None
            if len(defined):
                ends["low"][name], ends["high"][name] = interval(defined, draws, seed)
        return {**out, **ends}


def beyond_accuracy(top: Array, train: Population, categories: Array | None = None) -> BeyondAccuracy:
    """Describe lists of recommendations.

    Args:
        top: (n, k) items, -1 where a list is shorter; of any customers, in any order.
        train: training rows of everybody, for popularity and co-occurrence.
        categories: (items, c) one vector for each item (genre flags); None: two items are alike as far as the same
            customers have met them.
    """
    items = train.schema.items
    pairs = np.unique(train.owner() * items + train.fields["item"])  # a customer counts once for an item
    popularity = np.bincount(pairs % items, minlength=items)
    diversity = (
        category_diversity(top, categories) if categories is not None else cooccurrence_diversity(top, pairs, items)
    )
    return BeyondAccuracy(
        coverage(top, items), gini(top, items), diversity, novelty(top, popularity, len(train)), top.shape[1]
    )


def coverage(top: Array, items: int) -> float:
    """Share of the catalogue that is in at least one list (n, k): 0 to 1."""
    return len(np.unique(top[top >= 0])) / items


def gini(top: Array, items: int) -> float:
    """Gini coefficient of how often each item is recommended: 0 equal, (items - 1) / items if one item takes all."""
    times = np.sort(np.bincount(top[top >= 0].ravel(), minlength=items))
    places = np.arange(1, items + 1)
    total = times.sum()
    return float(np.sum((2 * places - items - 1) * times) / (items * total)) if total else 0.0


def category_diversity(top: Array, categories: Array) -> Array:
    """(n,) 1 - mean cosine between the category vectors (items, c) of two items of a list (n, k).

    Ziegler et al., Improving recommendation lists through topic diversification, WWW 2005. An item without any
    category is like no other.
    """
    lengths = np.linalg.norm(categories, axis=1, keepdims=True)
    unit = np.divide(categories, lengths, out=np.zeros(categories.shape), where=lengths > 0)
    present = top >= 0
    vectors = np.where(present[:, :, None], unit[np.where(present, top, 0)], 0.0)  # (n, k, c)
    together = np.square(vectors.sum(axis=1)).sum(axis=1) - np.square(vectors).sum(axis=(1, 2))  # both orders
    size = present.sum(axis=1)
    pairs = size * (size - 1)
    return np.where(pairs > 0, 1.0 - together / np.maximum(pairs, 1), np.nan)


def cooccurrence_diversity(top: Array, pairs: Array, items: int) -> Array:
    """(n,) 1 - mean cosine between two items of a list (n, k), as vectors of the customers who met them.

    `pairs` are the sorted distinct customer * items + item. An item that nobody met is like no other.
    """
    customer, item = pairs // items, pairs % items
    order = np.argsort(item, kind="stable")  # keeps the customers of an item sorted
    starts = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=items))]).astype(np.int64)
    first, second = np.triu_indices(top.shape[1], 1)
    a, b = np.minimum(top[:, first], top[:, second]), np.maximum(top[:, first], top[:, second])
    present = a >= 0
    keys = np.where(present, a.astype(np.int64) * items + b, -1)
    wanted, place = np.unique(keys, return_inverse=True)
    cosines = np.zeros(len(wanted))
    _cosines(wanted, items, customer[order], starts, cosines)
    total = cosines[place.reshape(keys.shape)].sum(axis=1)
    size = present.sum(axis=1)
    return np.where(size > 0, 1.0 - total / np.maximum(size, 1), np.nan)


def novelty(top: Array, popularity: Array, customers: int) -> Array:
    """(n,) mean over a list (n, k) of -log2 of the share of customers who met an item: higher is less known.

    Zhou et al., PNAS 107(10), 2010. Differs from the paper: one customer is added to both counts, so that an item
    that nobody has met yet has a finite value.
    """
    bits = -np.log2((popularity + 1.0) / (customers + 1.0))
    present = top >= 0
    size = present.sum(axis=1)
    total = np.where(present, bits[np.where(present, top, 0)], 0.0).sum(axis=1)
    return np.where(size > 0, total / np.maximum(size, 1), np.nan)


@kernel
def _cosines(keys: Array, items: int, customers: Array, starts: Array, out: Array) -> None:
    for place in range(len(keys)):
        if keys[place] < 0:
            continue
        i, j = keys[place] // items, keys[place] % items
        left, right = starts[i], starts[j]
        common = 0
        while left < starts[i + 1] and right < starts[j + 1]:
            if customers[left] == customers[right]:
                common += 1
                left += 1
                right += 1
            elif customers[left] < customers[right]:
                left += 1
            else:
                right += 1
        sizes = (starts[i + 1] - starts[i]) * (starts[j + 1] - starts[j])
        if sizes > 0:
            out[place] = common / np.sqrt(sizes)
