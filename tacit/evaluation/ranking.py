"""The rank of a held-out item: among sampled negatives, and among the whole catalogue.

Ranks count from 1. A tie counts against the target, so that a model of constant scores gains nothing.
Sampled metrics need not order models as full ranking does (Krichene and Rendle, KDD 2020): state both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tacit.core.values import Array, Population
from tacit.evaluation.errors import ScoreError
from tacit.evaluation.kernel import kernel


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ranks:
    """Ranks and lists of a block of n customers; blocks join end to end, so no score matrix need ever be whole."""

    sampled: Array  # (draws, n) int32 rank of the target among one draw of negatives
    full: Array  # (n,) int32 rank among all items that the customer has not met
    top: Array  # (n, k) int32 the k best items that the customer has not met, best first; -1 where there are fewer

    def __len__(self) -> int:
        return len(self.full)

    def __repr__(self) -> str:
        """Shows sizes only: what somebody is recommended is personal."""
        return f"Ranks({len(self)} customers, {len(self.sampled)} draws)"

    @staticmethod
    def of(
        scores: Array, target: Array, negatives: Array, seen: Population, also_seen: Array | None = None, k: int = 10
    ) -> Ranks:
        """Rank a block: scores (n, items), target (n,), negatives (draws, n, c), training rows of these customers."""
        return Ranks(
            sampled=np.stack([sampled_ranks(scores, target, draw) for draw in negatives]),
            full=full_ranks(scores, target, seen, also_seen),
            top=top_items(scores, seen, also_seen, k),
        )

    @staticmethod
    def join(blocks: Sequence[Ranks]) -> Ranks:
        """Blocks of customers end to end."""
        return Ranks(
            sampled=np.concatenate([block.sampled for block in blocks], axis=1),
            full=np.concatenate([block.full for block in blocks]),
            top=np.concatenate([block.top for block in blocks]),
        )


def sampled_ranks(scores: Array, target: Array, negatives: Array) -> Array:
    """(n,) int32: 1 + the number of negatives that score at least as high as the target.

    Args:
        scores: (n, items), higher is better.
        target: (n,) item.
        negatives: (n, c) items; a -1, or the target itself, is passed over.

    Raises:
        ScoreError: a score is NaN, or the shapes do not fit.
    """
    scores, target = _checked(scores, target)
    if negatives.ndim != 2 or len(negatives) != len(target) or np.any(negatives >= scores.shape[1]):
        raise ScoreError(f"negatives must be items, (customers, count); got shape {negatives.shape}")
    out = np.empty(len(target), np.int32)
    _sampled(scores, target, np.ascontiguousarray(negatives, np.int32), out)
    return out


def full_ranks(scores: Array, target: Array, seen: Population, also_seen: Array | None = None) -> Array:
    """(n,) int32: 1 + the number of items not met by the customer that score at least as high as the target.

    Args:
        scores: (n, items), higher is better.
        target: (n,) item; never excluded, even where it is among the seen ones.
        seen: training rows of the same n customers, left out of the ranking.
        also_seen: (n,) one more item to leave out (the validation item), -1 for none.

    Raises:
        ScoreError: a score is NaN, or the shapes do not fit.
    """
    scores, target = _checked(scores, target)
    rows, offsets, other = _seen(scores, seen, also_seen)
    out = np.empty(len(target), np.int32)
    _full(scores, target, rows, offsets, other, out)
    return out


def top_items(scores: Array, seen: Population, also_seen: Array | None = None, k: int = 10) -> Array:
    """(n, k) int32 best items that the customer has not met, ties by lower number; -1 where none is left."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    scores, _ = _checked(scores, np.zeros(len(scores), np.int32))
    rows, offsets, other = _seen(scores, seen, also_seen)
    out = np.full((len(scores), k), -1, np.int32)
    _top(scores, rows, offsets, other, out)
    return out


def hit_rate(ranks: Array, k: int = 10) -> Array:
    """1.0 where the target is among the first k, else 0.0: same shape as `ranks`, float64."""
    return (ranks <= k).astype(np.float64)


def ndcg(ranks: Array, k: int = 10) -> Array:
    """1 / log2(rank + 1) where the target is among the first k, else 0: NDCG with one relevant item, float64."""
    return np.where(ranks <= k, 1.0 / np.log2(np.asarray(ranks, np.float64) + 1.0), 0.0)


def _checked(scores: Array, target: Array) -> tuple[Array, Array]:
    if scores.ndim != 2 or target.shape != (len(scores),):
        raise ScoreError(f"scores (n, items) and target (n,) were needed, got {scores.shape} and {target.shape}")
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    if np.isnan(scores).any():
        raise ScoreError("scores hold NaN: the model has diverged; lower its learning rate or clip its updates")
    if len(target) and (target.min() < 0 or target.max() >= scores.shape[1]):
        raise ScoreError(f"targets must be items in [0, {scores.shape[1]})")
    return np.ascontiguousarray(scores), np.ascontiguousarray(target, np.int32)


def _seen(scores: Array, seen: Population, also_seen: Array | None) -> tuple[Array, Array, Array]:
    if len(seen) != len(scores):
        raise ScoreError(f"training rows of {len(scores)} customers were needed, got {len(seen)}")
    other = np.full(len(scores), -1) if also_seen is None else np.asarray(also_seen)
    rows = np.ascontiguousarray(seen.fields["item"], np.int32)
    if other.shape != (len(scores),) or (len(rows) and rows.max() >= scores.shape[1]):
        raise ScoreError(f"scores cover {scores.shape[1]} items of {len(scores)} customers; the seen items do not fit")
    return rows, np.asarray(seen.offsets, np.int64), np.ascontiguousarray(other, np.int32)


@kernel
def _sampled(scores: Array, target: Array, negatives: Array, out: Array) -> None:
    for customer in range(len(target)):
        mine = scores[customer, target[customer]]
        rank = 1
        for item in negatives[customer]:
            if item >= 0 and item != target[customer] and scores[customer, item] >= mine:
                rank += 1
        out[customer] = rank


@kernel
def _full(scores: Array, target: Array, rows: Array, offsets: Array, other: Array, out: Array) -> None:
    mark = np.full(scores.shape[1], -1, np.int64)  # the last customer who has met this item
    for customer in range(len(target)):
        for row in range(offsets[customer], offsets[customer + 1]):
            mark[rows[row]] = customer
        if other[customer] >= 0:
            mark[other[customer]] = customer
        mark[target[customer]] = customer
        mine = scores[customer, target[customer]]
        rank = 1
        for item in range(scores.shape[1]):
            if scores[customer, item] >= mine and mark[item] != customer:
                rank += 1
        out[customer] = rank


@kernel
def _top(scores: Array, rows: Array, offsets: Array, other: Array, out: Array) -> None:
    mark = np.full(scores.shape[1], -1, np.int64)
    k = out.shape[1]
    for customer in range(out.shape[0]):
        for row in range(offsets[customer], offsets[customer + 1]):
            mark[rows[row]] = customer
        if other[customer] >= 0:
            mark[other[customer]] = customer
        size = 0
        for item in range(scores.shape[1]):
            score = scores[customer, item]
            if mark[item] == customer or (size == k and score <= scores[customer, out[customer, k - 1]]):
                continue
            place = min(size, k - 1)
            while place > 0 and scores[customer, out[customer, place - 1]] < score:
                out[customer, place] = out[customer, place - 1]
                place -= 1
            out[customer, place] = item
            size = min(size + 1, k)
