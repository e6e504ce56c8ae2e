"""No coordinate is huge: random 0-1 projections of a committed vector, published under masks that drown them.

The idea: C. Gentry, S. Halevi, V. Lyubashevsky: "Practical Non-interactive Publicly Verifiable Secret Sharing with
Thousands of Parties", EUROCRYPT 2022, https://eprint.iacr.org/2021/1397 (approximate proofs of smallness after V.
Lyubashevsky, N. K. Nguyen, G. Seiler, 2020), used for norms by ACORN (see `pedersen`). Differs from the papers:
coefficients are 0 or 1, and masks drown the projections statistically, so nothing is ever rejected and repeated.

Why it holds. Fix X and masks y mod ORDER before the coefficients R are drawn, and say that some coordinate X_i, read as
the number of least absolute value, has |X_i| >= 2^WIDTH. For one row let s be the sum of the others plus the mask: the
row gives s or s + X_i with equal chance. Both cannot lie in [0, 2^WIDTH), since two numbers in there differ by less
than 2^WIDTH. So a row lands in the interval with a chance of at most 1/2, and all ROWS of them with 2^-ROWS.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np

from tacit.core.values import Array
from tacit.privacy.proofs.group import Scalar, library, written
from tacit.privacy.proofs.transcript import Transcript

ROWS = 128
WIDTH = 118  # bits: 2 WIDTH + 17 < 254, so that 2^17 squares below 2^(2 WIDTH) do not wrap around ORDER
BYTES = (WIDTH + 7) // 8  # of a published projection


def coefficients(transcript: Transcript, size: int) -> Array:
    """(ROWS, size) uint8 of 0 and 1, by the transcript's coins."""
    bits = np.unpackbits(np.frombuffer(transcript.coins("projection", ROWS * ((size + 7) // 8)), np.uint8))
    return bits.reshape(ROWS, -1)[:, :size]


def projections(rows: Array, vector: Sequence[int], masks: Sequence[int]) -> list[int]:
    """The masked projections: (ROWS,) of whole numbers."""
    return [mask + sum(compress(vector, row)) for mask, row in zip(masks, rows.tolist(), strict=True)]


def form(rows: Array, powers: Sequence[Scalar]) -> list[Scalar]:
    """(size,) sum over rows of power times row: the linear form that checks all projections at once.

    In limbs of 16 bits, whose sums over the rows stay far below the 2^53 that a float64 holds exactly.
    """
    limbs = np.frombuffer(b"".join(map(written, powers)), "<u2").reshape(len(powers), -1).astype(np.float64)
    read = library().Scalar.from_le_bytes_mod_order
    out: list[Scalar] = []
    for low in range(0, rows.shape[1], 4096):
        sums = (rows[:, low : low + 4096].T.astype(np.float64) @ limbs).astype(np.int64)
        digits, carry = np.zeros((len(sums), limbs.shape[1] + 1), "<u2"), np.zeros(len(sums), np.int64)
        for place in range(limbs.shape[1]):
            carry = carry + sums[:, place]
            digits[:, place], carry = carry & 0xFFFF, carry >> 16
        digits[:, -1] = carry
        width, raw = 2 * digits.shape[1], digits.tobytes()
        out += [read(raw[start : start + width]) for start in range(0, len(raw), width)]
    return out
