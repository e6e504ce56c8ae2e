"""Matrix factorisation: a shared item table, a private vector for each customer.

Y. Koren, R. Bell, C. Volinsky: "Matrix Factorization Techniques for Recommender Systems", IEEE Computer 42(8), 2009.
Federated with private user vectors: D. Chai et al., "Secure Federated Matrix Factorization", IEEE Intelligent Systems
2020, https://arxiv.org/abs/1906.05108. Differs from the papers: logistic loss on interactions and drawn negatives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from tacit.core.protocols import Tree
from tacit.core.values import Array, Params, Population, Schema


@dataclass(frozen=True, slots=True)
class MatrixFactorisation:
    """score(u, i) = items[i] . user[u]; shared: items (items, dim); private: user (dim,)."""

    dim: int = 32
    negatives: int = 4  # drawn per interaction from the items not in the client's training rows
    scale: float = 0.1  # standard deviation of the initial values

    def __post_init__(self) -> None:
        if self.dim < 1 or self.negatives < 0 or not self.scale > 0.0:
            raise ValueError(f"{self!r} needs dim >= 1, negatives >= 0 and scale > 0")

    @property
    def serves(self) -> Literal["interactions", "tabular"]:
        """Interactions."""
        return "interactions"

    @property
    def private(self) -> tuple[str, ...]:
        """The user vector never leaves the client."""
        return ("user",)

    @property
    def constants(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def head(self) -> tuple[str, ...]:
        """The user vector is the head."""
        return ("user",)

    @property
    def tables(self) -> Mapping[str, str]:
        """A batch touches only the items it names."""
        return {"items": "item"}

    def init(self, schema: Schema, seed: int) -> Params:
        """Normal initial values: items (items, dim) and user (dim,), float32."""
        random = np.random.default_rng(seed)
        return {
            "items": (self.scale * random.standard_normal((schema.items, self.dim))).astype(np.float32),
            "user": (self.scale * random.standard_normal(self.dim)).astype(np.float32),
        }

    def loss(self, params: Tree, batch: Tree) -> torch.Tensor:
        """(batch,) logistic loss of label in {0, 1} given item."""
        score = params["items"][batch["item"]] @ params["user"]
        return torch.nn.functional.binary_cross_entropy_with_logits(score, batch["label"], reduction="none")

    def gradients(self, params: Tree, batch: Tree, weight: torch.Tensor) -> Tree:
        """Gradient of sum_b weight[c, b] loss[c, b] for stacked clients c: user (c, dim), items as (place, values)."""
        place = batch["place"]  # row of each example's item in all clients' tables laid end to end
        items_CBD = (
            params["items"].flatten(0, 1).index_select(0, place.flatten()).unflatten(0, place.shape)
        )  # C clients, B batch, D dim
        score_CB = (items_CBD * params["user"].unsqueeze(1)).sum(-1)
        error_CB = (torch.sigmoid(score_CB) - batch["label"]) * weight
        user = torch.bmm(error_CB.unsqueeze(1), items_CBD).squeeze(1)
        each = error_CB.unsqueeze(-1) * params["user"].unsqueeze(1)
        return {"items": (place, each), "user": user}

    def scores(self, shared: Params, own: Params, clients: Population) -> Array:
        """(clients, items) float32."""
        return np.asarray(own["user"] @ shared["items"].T)
