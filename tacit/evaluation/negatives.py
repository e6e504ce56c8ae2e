"""Items that a customer never met, against which the held-out item is ranked.

They exclude the customer's training, validation and test items. That is right for *evaluation*; drawing the negatives
of *training* so would leak the held-out item (docs/leak.md).
"""

from __future__ import annotations

import numpy as np

from tacit.core.trees import seed_of
from tacit.core.values import Array, Population
from tacit.evaluation.kernel import advance, below, kernel, start


def draw(train: Population, test: Array, validation: Array | None = None, count: int = 99, seed: int = 0) -> Array:
    """Draw `count` distinct unseen items for every customer, uniformly without replacement.

    Args:
        train: training rows; its schema gives the number of items.
        test: (customers,) held-out item, -1 where there is none.
        validation: (customers,) second held-out item, -1 where there is none; None when nobody has one.
        count: negatives for each customer.
        seed: of the draw; one customer's negatives depend on it, on the customer's place and own items only.

    Returns:
        (customers, count) int32. A customer with fewer unseen items gets all of them, then -1, which ranking ignores.

    Raises:
        ValueError: an item lies outside the catalogue, or an array does not fit the population.
    """
    items = train.schema.items
    held = np.stack([held_out(test, train), held_out(validation, train)], axis=1)
    rows = np.ascontiguousarray(train.fields["item"], dtype=np.int32)
    if len(rows) and (rows.min() < 0 or rows.max() >= items):
        raise ValueError(f"training items must lie in [0, {items})")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    out = np.full((len(train), count), -1, np.int32)
    _draw(rows, np.asarray(train.offsets, np.int64), held, items, np.uint64(seed_of("negatives", seed)), out)
    return out


def draws(
    train: Population, test: Array, validation: Array | None = None, draws: int = 5, count: int = 99, seed: int = 0
) -> Array:
    """Several independent draws, whose metrics are averaged: (draws, customers, count) int32, as `draw` gives them."""
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    return np.stack([draw(train, test, validation, count, seed_of(seed, d)) for d in range(draws)])


def held_out(item: Array | None, train: Population) -> Array:
    """(customers,) int32 held-out items checked against the catalogue; None means -1 for everybody."""
    if item is None:
        return np.full(len(train), -1, np.int32)
    out = np.asarray(item)
    if out.shape != (len(train),):
        raise ValueError(f"one held-out item for each of {len(train)} customers was needed, got shape {out.shape}")
    if len(out) and (out.min() < -1 or out.max() >= train.schema.items):
        raise ValueError(f"held-out items must lie in [0, {train.schema.items}), or be -1 for none")
    return out.astype(np.int32)


@kernel
def _draw(rows: Array, offsets: Array, held: Array, items: int, seed: np.uint64, out: Array) -> None:
    mark = np.full(items, -1, np.int64)  # the last customer who may not get this item
    pool = np.empty(items, np.int32)
    count = out.shape[1]
    for customer in range(out.shape[0]):
        unseen = items
        for row in range(offsets[customer], offsets[customer + 1]):
            if mark[rows[row]] != customer:
                mark[rows[row]] = customer
                unseen -= 1
        for place in range(held.shape[1]):
            item = held[customer, place]
            if item >= 0 and mark[item] != customer:
                mark[item] = customer
                unseen -= 1
        state = start(seed, customer)
        if unseen >= 2 * count and 4 * unseen >= items:  # rejection: at most about eight tries each
            for place in range(count):
                while True:
                    state = advance(state)
                    item = below(state, items)
                    if mark[item] != customer:
                        break
                mark[item] = customer
                out[customer, place] = item
        else:  # few are left: list them, shuffle the front
            size = 0
            for item in range(items):
                if mark[item] != customer:
                    pool[size] = item
                    size += 1
            for place in range(min(count, size)):
                state = advance(state)
                other = place + below(state, size - place)
                pool[place], pool[other] = pool[other], pool[place]
                out[customer, place] = pool[place]
