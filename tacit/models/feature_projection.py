"""Private co-occurrence in few dimensions: histories seen through public item features, one noisy sum.

A subspace iteration started from public features: M. Hardt, E. Price, "The Noisy Power Method", NIPS 2014,
https://arxiv.org/abs/1311.2495, with one iteration (each further one costs more privacy than it brings here). Scores
mix the projected history with a purely local affinity to the same public features, which spends no privacy at all.
Differs from the paper: each customer's part is scaled to norm 1, and the start is not random but the public features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from tacit.core.arrays import Same, standard
from tacit.core.values import Array, DataError, Params, Population, Schema


@dataclass(frozen=True, slots=True)
class FeatureProjection:
    """scores(u) = z(h_u Q Q') + affinity * z(features . log(p_u / p)), h_u the history, newest rows heaviest.

    A client sends K F[history], (items, features) of Frobenius norm 1, with K[j, k] = 0.5^(|j - k| / near) between its
    j-th and k-th row: one Gaussian release at clip norm 1 is all that leaves. Shared: basis Q (items, rank).
    """

    rank: int = 8
    near: float = 30.0  # in rows: how fast rows far apart in time count less as a pair; 0 = all pairs alike
    affinity: float = 0.5  # weight of the local taste in public features; 0 = none
    oldest: float = 0.3  # when scoring, a row weighs oldest + newest * 0.5^(age / half_life), as in ImplicitALS
    newest: float = 8.0  # 0 where the order of rows means nothing
    half_life: float = 3.0
    prior: float = 20.0  # pseudo-rows of the catalogue's feature shares in a client's taste

    def __post_init__(self) -> None:
        if self.rank < 1 or self.near < 0.0 or self.affinity < 0.0 or self.newest < 0.0:
            raise ValueError(f"{self!r} needs rank >= 1 and near, affinity, newest >= 0")
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
        """A contribution has norm 1."""
        return {"seen": 1.0}

    def init(self, schema: Schema, seed: int) -> Params:
        """An empty basis (0, 0)."""
        return {"basis": np.zeros((0, 0), np.float32)}

    def statistics(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """seen (items, features) float64."""
        features = _orthonormal(Same(_public(clients.schema)))
        seen = np.zeros_like(features)
        for c in range(len(clients)):
            item = clients.rows(c)["item"]
            view = features[item]
            place = np.arange(len(item))
            if self.near:
                view = 0.5 ** (np.abs(place[:, None] - place[None, :]) / self.near) @ view
            else:
                view = np.broadcast_to(view.sum(axis=0), view.shape)
            size = float(np.linalg.norm(view))
            if size > 0.0:
                np.add.at(seen, item, view / size)
        return {"seen": seen}, {}

    def solve(self, shared: Params, total: Params, clients: float) -> Params:
        """The leading left singular vectors."""
        vectors = np.linalg.svd(total["seen"], full_matrices=False)[0]
        return {"basis": vectors[:, : self.rank].astype(np.float32)}

    def scores(self, shared: Params, own: Params, clients: Population) -> Array:
        """(clients, items) float32. With newest > 0, rows must stand in their order in time."""
        items = clients.schema.items
        owner, item = clients.owner(), clients.fields["item"]
        age = np.repeat(clients.offsets[1:], clients.sizes) - 1 - np.arange(clients.offsets[-1])
        history = np.zeros((len(clients), items), np.float32)
        history[owner, item] = self.oldest + self.newest * 0.5 ** (age / self.half_life)
        basis = shared["basis"] if shared["basis"].size else np.zeros((items, 1), np.float32)  # nobody contributed yet
        scores = standard((history @ basis) @ basis.T)
        if self.affinity:
            features = _public(clients.schema)
            share = features.mean(axis=0) + 1e-9
            seen = np.zeros((len(clients), items), np.float32)
            seen[owner, item] = self.oldest + 0.5 * self.newest * 0.5 ** (age / (3.0 * self.half_life))
            taste = (seen @ features + self.prior * share) / (seen.sum(axis=1, keepdims=True) + self.prior)
            scores = scores + self.affinity * standard(np.log(taste / share) @ features.T)
        return np.asarray(scores, np.float32)


def _public(schema: Schema) -> Array:
    if schema.item_features is None:
        raise DataError(
            "FeatureProjection looks through public item features (genres, eras), but these data have none: "
            "name category columns in the data, or use ItemItem"
        )
    return schema.item_features


@lru_cache(maxsize=4)
def _orthonormal(public: Same) -> Array:
    """(items, k) orthonormal columns that span a constant and the public features."""
    features = np.asarray(public.array, np.float64)
    features = np.concatenate([np.ones((len(features), 1)), features[:, features.any(axis=0)]], axis=1)
    basis, triangle = np.linalg.qr(features)
    return np.asarray(basis[:, np.abs(np.diag(triangle)) > 1e-9 * np.abs(triangle).max()])
