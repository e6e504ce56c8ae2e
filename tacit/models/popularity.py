"""Recommend what most customers have: the line that every personalised model must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tacit.core.values import Array, Params, Population, Schema


@dataclass(frozen=True, slots=True)
class Popularity:
    """score(u, i) = number of customers with item i, a sum over clients."""

    @property
    def serves(self) -> Literal["interactions", "tabular"]:
        """Interactions."""
        return "interactions"

    @property
    def private(self) -> tuple[str, ...]:
        """Nothing personal is learned."""
        return ()

    @property
    def ranges(self) -> dict[str, float]:
        """A client counts each of its items once."""
        return {"counts": 1.0}

    @property
    def whole(self) -> tuple[str, ...]:
        """Counts."""
        return ("counts",)

    def init(self, schema: Schema, seed: int) -> Params:
        """counts (items,) float32."""
        return {"counts": np.zeros(schema.items, np.float32)}

    def statistics(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """counts (items,) float64: customers per item."""
        counts = np.bincount(clients.fields["item"], minlength=clients.schema.items)
        return {"counts": counts.astype(np.float64)}, {}

    def solve(self, shared: Params, total: Params, clients: float) -> Params:
        """The counts as they are."""
        return {"counts": total["counts"].astype(np.float32)}

    def scores(self, shared: Params, own: Params, clients: Population) -> Array:
        """(clients, items): the same row for everybody."""
        return np.broadcast_to(shared["counts"], (len(clients), len(shared["counts"])))
