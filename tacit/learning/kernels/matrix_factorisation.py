"""One pass over a cohort for matrix factorisation: draw, train, bound and add, touching only rows that a client names.

A client's item rows are copied next to each other (they then stay in the first cache levels), trained, and their
change is added up: in float32 over a few hundred clients, then in float64. Memory per client is its interactions and
its vector, whatever the catalogue's size.
"""

# mypy: disable-error-code="assignment"
from __future__ import annotations

import numpy as np
from numba import njit

from tacit.learning.examples import GOLDEN, below, client_seed

FAST = {"contract", "reassoc", "nsz"}  # keeps NaN and infinity meaningful


@njit(inline="always", cache=True)
def _sigmoid(score, bits, power, size):  # type: ignore[no-untyped-def]
    """score -> 1 / (1 + exp(-score)), in place, to 2e-7 relative; vectorises, unlike a call of exp.

    exp(x) = 2^n 2^f with f in [-1/2, 1/2]: the power of two by its exponent bits (`power` is `bits` seen as float32),
    2^f by its Taylor polynomial in f log 2.
    """
    one = np.float32(1.0)
    for b in range(size):
        x = min(max(-score[b], np.float32(-80.0)), np.float32(80.0)) * np.float32(1.4426950408889634)
        whole = np.floor(x + np.float32(0.5))
        f = x - whole
        bits[b] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        q = np.float32(1.5403530393381609e-4)
        q = q * f + np.float32(1.3333558146428443e-3)
        q = q * f + np.float32(9.6181291076284772e-3)
        q = q * f + np.float32(5.5504108664821580e-2)
        q = q * f + np.float32(2.4022650695910071e-1)
        q = q * f + np.float32(6.9314718055994531e-1)
        score[b] = q * f + one
    for b in range(size):
        score[b] = one / (one + score[b] * power[b])


@njit(cache=True, fastmath=FAST, error_model="numpy")
def train(  # type: ignore[no-untyped-def]
    item,
    label,
    offsets,
    first,
    cohort,
    table,
    users,
    seed,
    negatives,
    lr,
    epochs,
    batch_size,
    shuffle,
    clip_norm,
    part,
    sums,
):
    """Add the deltas of every client in `cohort` to sums (items, dim) float64; `users` (clients, dim) change in place.

    part (items, dim) float32 is scratch space of zeros; the caller makes it, since numpy asks for large pages.
    Returns False if a client's parameters were not finite (nothing of that client was added).
    """
    items, dim = table.shape
    flush = max(256, items // 16)
    longest = 0
    for c in cohort:
        longest = max(longest, offsets[c + 1] - offsets[c])
    longest *= 1 + negatives
    most = min(longest * epochs, items)
    slot = np.full(items, -1, np.int32)  # base + place of an item's row in `local`, if at least base
    base = 0
    labels = np.empty(longest, np.float32)
    place = np.empty(longest, np.uint32)
    local = np.empty((most, dim), np.float32)
    touched = np.empty(most + 1, np.uint32)  # one more: written before it is known whether a row is new
    error = np.empty(batch_size, np.float32)
    bits = np.empty(batch_size, np.int32)
    power = bits.view(np.float32)
    user = np.empty(dim, np.float32)
    slope = np.empty(dim, np.float32)
    for index in range(len(cohort)):
        c = cohort[index]
        low, high = offsets[c], offsets[c + 1]
        rows, mine_rows = 0, 0
        for k in range(dim):
            user[k] = users[c, k]
        for epoch in range(epochs):
            mine = client_seed(seed, (first + c) * 65536 + epoch)
            had = rows
            state = np.uint64(mine)
            if negatives == 0:
                count = high - low
                for s in range(count):
                    i = np.uint64(item[low + s])
                    known = np.int64(slot[i]) - base
                    at = rows if known < 0 else known
                    touched[rows] = np.uint32(i)
                    rows += np.int64(known < 0)
                    slot[i] = np.int32(base + at)
                    place[s] = np.uint32(at)
                    labels[s] = label[low + s]
            else:
                if epoch == 0:  # a client's own items take the first places: a draw that lands there is none
                    for s in range(low, high):
                        i = np.uint64(item[s])
                        if np.int64(slot[i]) < base:
                            slot[i] = np.int32(base + rows)
                            touched[rows] = np.uint32(i)
                            rows += 1
                    mine_rows = rows
                count = 0
                for s in range(low, high):
                    place[count] = np.uint32(np.int64(slot[np.uint64(item[s])]) - base)
                    labels[count] = np.float32(1.0)
                    count += 1
                    for _ in range(negatives):
                        i = np.uint64(0)
                        known = np.int64(0)
                        for _try in range(1000):
                            state += GOLDEN
                            i = np.uint64(below(state, items))
                            known = np.int64(slot[i]) - base
                            if known < 0 or known >= mine_rows:
                                break
                        at = rows if known < 0 else known
                        touched[rows] = np.uint32(i)
                        rows += np.int64(known < 0)
                        slot[i] = np.int32(base + at)
                        place[count] = np.uint32(at)
                        labels[count] = np.float32(0.0)
                        count += 1
            if shuffle:
                for s in range(count - 1, 0, -1):
                    state += GOLDEN
                    t = below(state, s + 1)
                    place[s], place[t] = place[t], place[s]
                    labels[s], labels[t] = labels[t], labels[s]
            for r in range(had, rows):
                i = np.uint64(touched[r])
                for k in range(dim):
                    local[r, k] = table[i, k]
            for start in range(0, count, batch_size):
                size = min(batch_size, count - start)
                rate = np.float32(lr / size)
                for b in range(size):
                    p = np.uint64(place[start + b])
                    score = np.float32(0.0)
                    for k in range(dim):
                        score += local[p, k] * user[k]
                    error[b] = score
                _sigmoid(error, bits, power, size)
                for b in range(size):
                    error[b] = rate * (error[b] - labels[start + b])
                for k in range(dim):
                    slope[k] = 0.0
                for b in range(size):
                    p = np.uint64(place[start + b])
                    step = error[b]
                    for k in range(dim):
                        slope[k] += step * local[p, k]
                for b in range(size):
                    p = np.uint64(place[start + b])
                    step = error[b]
                    for k in range(dim):
                        local[p, k] -= step * user[k]
                for k in range(dim):
                    user[k] -= slope[k]
        base += rows
        if base > 1 << 30:
            slot[:] = -1
            base = 0
        square = np.float64(0.0)
        for k in range(dim):
            square += user[k]  # every change of an item is a multiple of some state of the user vector
        if not np.isfinite(square):
            return False
        if clip_norm > 0.0:
            square = np.float64(0.0)
            for r in range(rows):
                i = np.uint64(touched[r])
                of_row = np.float32(0.0)
                for k in range(dim):
                    change = local[r, k] - table[i, k]
                    local[r, k] = change
                    of_row += change * change
                square += of_row
            norm = np.sqrt(square)
            if not np.isfinite(norm):
                return False
            scale = np.float32(clip_norm / norm) if norm > clip_norm else np.float32(1.0)
            for r in range(rows):
                i = np.uint64(touched[r])
                for k in range(dim):
                    part[i, k] += scale * local[r, k]
        else:
            for r in range(rows):
                i = np.uint64(touched[r])
                for k in range(dim):
                    part[i, k] += local[r, k] - table[i, k]
        for k in range(dim):
            users[c, k] = user[k]
        if (index + 1) % flush == 0 or index + 1 == len(cohort):
            for i in range(items):
                for k in range(dim):
                    sums[i, k] += part[i, k]
                    part[i, k] = 0.0
    return True
