"""Item neighbours by cosine similarity, from the same sums as the item-item model.

M. Deshpande, G. Karypis: "Item-based Top-N Recommendation Algorithms", ACM TOIS 22(1), 2004, section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tacit.core.triangle import gram, unpack
from tacit.core.values import Array, Params, Population, Schema


@dataclass(frozen=True, slots=True)
class ItemKNN:
    """scores(u) = x_u S with S the `neighbours` largest cosines of each item."""

    neighbours: int = 50

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours}")

    @property
    def serves(self) -> Literal["interactions", "tabular"]:
        """Interactions."""
        return "interactions"

    @property
    def private(self) -> tuple[str, ...]:
        """Nothing but the history, which stays local."""
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
        """An empty (0, 0) matrix, so that nothing is broadcast before the sum."""
        return {"weights": np.zeros((0, 0), np.float32)}

    def statistics(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """gram (items (items + 1) / 2,) float64: in how many histories two items stand together."""
        return {"gram": gram(clients)}, {}

    def solve(self, shared: Params, total: Params, clients: float) -> Params:
        """Cosine similarities, each column cut to its largest `neighbours`, zero diagonal."""
        matrix = unpack(np.asarray(total["gram"], np.float64))
        size = np.sqrt(np.maximum(np.diag(matrix), 1.0))
        cosine = matrix / size[:, None] / size[None, :]
        np.fill_diagonal(cosine, 0.0)
        keep = min(self.neighbours, len(cosine))
        floor = np.partition(cosine, -keep, axis=0)[-keep]
        return {"weights": np.where(cosine >= floor, cosine, 0.0).astype(np.float32)}

    def scores(self, shared: Params, own: Params, clients: Population) -> Array:
        """(clients, items) float32."""
        x = np.zeros((len(clients), clients.schema.items), np.float32)
        if shared["weights"].size == 0:  # nobody has contributed yet
            return x
        x[clients.owner(), clients.fields["item"]] = 1.0
        return np.asarray(x @ shared["weights"])
