"""Private co-occurrence from one noisy sum, believed only as far as it stands out of the noise, and local taste.

A subspace iteration started from public facts: M. Hardt, E. Price, "The Noisy Power Method", NIPS 2014,
https://arxiv.org/abs/1311.2495, an iteration for each round. Directions are kept where their singular value exceeds
what noise alone brings, and shrunk: M. Gavish, D. L. Donoho, "Optimal Shrinkage of Singular Values", IEEE Transactions
on Information Theory 63(4), 2017, https://arxiv.org/abs/1405.7511.
Differs from the papers: each customer's part is scaled to norm 1, the start is the public facts, the shrinkage is the
plain 1 - noise^2 items / value^2, and the noise is measured on values that every customer sends as zero. Scores add a
local taste in public facts relative to the same release's popularity, which spends no privacy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from tacit.core.arrays import Same, standard
from tacit.core.values import Array, Params, Population, Schema

SILENT = 512  # values that are zero before the noise: they measure it to 1 / sqrt(2 * 512) = 3 %
FEWEST = 0.01  # of the items: a pair of facts that fewer share is no direction of its own


@dataclass(frozen=True, slots=True)
class NoiseAwareProjection:
    """scores(u) = trust * z(log(1 + v / mean v)) + affinity * z(log popularity + log lift of u's taste), v = h_u Q Q'.

    A client sends K F[history], (items, directions) of Frobenius norm 1, with K[j, k] = 0.5^(|j - k| / near) between
    its j-th and k-th row, and zeros: one Gaussian release at clip norm 1 is all that leaves. F is an orthonormal basis
    of public directions: a constant, the items' features, smooth bumps along the catalogue, pairs of features.
    Shared: basis Q (items, k), k what stands out of the noise, at most `rank`; popularity (items,) logarithms of it,
    up to a constant; trust (1,) = min(1, k / sure): nearly only local where hardly anything stands out; view (items,
    k) the directions that a second round looks along; summed, all noisy sums so far, which stay on the server.
    """

    rank: int = 64
    directions: int = 128  # public directions at most; the message holds items * directions values
    bumps: int = 32  # of the directions, along the order of the catalogue: items entered together resemble each other
    sure: int = 10  # directions above the noise from which on what was learned together counts fully
    affinity: float = 1.0  # weight of the local part; 0 = none
    lift: float = 1.5  # power of the features' lift against popularity
    neighbours: float = 0.0  # reach, in items, of a taste for neighbours in the catalogue; 0 = its order means nothing
    near: float = 0.0  # in rows: how fast rows far apart in time count less as a pair; 0 = all pairs alike
    oldest: float = 1.0  # when scoring, a row weighs oldest + newest * 0.5^(age / half_life), as in ImplicitALS
    newest: float = 0.0  # 0 where the order of rows means nothing
    half_life: float = 3.0
    prior: float = 20.0  # pseudo-rows of an average customer in a client's taste

    def __post_init__(self) -> None:
        if min(self.rank, self.directions, self.bumps, self.sure) < 1:
            raise ValueError(f"{self!r} needs rank, directions, bumps and sure >= 1")
        if min(self.affinity, self.lift, self.neighbours, self.near, self.newest) < 0.0:
            raise ValueError(f"{self!r} needs affinity, lift, neighbours, near, newest >= 0")
        if not (self.half_life > 0.0 and self.oldest > 0.0 and self.prior > 0.0):
            raise ValueError(f"{self!r} needs half_life, oldest and prior > 0")

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
        """Nothing known: an empty basis, no popularity, no trust."""
        empty = np.zeros(0, np.float32)
        none = np.zeros((0, 0), np.float32)
        return {"basis": none, "popularity": empty, "trust": np.zeros(1, np.float32), "view": none, "summed": none}

    def broadcast(self, shared: Params) -> Params:
        """Only the directions of the next round."""
        return {name: value if name in ("view", "trust") else value[:0] for name, value in shared.items()}

    def statistics(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """seen (items, directions) float64, silent (512,) zeros."""
        facts = np.asarray(shared["view"], np.float64) if shared["view"].size else self._directions(clients.schema)
        seen = np.zeros_like(facts)
        for c in range(len(clients)):
            item = clients.rows(c)["item"]
            if self.near:
                place = np.arange(len(item))
                view = 0.5 ** (np.abs(place[:, None] - place[None, :]) / self.near) @ facts[item]
                size = float(np.linalg.norm(view))
            else:  # all rows of the view are alike
                view = facts[item].sum(axis=0)
                size = float(np.linalg.norm(view)) * len(item) ** 0.5
            if size > 0.0:
                np.add.at(seen, item, view / size)
        return {"seen": seen, "silent": np.zeros(SILENT)}, {}

    def solve(self, shared: Params, total: Params, clients: float) -> Params:
        """The leading left singular vectors above the noise, each scaled by the fourth root of its shrinkage."""
        seen = np.concatenate([*([shared["summed"]] if shared["summed"].size else []), total["seen"]], axis=1)
        seen = np.asarray(seen, np.float64)
        noise = float(np.sqrt(np.mean(np.square(total["silent"]))))
        left, values, right = np.linalg.svd(seen, full_matrices=False)
        edge = noise * (len(seen) ** 0.5 + seen.shape[1] ** 0.5)  # the largest value of noise alone
        count = int(np.sum(values[: self.rank] > max(edge, 1e-6 * values[0])))
        kept = np.maximum(1.0 - noise**2 * len(seen) / values[:count] ** 2, 0.0)
        popular = seen @ (right[0] * np.sign(left[:, 0].sum() or 1.0))  # what most histories have in common
        popular = np.maximum(popular, max(noise / 2.0, 1e-6 * float(np.abs(popular).max()), 1e-12))
        return {
            "basis": (left[:, :count] * kept**0.25).astype(np.float32),
            "popularity": np.log(popular / popular.mean()).astype(np.float32),
            "trust": np.array([min(1.0, count / self.sure)], np.float32),
            "view": (left[:, :count] * np.sqrt(values[:1] / values[:count])).astype(np.float32),
            "summed": seen.astype(np.float32),
        }

    def scores(self, shared: Params, own: Params, clients: Population) -> Array:
        """(clients, items) float32. With newest > 0, rows must stand in their order in time."""
        items = clients.schema.items
        owner, item = clients.owner(), clients.fields["item"]
        age = np.repeat(clients.offsets[1:], clients.sizes) - 1 - np.arange(clients.offsets[-1])
        out = np.zeros((len(clients), items))
        if shared["basis"].size:
            history = np.zeros((len(clients), items), np.float32)
            history[owner, item] = self.oldest + self.newest * 0.5 ** (age / self.half_life)
            likely = np.maximum((history @ shared["basis"]) @ shared["basis"].T, 0.0)
            likely = likely / np.maximum(likely.mean(axis=1, keepdims=True), 1e-12)
            out += float(shared["trust"][0]) * standard(np.log1p(likely))
        if self.affinity:
            seen = np.zeros((len(clients), items), np.float32)
            seen[owner, item] = self.oldest + 0.5 * self.newest * 0.5 ** (age / (3.0 * self.half_life))
            out += self.affinity * standard(self._taste(shared["popularity"], seen, clients.schema))
        return np.asarray(out, np.float32)

    def _taste(self, popularity: Array, seen: Array, schema: Schema) -> Array:
        """log popularity + sum over facts of log(share in the client's rows / share in everybody's)."""
        popular = popularity if popularity.size else np.zeros(schema.items, np.float32)
        share = np.exp(popular, dtype=np.float64)
        share = share / share.sum()
        mass = seen.sum(axis=1, keepdims=True) + self.prior
        local = np.repeat(popular[None, :], len(seen), axis=0).astype(np.float64)
        if schema.item_features is not None:
            common = share @ schema.item_features + 1e-9
            taste = (seen @ schema.item_features + self.prior * common) / mass
            local += self.lift * np.log(taste / common) @ schema.item_features.T
        if self.neighbours:
            common = _around(share[None, :], self.neighbours) + 1e-9
            local += np.log((_around(seen, self.neighbours) + self.prior * common) / mass / common)
        return local

    def _directions(self, schema: Schema) -> Array:
        return _orthonormal(Same(schema.item_features), schema.items, self.directions, self.bumps)


@lru_cache(maxsize=4)
def _orthonormal(public: Same, items: int, directions: int, bumps: int) -> Array:
    """(items, k <= directions) orthonormal columns: constant, features, bumps, then the most frequent pairs."""
    features = np.zeros((items, 0)) if public.array is None else np.asarray(public.array, np.float64)
    centre = np.linspace(0.0, items, bumps)
    along = np.exp(-0.5 * ((np.arange(items)[:, None] - centre) * (bumps / items)) ** 2)
    columns = np.concatenate([np.ones((items, 1)), features, along], axis=1)[:, :directions]
    if (room := directions - columns.shape[1]) > 0 and features.shape[1] > 1:
        together = np.triu(features.T @ features, 1)
        most = np.argsort(-together, axis=None, kind="stable")[:room]
        first, second = np.unravel_index(most[together.ravel()[most] >= FEWEST * items], together.shape)
        columns = np.concatenate([columns, features[:, first] * features[:, second]], axis=1)
    columns = columns[:, np.abs(columns).sum(axis=0) > 0.0]
    basis, triangle = np.linalg.qr(columns / np.linalg.norm(columns, axis=0))
    return np.asarray(basis[:, np.abs(np.diag(triangle)) > 1e-6])


def _around(rows: Array, reach: float) -> Array:
    """(n, items): rows summed with weight exp(-|i - j| / reach) over the places j around each i, in two passes."""
    keep = float(np.exp(-1.0 / reach))
    out = np.array(rows.T, np.float64, order="C")
    behind, ahead = out.copy(), out.copy()
    for i in range(1, len(out)):
        behind[i] += keep * behind[i - 1]
        ahead[-1 - i] += keep * ahead[-i]
    return np.asarray((behind + ahead - out).T)
