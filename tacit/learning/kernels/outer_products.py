"""Adding up many outer products (row i, step, state): sums[i] -= step * state, without walking a large table at random.

What a client changes in an item's row is a sum of steps times the states of its user vector, so that eight bytes say
what one example did. They are noted by blocks of neighbouring rows, and a block is added up while it lies in cache.
"""

# mypy: disable-error-code="assignment"
from __future__ import annotations

import numpy as np
from numba import njit

from tacit.core.values import Array
from tacit.learning.kernels.prefetch import prefetch

FAST = {"contract", "reassoc", "nsz"}  # keeps NaN and infinity meaningful
WIDE = 9  # a block is 2^9 rows
NOTES = 4096  # a block is added up when it holds so many notes
STATES = 16384  # user vectors kept at a time, at least; their numbers fit 16 bits with one client's on top
LINE = 16  # float32 in a cache line
AHEAD = 6  # notes


def notebook(rows: int) -> Array:
    """Empty notes for a table of `rows`: made by numpy, which asks for large pages."""
    return np.empty(((rows >> WIDE) + 1, 2 * NOTES), np.uint32)


@njit(cache=True)
def note(rows, places, outer, count, every, state, notes, steps, held, states, scratch, sums):  # type: ignore[no-untyped-def]
    """Remember `count` outer products, of outer[n] and states[state + n // every] for row rows[places[n]].

    steps is `notes` seen as float32, held how many notes each block has. A full block is added up.
    """
    for start in range(0, count, every):
        for n in range(start, min(start + every, count)):
            row = np.uint64(rows[np.uint64(places[n])])
            block = row >> np.uint64(WIDE)
            at = held[block]
            notes[block, 2 * at] = np.uint32((row & np.uint64((1 << WIDE) - 1)) | (np.uint64(state) << np.uint64(16)))
            steps[block, 2 * at + 1] = outer[n]
            held[block] = at + 1
            if at + 1 == NOTES:
                add_block(np.int64(block), notes, steps, held, states, scratch, sums)
        state += 1


@njit(cache=True, fastmath=FAST, error_model="numpy")
def add_block(block, notes, steps, held, states, scratch, sums):  # type: ignore[no-untyped-def]
    """sums (rows, dim) float64 receive what one block's notes say: added in float32 first, a few thousand at most."""
    rows, dim = sums.shape
    low = block << WIDE
    high = min(rows, low + (1 << WIDE))
    flat = states.reshape(-1)
    last = held[block] - 1
    for r in range(high - low):
        for k in range(dim):
            scratch[r, k] = 0.0
    for n in range(last + 1):
        then = np.uint64(notes[block, 2 * min(n + AHEAD, last)]) >> np.uint64(16)
        for k in range(0, dim, LINE):
            prefetch(flat, np.int64(then) * dim + k)
        now = np.uint64(notes[block, 2 * n])
        row = now & np.uint64(0xFFFF)
        state = now >> np.uint64(16)
        step = steps[block, 2 * n + 1]
        for k in range(dim):
            scratch[row, k] -= step * states[state, k]
    for r in range(high - low):
        for k in range(dim):
            sums[low + r, k] += scratch[r, k]
    held[block] = 0
