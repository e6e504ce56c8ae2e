"""An item-item model in closed form: its Gram matrix is a sum over customers, so one secure sum gives *the* central
model.

H. Steck: "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, https://arxiv.org/abs/1905.03375, Algorithm
1. Differs from the paper: with `rank` > 0 the weights are the projection on the leading eigenvectors of the Gram
matrix, which stands noise better (C. Chien et al.: "Private Alternating Least Squares", ICML 2021,
https://arxiv.org/abs/2107.09802).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tacit.core.triangle import gram, unpack
from tacit.core.values import Array, Params, Population, Schema


@dataclass(frozen=True, slots=True)
class ItemItem:
    """scores(u) = x_u W with x_u the customer's binary history; shared: weights W (items, items)."""

    ridge: float = 400.0  # added to the diagonal of the Gram matrix, in customers
    rank: int = 0  # 0 = the full ridge solution; k > 0 = projection on the k leading eigenvectors

    def __post_init__(self) -> None:
        if not self.ridge > 0.0 or self.rank < 0:
            raise ValueError(f"{self!r} needs ridge > 0 and rank >= 0")

    @property
    def serves(self) -> Literal["interactions", "tabular"]:
        """Interactions."""
        return "interactions"

    @property
    def private(self) -> tuple[str, ...]:
        """The history stays local; nothing else is personal."""
        return ()

    @property
    def ranges(self) -> dict[str, float]:
        """A client counts each pair of its items once."""
        return {"gram": 1.0}

    @property
    def whole(self) -> tuple[str, ...]:
        """Counts."""
        return ("gram",)

    def init(self, schema: Schema, seed: int) -> Params:
        """No weights before the sum: an empty (0, 0) matrix, so that nothing is broadcast."""
        return {"weights": np.zeros((0, 0), np.float32)}

    def statistics(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """gram (items (items + 1) / 2,) float64: in how many histories two items stand together."""
        return {"gram": gram(clients)}, {}

    def solve(self, shared: Params, total: Params, clients: float) -> Params:
        """Ridge weights with a zero diagonal, or the leading eigenspace."""
        matrix = unpack(np.asarray(total["gram"], np.float64))
        if self.rank:
            values, vectors = np.linalg.eigh(matrix)
            leading = vectors[:, np.argsort(values)[-self.rank :]]
            return {"weights": (leading @ leading.T).astype(np.float32)}
        matrix[np.diag_indices_from(matrix)] += self.ridge
        inverse = np.linalg.inv(matrix)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return {"weights": weights.astype(np.float32)}

    def scores(self, shared: Params, own: Params, clients: Population) -> Array:
        """(clients, items) float32."""
        x = np.zeros((len(clients), clients.schema.items), np.float32)
        if shared["weights"].size == 0:  # nobody has contributed yet
            return x
        x[clients.owner(), clients.fields["item"]] = 1.0
        return np.asarray(x @ shared["weights"])
