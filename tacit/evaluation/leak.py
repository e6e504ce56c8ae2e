"""How training negatives can leak the held-out item: customers who learn alone score near 1, or at chance, by sampler.

Each customer trains a private item table and a private vector on its own rows; nothing is ever shared, so the table
can know nothing about an item that the customer has not met. Above chance, the score measures the leak. Words and
figures: docs/leak.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tacit.core.trees import seed_of
from tacit.core.values import Array, Population
from tacit.evaluation.kernel import advance, below, kernel, start, unit
from tacit.evaluation.negatives import draws as draw_negatives
from tacit.evaluation.negatives import held_out
from tacit.evaluation.recommendation import evaluate, summarise


def no_collaboration(
    train: Population,
    held: Array,
    dim: int = 16,
    epochs: int = 40,
    leaky: bool = False,
    seed: int = 0,
    rate: float = 0.1,
    negatives: int = 4,
) -> Array:
    """Scores of customers who learn alone, starting from one common random item table.

    Logistic loss by plain gradient steps, on each training item and `negatives` drawn ones after it. An honest
    sampler cannot know what is held out: it draws from all items that are not in the customer's training rows. The
    leaky one leaves the held-out items out as well, so they alone are never pushed down.

    Args:
        train: training rows.
        held: (customers, h) items held out for validation and test, -1 for none; read by the leaky sampler alone.
        dim: length of the vectors.
        epochs: passes over a customer's rows, with fresh negatives each.
        leaky: which sampler.
        seed: of the common table, the vectors and the negatives.
        rate: step length of gradient descent.
        negatives: drawn for each training item.

    Returns:
        (customers, items) float32 scores.
    """
    items = train.schema.items
    held = np.ascontiguousarray(held, np.int32)
    if held.ndim != 2 or len(held) != len(train) or np.any(held >= items):
        raise ValueError(f"held-out items ({len(train)}, h) were needed, got shape {held.shape}")
    source = np.random.default_rng(seed_of("common table", seed))
    table = source.normal(0.0, 1.0 / math.sqrt(dim), (items, dim)).astype(np.float32)
    out = np.empty((len(train), items), np.float32)
    rows = np.ascontiguousarray(train.fields["item"], np.int32)
    offsets = np.asarray(train.offsets, np.int64)
    excluded = held if leaky else held[:, :0]
    _alone(rows, offsets, excluded, table, epochs, negatives, np.float32(rate), np.uint64(seed_of("alone", seed)), out)
    return out


def report(
    train: Population,
    test: Array,
    validation: Array | None = None,
    dim: int = 16,
    epochs: int = 40,
    runs: int = 3,
    draws: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Both samplers on one leave-one-out split, judged on the same negatives.

    Args:
        train: training rows.
        test: (customers,) held-out item, -1 for none.
        validation: (customers,) second held-out item, -1 or None for none.
        dim: length of the vectors.
        epochs: passes over a customer's rows.
        runs: common random tables, averaged; customers share a table's luck, so that one run wanders by about 0.01.
        draws: of the 99 evaluation negatives, averaged.
        seed: of everything random here.

    Returns:
        "honest" and "leaky", each with names and ends of intervals as in `Ranking.summary`; "chance": HR@10 and full
        HR@10 of knowing nothing; and "customers", "items", "dim", "epochs", "runs", "draws", "seed".
    """
    target = held_out(test, train)
    held = np.stack([target, held_out(validation, train)], axis=1)
    negatives = draw_negatives(train, test, validation, draws, seed=seed)
    out: dict[str, Any] = {}
    for name in ("honest", "leaky"):
        means: dict[str, Array] = {}
        for run in range(runs):
            scores = no_collaboration(train, held, dim, epochs, name == "leaky", seed_of(seed, run))
            for key, value in evaluate(scores.__getitem__, train, test, validation, negatives).values().items():
                means[key] = means.get(key, 0.0) + value / runs
        out[name] = summarise(means, seed=seed)
    chosen = target >= 0
    candidates = 1 + (negatives[:, chosen] >= 0).sum(axis=2)
    unmet = train.schema.items - train.sizes[chosen] - (held[chosen, 1] >= 0)
    return {
        **out,
        "chance": {
            "hr@10": float(np.minimum(1.0, 10 / candidates).mean()),
            "full.hr@10": float(np.minimum(1.0, 10 / unmet).mean()),
        },
        "customers": int(chosen.sum()),
        "items": train.schema.items,
        "dim": dim,
        "epochs": epochs,
        "runs": runs,
        "draws": draws,
        "seed": seed,
    }


@kernel
def _alone(
    rows: Array,
    offsets: Array,
    excluded: Array,
    common: Array,
    epochs: int,
    negatives: int,
    rate: np.float32,
    seed: np.uint64,
    out: Array,
) -> None:
    items, dim = common.shape
    mark = np.full(items, -1, np.int64)  # the last customer for whom this item is no negative
    table = np.empty_like(common)
    vector = np.empty(dim, np.float32)
    order = np.empty(len(rows), np.int32)
    for customer in range(len(offsets) - 1):
        low, high = offsets[customer], offsets[customer + 1]
        allowed = items
        for row in range(low, high):
            order[row] = rows[row]
            if mark[rows[row]] != customer:
                mark[rows[row]] = customer
                allowed -= 1
        for item in excluded[customer]:
            if item >= 0 and mark[item] != customer:
                mark[item] = customer
                allowed -= 1
        table[:] = common
        state = start(seed, customer)
        for d in range(dim):
            state = advance(state)
            vector[d] = (unit(state) - 0.5) / np.sqrt(dim)
        for _ in range(epochs):
            for row in range(high - 1, low, -1):  # shuffle
                state = advance(state)
                other = low + below(state, row - low + 1)
                order[row], order[other] = order[other], order[row]
            for row in range(low, high):
                for pick in range(1 + (negatives if allowed > 0 else 0)):
                    item = order[row]
                    while pick > 0:
                        state = advance(state)
                        item = below(state, items)
                        if mark[item] != customer:
                            break
                    score = np.float32(0.0)
                    for d in range(dim):
                        score += table[item, d] * vector[d]
                    error = np.float32(1.0 / (1.0 + np.exp(-score))) - np.float32(1.0 if pick == 0 else 0.0)
                    for d in range(dim):
                        old = table[item, d]
                        table[item, d] -= rate * error * vector[d]
                        vector[d] -= rate * error * old
        for item in range(items):
            score = np.float32(0.0)
            for d in range(dim):
                score += table[item, d] * vector[d]
            out[customer, item] = score
