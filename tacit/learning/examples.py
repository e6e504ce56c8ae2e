"""From a client's rows to the training examples of one epoch: negatives, order, batches. Compiled, so cheap per client.

Negatives come from every item outside the client's *training* rows: also the held-out one may be drawn. Excluding it
would give it away (docs/leak.md). The generator is splitmix64 (G. Steele, D. Lea, C. Flood: "Fast Splittable
Pseudorandom Number Generators", OOPSLA 2014), so that every trainer draws the same examples from the same seed.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

from tacit.core.protocols import LocalWork
from tacit.core.trees import seed_of
from tacit.core.values import Array, Batch, DataError, Schema

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
LIKE = 4.0  # ratings from here on are positive labels where a model learns rows as they are


@njit(inline="always", cache=True)
def mix(state):  # type: ignore[no-untyped-def]
    """One splitmix64 output for a 64-bit counter."""
    z = uint64(state) + GOLDEN
    z = (z ^ (z >> uint64(30))) * MIX_1
    z = (z ^ (z >> uint64(27))) * MIX_2
    return z ^ (z >> uint64(31))


@njit(inline="always", cache=True)
def below(state, limit):  # type: ignore[no-untyped-def]
    """A value in [0, limit), limit < 2^31; the bias is below limit / 2^32."""
    return np.int64(((mix(state) >> uint64(32)) * uint64(limit)) >> uint64(32))


@njit(cache=True)
def client_seed(seed, client):  # type: ignore[no-untyped-def]
    """The seed of one client in one round."""
    return mix(uint64(seed) ^ mix(uint64(client)))


@njit(cache=True)
def draw(item, label, negatives, items, seed, shuffle, mark, stamp, out_item, out_label):  # type: ignore[no-untyped-def]
    """Fill out_item and out_label with one client's examples for one epoch; returns how many.

    mark (items,) int32 is scratch space: entries equal to `stamp` are the client's own items.
    """
    rows = len(item)
    state = uint64(seed)
    if negatives == 0:
        for r in range(rows):
            out_item[r] = item[r]
            out_label[r] = label[r]
        count = rows
    else:
        for r in range(rows):
            mark[item[r]] = stamp
        count = 0
        for r in range(rows):
            out_item[count] = item[r]
            out_label[count] = 1.0
            count += 1
            for _ in range(negatives):
                pick = 0
                for _try in range(1000):  # a client with nearly every item keeps its last draw
                    state += GOLDEN
                    pick = below(state, items)
                    if mark[pick] != stamp:
                        break
                out_item[count] = pick
                out_label[count] = 0.0
                count += 1
    if shuffle:
        for r in range(count - 1, 0, -1):
            state += GOLDEN
            s = below(state, r + 1)
            a, b = out_item[r], out_label[r]
            out_item[r], out_label[r] = out_item[s], out_label[s]
            out_item[s], out_label[s] = a, b
    return count


@njit(cache=True)
def permutation(count, seed):  # type: ignore[no-untyped-def]
    """(count,) int64: a random order of range(count)."""
    order = np.arange(count)
    state = uint64(seed)
    for r in range(count - 1, 0, -1):
        state += GOLDEN
        s = below(state, r + 1)
        order[r], order[s] = order[s], order[r]
    return order


def labels(rows: Batch) -> Array:
    """(rows,) float32 labels of interactions that are learned as they are: `label`, or rating >= 4."""
    if "label" in rows:
        return np.asarray(rows["label"], np.float32)
    if "rating" in rows:
        return (rows["rating"] >= LIKE).astype(np.float32)
    raise DataError("a model with negatives = 0 learns labels, but the rows have neither `label` nor `rating`")


def examples(work: LocalWork, rows: Batch, schema: Schema, seed: int, client: int, epoch: int) -> Batch:
    """The training examples of one client in one epoch, in the order in which they are learned."""
    mine = int(client_seed(np.uint64(seed), np.uint64(client * 65536 + epoch)))
    if schema.kind == "tabular":
        count = len(rows["y"])
        order = permutation(count, np.uint64(mine)) if work.shuffle else np.arange(count)
        return {"x": rows["x"][order], "y": rows["y"][order]}
    negatives = work.model.negatives
    item = np.ascontiguousarray(rows["item"])
    label = labels(rows) if negatives == 0 else np.zeros(0, np.float32)
    size = len(item) * (1 + negatives)
    out_item, out_label = np.empty(size, np.int32), np.empty(size, np.float32)
    mark = np.zeros(schema.items, np.int32)
    draw(item, label, negatives, schema.items, np.uint64(mine), work.shuffle, mark, 1, out_item, out_label)
    return {"item": out_item, "label": out_label}


def round_seed(seed: int, round: int) -> int:
    """The seed from which every client of one round draws its examples."""
    return seed_of("examples", seed, round)
