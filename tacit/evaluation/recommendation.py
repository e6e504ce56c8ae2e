"""Hit rate and NDCG of a recommender, leave-one-out: against sampled negatives and in full ranking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tacit.core.values import Array, DataError, Population
from tacit.evaluation.bootstrap import intervals
from tacit.evaluation.errors import ScoreError
from tacit.evaluation.kernel import kernel
from tacit.evaluation.negatives import held_out
from tacit.evaluation.ranking import Ranks, hit_rate, ndcg


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ranking:
    """How well n customers' held-out items were ranked. One value for each customer: personal until averaged."""

    customers: Array  # (n,) int64 index of each customer who has a held-out item
    ranks: Ranks  # of the same customers, in the same order
    k: int = 10

    def __repr__(self) -> str:
        """Shows sizes only."""
        return f"Ranking({len(self.customers)} customers, k={self.k})"

    @property
    def hr(self) -> Array:
        """(n,) hit rate at k against sampled negatives, mean over their draws."""
        return np.asarray(hit_rate(self.ranks.sampled, self.k).mean(axis=0))

    @property
    def ndcg(self) -> Array:
        """(n,) NDCG at k against sampled negatives, mean over their draws."""
        return np.asarray(ndcg(self.ranks.sampled, self.k).mean(axis=0))

    @property
    def full_hr(self) -> Array:
        """(n,) hit rate at k among all items that the customer has not met."""
        return hit_rate(self.ranks.full, self.k)

    @property
    def full_ndcg(self) -> Array:
        """(n,) NDCG at k among all items that the customer has not met."""
        return ndcg(self.ranks.full, self.k)

    @property
    def top(self) -> Array:
        """(n, k) recommended items, best first, -1 where there are fewer."""
        return self.ranks.top

    def values(self) -> dict[str, Array]:
        """One value for each customer, (n,), under the names that `summary` uses."""
        return {
            f"hr@{self.k}": self.hr,
            f"ndcg@{self.k}": self.ndcg,
            f"full.hr@{self.k}": self.full_hr,
            f"full.ndcg@{self.k}": self.full_ndcg,
        }

    def summary(self, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
        """Means over customers by name, and under "low" and "high" the ends of their 95 % bootstrap intervals."""
        return summarise(self.values(), draws, seed)


def summarise(values: Mapping[str, Array], draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Means of values for each customer (n,) by name, with the ends of their 95 % intervals under "low" and "high"."""
    low, high = intervals(np.stack(list(values.values())), draws, seed)
    return {
        **{name: float(value.mean()) for name, value in values.items()},
        "low": dict(zip(values, low.tolist(), strict=True)),
        "high": dict(zip(values, high.tolist(), strict=True)),
    }


def evaluate(
    score_block: Callable[[Array], Array],
    train: Population,
    test: Array,
    validation: Array | None,
    negatives: Array,
    k: int = 10,
    block: int = 512,
) -> Ranking:
    """Rank every customer's test item, a block of customers at a time.

    Args:
        score_block: customer indexes (b,) -> scores (b, items), higher is better; called once for each block.
        train: training rows of all customers, left out of full ranking.
        test: (customers,) item, -1 for customers without one, who are passed over.
        validation: (customers,) item left out of full ranking, -1 or None for none.
        negatives: (draws, customers, c) from `negatives.draws`, or the published ones of a data set; -1 is ignored.
        k: length of the list.
        block: customers scored at once; memory is about block * items * 8 bytes.

    Raises:
        ScoreError: a score is NaN or a block of scores has the wrong shape.
        DataError: nobody has a test item, or a held-out item or a negative is also a training item of its customer.
    """
    target = held_out(test, train)
    also_seen = held_out(validation, train)
    if negatives.ndim != 3 or negatives.shape[1] != len(train):
        raise ValueError(f"negatives (draws, {len(train)}, count) were needed, got {negatives.shape}")
    customers = np.flatnonzero(target >= 0)
    if len(customers) == 0:
        raise DataError("evaluation needs customers with a held-out item; none of them has one")
    refuse_overlap(train, target, also_seen, negatives)
    parts = []
    for low in range(0, len(customers), block):
        chosen = customers[low : low + block]
        scores = np.asarray(score_block(chosen))
        if scores.shape != (len(chosen), train.schema.items):
            raise ScoreError(f"scores {(len(chosen), train.schema.items)} were needed, got {scores.shape}")
        seen = train.take(chosen)
        parts.append(Ranks.of(scores, target[chosen], negatives[:, chosen], seen, also_seen[chosen], k))
    return Ranking(customers, Ranks.join(parts), k)


def refuse_overlap(train: Population, test: Array, validation: Array, negatives: Array) -> None:
    """Refuse a split that leaks.

    Raises:
        DataError: a test item is also the validation item or a training item of its customer, or a negative is one
            of the customer's training items. Says how many, never whose.
    """
    rows = np.ascontiguousarray(train.fields["item"], np.int32)
    flat = np.ascontiguousarray(negatives.transpose(1, 0, 2).reshape(len(train), -1), np.int32)
    tests, drawn = _overlap(rows, np.asarray(train.offsets, np.int64), train.schema.items, test, validation, flat)
    if tests:
        raise DataError(
            f"{tests} customers have their test item in their training or validation rows: a leak; hold it out of both"
        )
    if drawn:
        raise DataError(
            f"{drawn} evaluation negatives are training items of their customer; draw them with negatives.draws"
        )


@kernel
def _overlap(
    rows: Array, offsets: Array, items: int, test: Array, validation: Array, negatives: Array
) -> tuple[int, int]:
    mark = np.full(items, -1, np.int64)
    tests, drawn = 0, 0
    for customer in range(len(test)):
        for row in range(offsets[customer], offsets[customer + 1]):
            mark[rows[row]] = customer
        item = test[customer]
        if item >= 0 and (mark[item] == customer or item == validation[customer]):
            tests += 1
        for negative in negatives[customer]:
            if negative >= 0 and mark[negative] == customer:
                drawn += 1
    return tests, drawn
