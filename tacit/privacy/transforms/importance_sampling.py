"""Table updates sampled where past sums were large: along their main directions, more often in busy rows.

H. Wang, S. Sievert, Z. Charles, S. Liu, S. Wright, D. Papailiopoulos: "ATOMO: Communication-efficient Learning via
Atomic Sparsification", NeurIPS 2018, https://arxiv.org/abs/1806.04090, section 3 (atoms are kept with a chance
proportional to their size). Directions that follow past rounds: T. Vogels, S. P. Karimireddy, M. Jaggi: "PowerSGD",
NeurIPS 2019, https://arxiv.org/abs/1905.13727. Differs from the papers: sizes are those of sums that were released
before, not of a client's own update, so that all clients of a round keep the same places, what they send adds up under
a secure sum, and no place tells of a customer; and the number of places is fixed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from tacit.core.protocols import Randomness
from tacit.core.values import Array, Params, ProtocolError, Turn, Vector
from tacit.privacy.layer import Layer
from tacit.privacy.within import within

_CERTAIN = 1.0 - 1e-9  # chances from here on are one
_ORTHONORMAL = 1e-9  # how far products of directions may lie from 0 or 1


@dataclass(frozen=True, slots=True)
class ImportanceSampling(Layer):
    """Turns rows of `columns` into the main directions of past sums; sends one in `ratio` of their values, by chance.

    A value's chance is the product of what its row and its direction weigh, at most 1; it is read divided by that
    chance. The first round knows nothing and draws evenly. Weights follow what was summed: 8 * columns * (columns + 1)
    + 4 * rows bytes more that are broadcast.

    Guarantees:
        encoding is linear, so it goes through any sum.
        with a ratio of one the sum comes back.
        the mean of what comes back over draws is the sum.
        no contribution grows.
        which values are sent depends on the round and on past sums alone.
        directions that would stretch a contribution are refused.

    Raises:
        ProtocolError: a server's directions or weights that no round can have given.
    """

    columns: int = 32  # of the item table; a contribution is cut into rows of so many values, the last one filled up
    ratio: float = 16.0  # values / values that are sent
    floor: float = 0.3  # part of the mean energy that is added to each, so that what was small is still looked at
    rate: float = 0.1  # how fast directions and weights follow

    def __post_init__(self) -> None:
        if self.columns < 1 or not 1.0 <= self.ratio <= 1e9:
            raise ValueError(f"ImportanceSampling needs columns >= 1 and a ratio from 1 to 10^9, got {self!r}")
        if not 1e-6 <= self.floor <= 1e6 or not 0.0 < self.rate <= 1.0:
            raise ValueError(f"ImportanceSampling needs a floor from 10^-6 to 10^6 and a rate in (0, 1], got {self!r}")

    @property
    def per_client(self) -> bool:
        """Every client leaves out what it does not send."""
        return True

    @property
    def lossy(self) -> bool:
        """What is not sent in a round does not come back in it."""
        return self.ratio > 1.0

    @property
    def linear(self) -> bool:
        """Turning and leaving out are linear: a node may add up its clients before it encodes."""
        return True

    def length(self, turn: Turn) -> int:
        """One in `ratio` values of all rows, the last one filled up."""
        return math.ceil(-(-turn.size // self.columns) * self.columns / self.ratio)

    def start(self) -> Params:
        """Nothing is known: the columns as they are, all alike."""
        return {
            "directions": np.eye(self.columns),
            "energy": np.ones(self.columns),  # along each direction
            "rows": np.zeros(0, np.float32),  # energy of each row; none = all alike
        }

    def follow(self, total: Vector, turn: Turn) -> Params:
        """Directions, and energies of directions and rows, moved by `rate` towards this round's sum.

        Energies are estimated without bias (divided by the chances), and each round counts alike.
        """
        largest = float(np.abs(total).max(initial=0.0))
        if not largest > 0.0 or not math.isfinite(largest):
            return dict(turn.told)
        told = self._told(turn)
        directions, chosen, share = self._draw(turn)
        table = np.zeros(share.shape)
        table.ravel()[chosen] = total / largest
        read = table / share
        each = table * read  # squares over chances: unbiased energies
        moment = read.T @ read
        moment[np.diag_indices(self.columns)] = each.sum(axis=0)
        moment = directions @ (moment / max(float(each.sum()), 1e-300)) @ directions.T
        rows = each.sum(axis=1)
        rows /= max(float(rows.mean()), 1e-300)
        if len(told["rows"]):
            energy = told["energy"] / max(float(told["energy"].sum()), 1e-300)
            moment = (1.0 - self.rate) * (directions * energy) @ directions.T + self.rate * moment
            rows = (1.0 - self.rate) * told["rows"] + self.rate * rows
        values, vectors = np.linalg.eigh((moment + moment.T) / 2.0)
        return {"directions": vectors, "energy": np.maximum(values, 0.0), "rows": rows.astype(np.float32)}

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """(length,) the round's values."""
        directions, chosen, share = self._draw(turn)
        rows = np.zeros(share.shape)
        rows.ravel()[: len(x)] = within(x)
        out = np.empty(len(chosen))
        _along(rows, np.ascontiguousarray(directions.T), chosen, out)
        return out

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """(d,) the values over their chances, zeros at the other places, turned back."""
        directions, chosen, share = self._draw(turn)
        table = np.zeros(share.shape)
        table.ravel()[chosen] = total / share.ravel()[chosen]
        return np.asarray((table @ directions.T).ravel()[: turn.size])

    def _told(self, turn: Turn) -> Params:
        return turn.told or self.start()

    def _draw(self, turn: Turn) -> tuple[Array, Array, Array]:
        """((columns, columns) directions, (length,) places, (rows, columns) chances) of a round."""
        told, rows = self._told(turn), -(-turn.size // self.columns)
        weights = [np.asarray(told[name], np.float64).tobytes() for name in ("directions", "energy", "rows")]
        return _draw(rows, self.columns, self.length(turn), self.floor, turn.seed, *weights)


@lru_cache(maxsize=2)
def _draw(
    rows: int, columns: int, count: int, floor: float, seed: int, turned: bytes, along: bytes, busy: bytes
) -> tuple[Array, Array, Array]:
    directions, energy, weight = (np.frombuffer(part) for part in (turned, along, busy))
    if len(directions) != columns**2 or len(energy) != columns or len(weight) not in (0, rows):
        raise ProtocolError(
            f"directions and weights of {rows} rows of {columns} were needed, others were told: refused"
        )
    directions = directions.reshape(columns, columns)
    if not np.all(np.abs(directions.T @ directions - np.eye(columns)) <= _ORTHONORMAL):
        raise ProtocolError(
            "the directions that were told are not orthonormal and would stretch a contribution: refused"
        )
    weight = weight if len(weight) else np.ones(rows)
    if not all(np.all((part >= 0.0) & (part <= 1e12)) for part in (energy, weight)):
        raise ProtocolError("the weights that were told are no finite numbers from 0 on: refused")
    factors = [np.sqrt(part + floor * max(math.fsum(part) / max(len(part), 1), 1e-6)) for part in (energy, weight)]
    share = chances(np.outer(factors[1], factors[0]).ravel(), count)
    chosen = systematic(share, count, seed)
    share = share.reshape(rows, columns)
    for part in (chosen, share):
        part.flags.writeable = False
    return directions, chosen, share


@njit(cache=True)
def _along(rows, directions, chosen, out):  # type: ignore[no-untyped-def]
    """Coordinates at chosen places of the table rows @ directions.T, and no others."""
    columns = rows.shape[1]
    for k in range(len(chosen)):
        row, direction = divmod(chosen[k], columns)
        found = 0.0
        for column in range(columns):
            found += rows[row, column] * directions[direction, column]
        out[k] = found


def chances(weights: Array, count: int) -> Array:
    """(n,) chances that add up to `count`, proportional to positive weights where that is below 1, else 1.

    By sums that are rounded once (`fsum`), so that every machine finds the same.
    """
    out, free = np.ones(len(weights)), np.arange(len(weights))
    while len(free):
        left = count - (len(weights) - len(free))
        share = weights[free] * (left / math.fsum(weights[free]))
        sure = share >= _CERTAIN
        if not sure.any():
            out[free] = share
            break
        free = free[~sure]
    return out


def systematic(share: Array, count: int, seed: int) -> Array:
    """(count,) sorted places, each drawn with its chance: equal steps along the chances laid end to end, shuffled."""
    random = np.random.default_rng(seed)
    sure = np.flatnonzero(share >= _CERTAIN)
    free = np.flatnonzero(share < _CERTAIN)
    left = count - len(sure)
    if left == 0 or not len(free):
        return sure
    free = random.permutation(free)
    ends = np.minimum(np.cumsum(share[free]), left)
    ends[-1] = left  # whatever rounding made of it
    begin = (int(random.integers(0, 2**32)) + 0.5) / 2**32
    marks = np.floor(ends - begin)
    taken = np.diff(marks, prepend=-1.0) > 0.5
    return np.sort(np.concatenate([sure, free[taken]]))
