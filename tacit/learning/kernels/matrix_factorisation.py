"""One pass over a cohort for matrix factorisation: draw, train, bound and add, touching only rows that a client names.

A client's item rows are copied next to each other (they then stay in the first cache levels), trained, and their change
is added to the float64 sums; memory per client is its interactions and its vector, whatever the catalogue's size.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from tacit.learning.examples import client_seed, draw


@njit(cache=True, fastmath={"contract", "reassoc", "nsz"}, boundscheck=False)
def train(  # type: ignore[no-untyped-def]
    item, label, offsets, first, cohort, table, users, seed, negatives, lr, epochs, batch_size, shuffle, clip_norm, sums
):
    """Add the deltas of every client in `cohort` to sums (items, dim) float64; `users` (clients, dim) change in place.

    Returns False if a contribution was not finite (nothing of that client was added).
    """
    items, dim = table.shape
    longest = 0
    for c in cohort:
        longest = max(longest, offsets[c + 1] - offsets[c])
    longest *= 1 + negatives
    mark = np.zeros(items, np.int32)
    slot = np.zeros(items, np.int32)
    owner = np.full(items, -1, np.int64)
    drawn_item = np.empty(longest, np.int32)
    drawn_label = np.empty(longest, np.float32)
    local = np.empty((min(longest * epochs, items), dim), np.float32)
    touched = np.empty(min(longest * epochs, items), np.int32)
    error = np.empty(batch_size, np.float32)
    place = np.empty(batch_size, np.int32)
    user = np.empty(dim, np.float32)
    slope = np.empty(dim, np.float32)
    one = np.float32(1.0)
    for index in range(len(cohort)):
        c = cohort[index]
        low, high = offsets[c], offsets[c + 1]
        labels = label[low:high] if negatives == 0 else label[:0]
        rows = 0
        for k in range(dim):
            user[k] = users[c, k]
        for epoch in range(epochs):
            mine = client_seed(seed, (first + c) * 65536 + epoch)
            stamp = np.int32(index * epochs + epoch + 1)
            count = draw(item[low:high], labels, negatives, items, mine, shuffle, mark, stamp, drawn_item, drawn_label)
            for start in range(0, count, batch_size):
                size = min(batch_size, count - start)
                rate = np.float32(lr / size)
                slope[:] = 0.0
                for b in range(size):
                    i = drawn_item[start + b]
                    if owner[i] != index:  # first time this client names the item: fetch its row
                        owner[i] = index
                        slot[i] = rows
                        touched[rows] = i
                        for k in range(dim):
                            local[rows, k] = table[i, k]
                        rows += 1
                    place[b] = slot[i]
                for b in range(size):
                    row = local[place[b]]
                    score = np.float32(0.0)
                    for k in range(dim):
                        score += row[k] * user[k]
                    error[b] = score
                for b in range(size):
                    error[b] = rate * (one / (one + np.exp(-error[b])) - drawn_label[start + b])
                for b in range(size):
                    row = local[place[b]]
                    step = error[b]
                    for k in range(dim):
                        slope[k] += step * row[k]
                for b in range(size):
                    row = local[place[b]]
                    step = error[b]
                    for k in range(dim):
                        row[k] -= step * user[k]
                for k in range(dim):
                    user[k] -= slope[k]
        square = np.float64(0.0)
        for r in range(rows):
            i = touched[r]
            part = np.float32(0.0)
            for k in range(dim):
                change = local[r, k] - table[i, k]
                local[r, k] = change
                part += change * change
            square += part
        norm = np.sqrt(square)
        if not np.isfinite(norm):
            return False
        scale = np.float64(1.0)
        if clip_norm > 0.0 and norm > clip_norm:
            scale = clip_norm / norm
        for r in range(rows):
            i = touched[r]
            for k in range(dim):
                sums[i, k] += scale * local[r, k]
        for k in range(dim):
            users[c, k] = user[k]
    return True
