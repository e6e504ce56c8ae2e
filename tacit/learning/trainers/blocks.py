"""Packing clients of similar length into padded blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit

from tacit.core.protocols import LocalWork, Tree
from tacit.core.values import Array, Population
from tacit.learning.examples import client_seed, draw, labels, permutation


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Clients sorted by falling number of steps, their examples padded to one shape."""

    clients: Array  # (C,) indexes into the population
    alive: Array  # (steps,) clients that take this step: the first so many
    batches: Tree  # field -> (C, steps, batch, ...); mask is 0 on padding; epoch (C, steps)
    touched: torch.Tensor  # (C, rows) items that each client names, padded with 0; empty without tables


def blocks(work: LocalWork, population: Population, cohort: Array, seed: int, budget: int) -> Iterator[Block]:
    """Cut a cohort into blocks of about `budget` examples: clients x longest client."""
    per_row = 1 + work.model.negatives
    sizes = population.sizes[cohort] * per_row
    order = np.argsort(-sizes, kind="stable")
    start = 0
    while start < len(order):
        longest = max(int(sizes[order[start]]), 1)
        stop = min(start + max(1, budget // longest), len(order))
        yield _block(work, population, np.asarray(cohort)[order[start:stop]], seed, longest)
        start = stop


def _block(work: LocalWork, population: Population, clients: Array, seed: int, longest: int) -> Block:
    size = work.batch_size
    per_epoch = -(-longest // size)
    steps = per_epoch * work.epochs
    shape = (len(clients), steps, size)
    mask = np.zeros(shape, np.float32)
    epoch = np.zeros(shape[:2], np.float32)
    schema, offsets = population.schema, population.offsets
    clients = np.ascontiguousarray(clients, np.int64)
    batches: Tree = {}
    touched = torch.zeros((len(clients), 0), dtype=torch.int64)
    if schema.kind == "tabular":
        rows = np.zeros(shape, np.int64)
        taken = _pack_rows(
            offsets, population.first, clients, np.uint64(seed), work.epochs, work.shuffle, size, rows, mask, epoch
        )
        for name in ("x", "y"):
            batches[name] = torch.from_numpy(population.fields[name])[torch.from_numpy(rows)]
    else:
        negatives = work.model.negatives
        local, label = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        limit = min(longest * work.epochs, schema.items)
        named = np.zeros((len(clients), limit), np.int64)
        own = np.zeros(0, np.float32) if negatives else labels(population.fields)
        taken, used = _pack_items(
            population.fields["item"], own, offsets, population.first, clients, np.uint64(seed), negatives,
            schema.items,
            work.epochs, work.shuffle, size, longest, local, label, mask, epoch, named,
        )  # fmt: skip
        batches["item"], batches["label"] = torch.from_numpy(local), torch.from_numpy(label)
        batches["place"] = batches["item"] + used * torch.arange(len(clients)).reshape(-1, 1, 1)
        touched = torch.from_numpy(np.ascontiguousarray(named[:, :used]))
    batches["mask"], batches["epoch"] = torch.from_numpy(mask), torch.from_numpy(epoch)
    alive = np.array([int(np.count_nonzero(taken > number)) for number in range(int(taken.max(initial=0)))], np.int64)
    return Block(clients, alive, batches, touched)


@njit(cache=True)
def _pack_rows(offsets, first, clients, seed, epochs, shuffle, size, rows, mask, epoch_of):  # type: ignore[no-untyped-def]
    """Row numbers of every batch; returns (C,) steps that each client takes."""
    taken = np.zeros(len(clients), np.int64)
    for p in range(len(clients)):
        c = clients[p]
        count = offsets[c + 1] - offsets[c]
        step = 0
        for epoch in range(epochs):
            order = np.arange(count)
            if shuffle:
                order = permutation(count, client_seed(seed, (first + c) * 65536 + epoch))
            for start in range(0, count, size):
                for b in range(min(size, count - start)):
                    rows[p, step, b] = offsets[c] + order[start + b]
                    mask[p, step, b] = 1.0
                epoch_of[p, step] = epoch
                step += 1
        taken[p] = step
    return taken


@njit(cache=True)
def _pack_items(  # type: ignore[no-untyped-def]
    item,
    own,
    offsets,
    first,
    clients,
    seed,
    negatives,
    items,
    epochs,
    shuffle,
    size,
    longest,
    local,
    label,
    mask,
    epoch_of,
    named,
):
    """Items (as places in the client's own list) and labels of every batch; returns (steps per client, longest
    list).
    """
    taken = np.zeros(len(clients), np.int64)
    mark = np.zeros(items, np.int32)
    slot = np.zeros(items, np.int64)
    holder = np.full(items, -1, np.int64)
    drawn_item = np.empty(longest, np.int32)
    drawn_label = np.empty(longest, np.float32)
    most = 0
    for p in range(len(clients)):
        c = clients[p]
        low, high = offsets[c], offsets[c + 1]
        used = 0
        step = 0
        for epoch in range(epochs):
            stamp = np.int32(p * epochs + epoch + 1)
            mine = client_seed(seed, (first + c) * 65536 + epoch)
            labelled = own[low:high] if negatives == 0 else own[:0]
            count = draw(
                item[low:high], labelled, negatives, items, mine, shuffle, mark, stamp, drawn_item, drawn_label
            )
            for start in range(0, count, size):
                for b in range(min(size, count - start)):
                    i = drawn_item[start + b]
                    if holder[i] != p:
                        holder[i] = p
                        slot[i] = used
                        named[p, used] = i
                        used += 1
                    local[p, step, b] = slot[i]
                    label[p, step, b] = drawn_label[start + b]
                    mask[p, step, b] = 1.0
                epoch_of[p, step] = epoch
                step += 1
        taken[p] = step
        most = max(most, used)
    return taken, most
