"""Private co-occurrence from noisy sums, believed only as far as they stand out of the noise, and local taste.

Rounds after the first sum each customer's taste over its items, the statistics of private alternating least squares:
S. Chien et al., "Private Alternating Least Squares", ICML 2021, https://arxiv.org/abs/2107.09802; that each round looks
along what was found so far is the noisy power method: M. Hardt, E. Price, NIPS 2014, https://arxiv.org/abs/1311.2495.
Differs from the papers: each customer's part is scaled to norm 1, the start is the public facts, all rounds' sums are
denoised together (`noisy_rows`), a taste is relative to popularity and takes the doubt about the items into account.
Noise is measured on values that every customer sends as zero. Tastes are computed on the client and cost no privacy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from tacit.core.arrays import Same, standard
from tacit.core.values import Array, Params, Population, Schema
from tacit.privacy.noisy_rows import Rows, audiences, embedding, popularities

SILENT = 512  # values that are zero before the noise: they measure it to 1 / sqrt(2 * 512) = 3 %
LEAST = 0.01  # noise, of a contribution's norm: below it more noise is assumed than there is, so that none is no limit
FEWEST = 0.01  # of the items: a pair of facts that fewer share is no direction of its own
COUNTED = 0.35  # weight of the column that counts items, against a taste of norm 1


@dataclass(frozen=True, slots=True)
class NoiseAwareProjection:
    """scores(u) = z(log popularity + table . taste_u + kept * public taste) + projection * trust * z(log(1 + h Q Q')).

    Round 1: a client sends K F[history], (items, directions), with K[j, k] = 0.5^(|j - k| / near) between its j-th and
    k-th row; F is an orthonormal basis of public directions. Later rounds: its taste beside each of its items, (items,
    1 + k). Either has Frobenius norm 1, zeros ride along: one Gaussian release at clip norm 1 is all that leaves.
    Shared: table (items, k), moments (k,): items in directions of taste; popularity (items,) logarithms of it, up to a
    constant; basis Q (items, j), the j directions above the noise; found (1,) = j. On the server only: summed, typical,
    counted, error: all noisy sums so far in units of their noise, their average row, and popularity with its error.
    h: weights of the history. A taste is the first Newton step of a local softmax from popularity, with a normal prior.
    facts (items, f): how alike items are by what is public; the server knows them from its parameters only.
    trust = min(1, j / sure); kept = 1 - 0.7 trust: public facts count fully where hardly anything stands out.
    """

    rank: int = 64  # of tables and bases
    directions: int = 128  # public directions at most; the first message holds items * directions values
    bumps: int = 32  # of the directions, along the order of the catalogue: items entered together resemble each other
    sure: int = 10  # directions above the noise from which on what was learned together counts fully
    related: float = 0.7  # share of the differences between audiences that public facts explain, before the sums
    edge: float = 0.6  # of what noise alone brings: weaker directions of taste are left out
    projection: float = 0.5  # weight of the projected history
    neighbours: float = 0.0  # reach, in items, of a taste for neighbours in the catalogue; 0 = its order means nothing
    near: float = 0.0  # in rows: how fast rows far apart in time count less as a pair; 0 = all pairs alike
    oldest: float = 1.0  # when scoring, a row weighs oldest + newest * 0.5^(age / half_life), as in ImplicitALS
    newest: float = 0.0  # 0 where the order of rows means nothing
    half_life: float = 3.0
    prior: float = 20.0  # pseudo-rows of an average customer in a client's taste for public facts

    def __post_init__(self) -> None:
        if min(self.rank, self.directions, self.bumps, self.sure) < 1:
            raise ValueError(f"{self!r} needs rank, directions, bumps and sure >= 1")
        if min(self.edge, self.projection, self.neighbours, self.near, self.newest) < 0.0:
            raise ValueError(f"{self!r} needs edge, projection, neighbours, near, newest >= 0")
        if not (self.half_life > 0.0 and self.oldest > 0.0 and self.prior > 0.0 and 0.0 <= self.related < 1.0):
            raise ValueError(f"{self!r} needs half_life, oldest and prior > 0 and related in [0, 1)")

    @property
    def serves(self) -> Literal["interactions", "tabular"]:
        """Interactions."""
        return "interactions"

    @property
    def private(self) -> tuple[str, ...]:
        """Nothing is stored on clients but their history."""
        return ()

    @property
    def ranges(self) -> dict[str, float]:
        """A contribution has norm 1; the silent values are zero."""
        return {"seen": 1.0, "silent": 1.0}

    def init(self, schema: Schema, seed: int) -> Params:
        """Nothing known: empty arrays, nothing found."""
        one, two = np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
        names = {"table": two, "moments": one, "popularity": one, "basis": two, "found": np.zeros(1, np.float32)}
        facts = likeness(schema.item_features, schema.items, self.bumps if self.neighbours else 0).astype(np.float32)
        return names | {"facts": facts, "summed": two, "typical": one, "counted": one, "error": one}

    def broadcast(self, shared: Params) -> Params:
        """Only what tastes are computed with in the next round; what has a shape from the start keeps it."""
        sent = ("table", "moments", "found", "facts")
        return {name: value if name in sent else value[:0] for name, value in shared.items()}

    def statistics(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """seen (items, columns) float64, silent (512,) zeros."""
        later = bool(shared["table"].size)
        table = np.asarray(shared["table"], np.float64) if later else self._directions(clients.schema)
        seen = np.zeros((len(table), table.shape[1] + later))
        for c in range(len(clients)):
            item = clients.rows(c)["item"]
            if not len(item):
                continue
            if self.near:
                place = np.arange(len(item))
                pairs = 0.5 ** (np.abs(place[:, None] - place[None, :]) / self.near)
                view, mass = pairs @ table[item], pairs.sum(axis=1, keepdims=True)
            else:  # all rows of the view are alike
                view, mass = np.repeat(table[item].sum(axis=0)[None, :], len(item), axis=0), np.array([[len(item)]])
            if later:
                view = view / (mass * shared["moments"] + 1.0)
                length = float(np.linalg.norm(view)) or 1.0
                same = np.full((len(item), 1), COUNTED / len(item) ** 0.5)
                view = np.concatenate([same, view / length], axis=1)
            if (size := float(np.linalg.norm(view))) > 0.0:
                np.add.at(seen, item, view / size)
        return {"seen": seen, "silent": np.zeros(SILENT)}, {}

    def solve(self, shared: Params, total: Params, clients: float) -> Params:
        """Popularity, then audiences, then directions of taste, from all sums so far."""
        noise = max(float(np.sqrt(np.mean(np.square(total["silent"])))), LEAST)
        seen = np.asarray(total["seen"], np.float64) / noise
        if not shared["summed"].size:
            right = np.linalg.svd(seen, full_matrices=False)[2][0]  # what most histories have in common
            typical = right * np.sign((seen @ right).sum() or 1.0)
            counted, error = seen @ typical, 1.0
            _, mean = popularities(counted, error)
        else:
            counted, error = np.asarray(shared["counted"], np.float64), float(shared["error"][0])
            scale = max(counted.sum(), 1.0) / max(seen[:, 0].sum(), 1.0)  # the same popularity in other units
            weight = error**2 / (error**2 + scale**2)
            counted = (1.0 - weight) * counted + weight * scale * seen[:, 0]
            error = error * scale / (error**2 + scale**2) ** 0.5
            _, mean = popularities(counted, error)
            typical = np.concatenate([shared["typical"], seen[:, 1:].sum(axis=0) / mean.sum()])
            seen = np.concatenate([np.asarray(shared["summed"], np.float64), seen[:, 1:]], axis=1)
        return self._learned(shared, seen, typical, counted, error)

    def _learned(self, shared: Params, seen: Array, typical: Array, counted: Array, error: float) -> Params:
        median, mean = popularities(counted, error)
        rows = Rows(np.asarray(shared["facts"], np.float64), mean / mean.mean(), self.related)
        means, spreads = audiences(rows, seen - np.outer(mean, typical), self.edge, self.rank)
        table, moments = embedding(means / mean[:, None], spreads / np.square(mean)[:, None], mean)
        left, values, _ = np.linalg.svd(seen, full_matrices=False)
        edge = len(seen) ** 0.5 + seen.shape[1] ** 0.5  # the largest value of noise alone
        count = int(np.sum(values[: self.rank] > max(edge, 1e-6 * values[0])))
        kept = np.maximum(1.0 - len(seen) / np.square(values[:count]), 0.0)  # the noise's share in a value's square
        learned = {"table": table, "moments": moments, "popularity": np.log(median / median.mean())}
        learned |= {"basis": left[:, :count] * kept**0.25, "found": np.array([count])}
        learned |= {"summed": seen, "typical": typical, "counted": counted, "error": np.array([error])}
        return {name: np.asarray(learned.get(name, value), np.float32) for name, value in shared.items()}

    def scores(self, shared: Params, own: Params, clients: Population) -> Array:
        """(clients, items) float32. With newest > 0, rows must stand in their order in time."""
        items = clients.schema.items
        owner, item = clients.owner(), clients.fields["item"]
        age = np.repeat(clients.offsets[1:], clients.sizes) - 1 - np.arange(clients.offsets[-1])
        history = np.zeros((len(clients), items), np.float32)
        history[owner, item] = self.oldest + self.newest * 0.5 ** (age / self.half_life)
        rows = np.zeros((len(clients), items), np.float32)
        rows[owner, item] = self.oldest + 0.5 * self.newest * 0.5 ** (age / (3.0 * self.half_life))
        trust = min(1.0, float(shared["found"][0]) / self.sure)
        popular = shared["popularity"] if shared["popularity"].size else np.zeros(items, np.float32)
        share = np.exp(popular, dtype=np.float64)
        public = taste(share / share.sum(), rows, clients.schema.item_features, self.neighbours, self.prior)
        local = popular + (1.0 - 0.7 * trust) * public
        if shared["table"].size:
            mass = history.sum(axis=1, keepdims=True)
            unit = mass / np.maximum(np.square(history).sum(axis=1, keepdims=True), 1e-12)  # as many rows as it tells
            known = unit * (history @ shared["table"])
            local = local + (known / (unit * mass * shared["moments"] + 1.0)) @ shared["table"].T
        out = standard(local)
        if shared["basis"].size:
            likely = np.maximum((history @ shared["basis"]) @ shared["basis"].T, 0.0)
            likely = likely / np.maximum(likely.mean(axis=1, keepdims=True), 1e-12)
            out = out + self.projection * trust * standard(np.log1p(likely))
        return np.asarray(out, np.float32)

    def _directions(self, schema: Schema) -> Array:
        return directions(Same(schema.item_features), schema.items, self.directions, self.bumps)


@lru_cache(maxsize=4)
def directions(public: Same, items: int, most: int, bumps: int) -> Array:
    """(items, k <= most) orthonormal columns: constant, features, bumps along the catalogue, then the most frequent
    pairs of features.
    """
    features = np.zeros((items, 0)) if public.array is None else np.asarray(public.array, np.float64)
    columns = np.concatenate([np.ones((items, 1)), features, _bumps(items, bumps)], axis=1)[:, :most]
    if (room := most - columns.shape[1]) > 0 and features.shape[1] > 1:
        together = np.triu(features.T @ features, 1)
        order = np.argsort(-together, axis=None, kind="stable")[:room]
        first, second = np.unravel_index(order[together.ravel()[order] >= FEWEST * items], together.shape)
        columns = np.concatenate([columns, features[:, first] * features[:, second]], axis=1)
    columns = columns[:, np.abs(columns).sum(axis=0) > 0.0]
    basis, triangle = np.linalg.qr(columns / np.linalg.norm(columns, axis=0))
    return np.asarray(basis[:, np.abs(np.diag(triangle)) > 1e-6])


def likeness(features: Array | None, items: int, bumps: int) -> Array:
    """(items, f) whose rows' products say how alike two items are: shared features, rare ones more, and nearness in
    the catalogue, half each; rows have norm 1, or less where nothing is known.
    """
    parts = [_bumps(items, bumps)] if bumps else []
    if features is not None:
        known = np.asarray(features, np.float64)
        parts.append(known / np.sqrt(np.maximum(known.mean(axis=0), FEWEST)))
    lengths = [np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9) for part in parts]
    unit = [part / length for part, length in zip(parts, lengths, strict=True)]
    return np.asarray(np.concatenate([*unit, np.zeros((items, 0))], axis=1) / max(len(parts), 1) ** 0.5)


def taste(share: Array, seen: Array, features: Array | None, reach: float, prior: float) -> Array:
    """(clients, items) log of how much more often a client's rows bear an item's facts than everybody's do.

    Args:
        share: (items,) public estimate of each item's share in all rows.
        seen: (clients, items) weights of a client's rows, 0 = no row.
        features: (items, f) public facts, or none.
        reach: in items, of a taste for neighbours in the catalogue; 0 = its order means nothing.
        prior: pseudo-rows of an average client in everybody's.
    """
    mass = seen.sum(axis=1, keepdims=True) + prior
    out = np.zeros(seen.shape)
    if features is not None:
        common = share @ features + 1e-9
        out += np.log((seen @ features + prior * common) / mass / common) @ features.T
    if reach:
        common = around(share[None, :], reach) + 1e-9
        out += np.log((around(seen, reach) + prior * common) / mass / common)
    return out


def around(rows: Array, reach: float) -> Array:
    """(n, items): rows summed with weight exp(-|i - j| / reach) over the places j around each i, in two passes."""
    keep = float(np.exp(-1.0 / reach))
    out = np.array(rows.T, np.float64, order="C")
    behind, ahead = out.copy(), out.copy()
    for i in range(1, len(out)):
        behind[i] += keep * behind[i - 1]
        ahead[-1 - i] += keep * ahead[-i]
    return np.asarray((behind + ahead - out).T)


def _bumps(items: int, bumps: int) -> Array:
    centre = np.linspace(0.0, items, bumps)
    return np.asarray(np.exp(-0.5 * ((np.arange(items)[:, None] - centre) * (bumps / items)) ** 2))
