"""Neural collaborative filtering with a private score head: item embeddings are shared, each client owns its network.

X. He et al.: "Neural Collaborative Filtering", WWW 2017, https://arxiv.org/abs/1708.05031; the private score function
is that of C. Zhang et al.: "Dual Personalization on Federated Recommendation", IJCAI 2023,
https://arxiv.org/abs/2301.08143. Differs from the papers: no user embedding (the private network stands for it), the
shared table is not fine-tuned locally after the round, and training negatives exclude only the client's training rows
(docs/leak.md).
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
class NeuralCollaborativeFiltering:
    """score(u, i) = w2_u . relu(items[i] w1_u + b1_u) + b2_u; shared: items (items, dim); private: w1, b1, w2, b2."""

    dim: int = 32
    hidden: int = 32
    negatives: int = 4
    scale: float = 0.1  # standard deviation of the initial item embeddings

    def __post_init__(self) -> None:
        if self.dim < 1 or self.hidden < 1 or self.negatives < 0 or not self.scale > 0.0:
            raise ValueError(f"{self!r} needs dim, hidden >= 1, negatives >= 0 and scale > 0")

    @property
    def serves(self) -> Literal["interactions", "tabular"]:
        """Interactions."""
        return "interactions"

    @property
    def private(self) -> tuple[str, ...]:
        """The score head never leaves the client."""
        return ("b1", "b2", "w1", "w2")

    @property
    def constants(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def head(self) -> tuple[str, ...]:
        """The score network."""
        return self.private

    @property
    def tables(self) -> Mapping[str, str]:
        """A batch touches only the items it names."""
        return {"items": "item"}

    def init(self, schema: Schema, seed: int) -> Params:
        """items (items, dim), w1 (dim, hidden), b1 (hidden,), w2 (hidden,), b2 (), float32; He initial weights."""
        random = np.random.default_rng(seed)
        return {
            "items": (self.scale * random.standard_normal((schema.items, self.dim))).astype(np.float32),
            "w1": (random.standard_normal((self.dim, self.hidden)) * np.sqrt(2.0 / self.dim)).astype(np.float32),
            "b1": np.zeros(self.hidden, np.float32),
            "w2": (random.standard_normal(self.hidden) * np.sqrt(2.0 / self.hidden)).astype(np.float32),
            "b2": np.zeros((), np.float32),
        }

    def loss(self, params: Tree, batch: Tree) -> torch.Tensor:
        """(batch,) logistic loss of label in {0, 1} given item."""
        hidden = torch.relu(params["items"][batch["item"]] @ params["w1"] + params["b1"])
        score = hidden @ params["w2"] + params["b2"]
        return torch.nn.functional.binary_cross_entropy_with_logits(score, batch["label"], reduction="none")

    def gradients(self, params: Tree, batch: Tree, weight: torch.Tensor) -> Tree:
        """Gradient of sum_b weight[c, b] loss[c, b] for stacked clients c; items as (place, values)."""
        place = batch["place"]  # row of each example's item in all clients' tables laid end to end
        items_CBD = (
            params["items"].flatten(0, 1).index_select(0, place.flatten()).unflatten(0, place.shape)
        )  # C clients, B batch, D dim
        hidden_CBH = torch.baddbmm(params["b1"].unsqueeze(1), items_CBD, params["w1"]).relu_()
        score_CB = (hidden_CBH * params["w2"].unsqueeze(1)).sum(-1) + params["b2"].unsqueeze(-1)
        error_CB = (torch.sigmoid(score_CB) - batch["label"]) * weight
        w2 = torch.bmm(error_CB.unsqueeze(1), hidden_CBH).squeeze(1)
        back_CBH = error_CB.unsqueeze(-1) * params["w2"].unsqueeze(1)
        back_CBH = torch.ops.aten.threshold_backward(back_CBH, hidden_CBH, 0)  # 0 where the unit was silent
        each = torch.bmm(back_CBH, params["w1"].transpose(1, 2))
        return {
            "items": (place, each),
            "w1": torch.bmm(items_CBD.transpose(1, 2), back_CBH),
            "b1": back_CBH.sum(1),
            "w2": w2,
            "b2": error_CB.sum(1),
        }

    def scores(self, shared: Params, own: Params, clients: Population) -> Array:
        """(clients, items) float32."""
        out = np.empty((len(clients), len(shared["items"])), np.float32)
        for c in range(len(clients)):
            hidden = np.maximum(shared["items"] @ own["w1"][c] + own["b1"][c], 0.0)
            out[c] = hidden @ own["w2"][c] + own["b2"][c]
        return out
