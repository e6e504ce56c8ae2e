"""One pass over a cohort for matrix factorisation: draw, train, bound and add, touching only rows that a client names.

A client's item rows are copied next to each other (they then stay in the first cache levels) and trained; the next
client's are drawn meanwhile, so that its rows are under way from memory. Memory per client is its interactions and its
vector, whatever the catalogue's size.
"""

# mypy: disable-error-code="assignment"
from __future__ import annotations

import numpy as np
from numba import njit

from tacit.learning.examples import GOLDEN, below, client_seed
from tacit.learning.kernels.outer_products import FAST, LINE, STATES, WIDE, add_block, note
from tacit.learning.kernels.prefetch import prefetch


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


@njit(cache=True)
def _draw(  # type: ignore[no-untyped-def]
    own, label, client, seed, negatives, epochs, shuffle, slot, base, table, places, labels, touched
):
    """Examples of all epochs of a client with items `own`: their places among its distinct rows, and their labels.

    touched receives the distinct rows, which are on their way into cache afterwards; returns how many. slot (items,)
    is base + place of an item that this client has named, and anything smaller otherwise.
    """
    items, dim = table.shape
    flat = table.reshape(-1)
    rows, mine, at = 0, 0, 0
    if negatives:  # a client's own items take the first places: a draw that lands there is none
        for s in range(len(own)):
            i = np.uint64(own[s])
            if np.int64(slot[i]) < base:
                slot[i] = np.int32(base + rows)
                touched[rows] = np.uint32(i)
                rows += 1
        mine = rows
    for epoch in range(epochs):
        state = np.uint64(client_seed(seed, client * 65536 + epoch))
        begin = at
        for s in range(len(own)):
            i = np.uint64(own[s])
            for k in range(0, dim, LINE):
                prefetch(flat, np.int64(i) * dim + k)
            known = np.int64(slot[i]) - base
            place = rows if known < 0 else known
            touched[rows] = np.uint32(i)
            rows += np.int64(known < 0)
            slot[i] = np.int32(base + place)
            places[at] = np.uint32(place)
            labels[at] = np.float32(1.0) if negatives else label[s]
            at += 1
            for _ in range(negatives):
                i = np.uint64(0)
                known = np.int64(0)
                for _try in range(1000):
                    state += GOLDEN
                    i = np.uint64(below(state, items))
                    known = np.int64(slot[i]) - base
                    if known < 0 or known >= mine:
                        break
                for k in range(0, dim, LINE):
                    prefetch(flat, np.int64(i) * dim + k)
                place = rows if known < 0 else known
                touched[rows] = np.uint32(i)
                rows += np.int64(known < 0)
                slot[i] = np.int32(base + place)
                places[at] = np.uint32(place)
                labels[at] = np.float32(0.0)
                at += 1
        if shuffle:
            for s in range(at - begin - 1, 0, -1):
                state += GOLDEN
                t = begin + below(state, s + 1)
                r = begin + s
                places[r], places[t] = places[t], places[r]
                labels[r], labels[t] = labels[t], labels[r]
    return rows


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _epoch(local, user, places, steps, count, lr, batch_size, states, used, error, bits, power, slope):  # type: ignore[no-untyped-def]
    """SGD on `count` examples: item rows and user vector change in place; labels in `steps` become the steps.

    states receives the user vector before each batch, from row `used` on.
    """
    dim = len(user)
    for start in range(0, count, batch_size):
        size = min(batch_size, count - start)
        rate = np.float32(lr / size)
        for k in range(dim):
            states[used, k] = user[k]
        used += 1
        for b in range(size):
            p = np.uint64(places[start + b])
            score = np.float32(0.0)
            for k in range(dim):
                score += local[p, k] * user[k]
            error[b] = score
        _sigmoid(error, bits, power, size)
        for b in range(size):
            steps[start + b] = rate * (error[b] - steps[start + b])
        for k in range(dim):
            slope[k] = 0.0
        for b in range(size):
            p = np.uint64(places[start + b])
            step = steps[start + b]
            for k in range(dim):
                slope[k] += step * local[p, k]
        for b in range(size):
            p = np.uint64(places[start + b])
            step = steps[start + b]
            for k in range(dim):
                local[p, k] -= step * user[k]
        for k in range(dim):
            user[k] -= slope[k]


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _norm(local, table, touched, rows):  # type: ignore[no-untyped-def]
    """L2 norm of a client's change."""
    square = np.float64(0.0)
    for r in range(rows):
        i = np.uint64(touched[r])
        of_row = np.float32(0.0)
        for k in range(table.shape[1]):
            change = local[r, k] - table[i, k]
            of_row += change * change
        square += of_row
    return np.sqrt(square)


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
    notes,
    sums,
):
    """Add the deltas of every client in `cohort` to sums (items, dim) float64; `users` (clients, dim) change in place.

    notes is `notebook(items)`. Returns False if a client's parameters were not finite (nothing of that client was
    added).
    """
    items, dim = table.shape
    longest = 0
    for c in cohort:
        longest = max(longest, offsets[c + 1] - offsets[c])
    longest *= 1 + negatives
    batches = epochs * (-(-longest // batch_size))
    most = min(longest * epochs, items)
    slot = np.full(items, -1, np.int32)
    places = np.empty((2, longest * epochs), np.uint32)  # of this client and of the next
    labels = np.empty((2, longest * epochs), np.float32)
    touched = np.empty((2, most + 1), np.uint32)  # one more: written before it is known whether a row is new
    local = np.empty((most, dim), np.float32)
    error = np.empty(batch_size, np.float32)
    bits = np.empty(batch_size, np.int32)
    power = bits.view(np.float32)
    user = np.empty(dim, np.float32)
    slope = np.empty(dim, np.float32)
    steps = notes.view(np.float32)
    held = np.zeros(len(notes), np.int64)
    states = np.empty((max(STATES, batches), dim), np.float32)
    scratch = np.empty((1 << WIDE, dim), np.float32)
    used, base, rows = 0, 0, 0
    for index in range(-1, len(cohort)):  # each turn trains one client and draws the next
        now = index & 1
        had = rows
        if index >= 0:
            for r in range(rows):
                i = np.uint64(touched[now, r])
                for k in range(dim):
                    local[r, k] = table[i, k]
            base += rows
            if base > 1 << 30:
                slot[:] = -1
                base = 0
        if index + 1 < len(cohort):
            c = cohort[index + 1]
            rows = _draw(
                item[offsets[c] : offsets[c + 1]],
                label[offsets[c] : offsets[c + 1]],
                first + c,
                seed,
                negatives,
                epochs,
                shuffle,
                slot,
                base,
                table,
                places[1 - now],
                labels[1 - now],
                touched[1 - now],
            )
        if index < 0:
            continue
        c = cohort[index]
        count = (offsets[c + 1] - offsets[c]) * (1 + negatives)
        per_epoch = -(-count // batch_size)
        if used + batches > len(states):
            for block in range(len(notes)):
                add_block(block, notes, steps, held, states, scratch, sums)
            used = 0
        began = used
        for k in range(dim):
            user[k] = users[c, k]
        for epoch in range(epochs):
            mine = slice(epoch * count, (epoch + 1) * count)
            _epoch(
                local, user, places[now, mine], labels[now, mine], count, lr, batch_size, states, used,
                error, bits, power, slope,
            )  # fmt: skip
            used += per_epoch
        total = np.float64(0.0)
        for k in range(dim):
            total += user[k]  # every change of an item is a multiple of some state of the user vector
        if clip_norm > 0.0:
            norm = _norm(local, table, touched[now], had)
            total += norm
            if norm > clip_norm:
                scale = np.float32(clip_norm / norm)
                for s in range(began, used):
                    for k in range(dim):
                        states[s, k] *= scale
        if not np.isfinite(total):
            return False
        for epoch in range(epochs):
            mine = slice(epoch * count, (epoch + 1) * count)
            state = began + epoch * per_epoch
            note(
                touched[now], places[now, mine], labels[now, mine], count, batch_size, state, notes, steps,
                held, states, scratch, sums,
            )  # fmt: skip
        for k in range(dim):
            users[c, k] = user[k]
    for block in range(len(notes)):
        add_block(block, notes, steps, held, states, scratch, sums)
    return True
