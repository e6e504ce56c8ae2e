"""A network with one hidden layer on standardised columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from tacit.core.protocols import Tree
from tacit.core.values import Array, Params, Population, Schema


@dataclass(frozen=True, slots=True)
class MultilayerPerceptron:
    """p(y = 1 | x) = sigmoid(w2 . relu((x - mean) / scale . w1 + b1) + b2)."""

    hidden: int = 64

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {self.hidden}")

    @property
    def serves(self) -> Literal["interactions", "tabular"]:
        """Tabular data."""
        return "tabular"

    @property
    def private(self) -> tuple[str, ...]:
        """Nothing stays local, unless an algorithm says so."""
        return ()

    @property
    def constants(self) -> tuple[str, ...]:
        """Column means and scales are set once, not trained."""
        return ("mean", "scale")

    @property
    def head(self) -> tuple[str, ...]:
        """The last layer."""
        return ("b2", "w2")

    @property
    def tables(self) -> Mapping[str, str]:
        """None."""
        return {}

    @property
    def negatives(self) -> int:
        """Rows are examples."""
        return 0

    def init(self, schema: Schema, seed: int) -> Params:
        """w1 (features, hidden), b1 (hidden,), w2 (hidden,), b2 (), mean and scale (features,), float32."""
        random = np.random.default_rng(seed)
        fan = max(schema.features, 1)
        return {
            "w1": (random.standard_normal((schema.features, self.hidden)) * np.sqrt(2.0 / fan)).astype(np.float32),
            "b1": np.zeros(self.hidden, np.float32),
            "w2": (random.standard_normal(self.hidden) * np.sqrt(2.0 / self.hidden)).astype(np.float32),
            "b2": np.zeros((), np.float32),
            "mean": np.zeros(schema.features, np.float32),
            "scale": np.ones(schema.features, np.float32),
        }

    def loss(self, params: Tree, batch: Tree) -> torch.Tensor:
        """(batch,) logistic loss of y in {0, 1} given x (batch, features)."""
        x = (batch["x"] - params["mean"]) / params["scale"]
        score = torch.relu(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]
        return torch.nn.functional.binary_cross_entropy_with_logits(score, batch["y"], reduction="none")

    def gradients(self, params: Tree, batch: Tree, weight: torch.Tensor) -> Tree:
        """Gradient of sum_b weight[c, b] loss[c, b] for stacked clients c, shaped as the stacked parameters."""
        x_CBF = (batch["x"] - params["mean"].unsqueeze(1)) / params["scale"].unsqueeze(1)
        hidden_CBH = torch.baddbmm(params["b1"].unsqueeze(1), x_CBF, params["w1"]).relu_()
        score_CB = (hidden_CBH * params["w2"].unsqueeze(1)).sum(-1) + params["b2"].unsqueeze(-1)  # 4x faster than bmm
        error_CB = (torch.sigmoid(score_CB) - batch["y"]) * weight
        back_CBH = error_CB.unsqueeze(-1) * params["w2"].unsqueeze(1)
        back_CBH = torch.ops.aten.threshold_backward(back_CBH, hidden_CBH, 0)  # 0 where the unit was silent
        return {
            "w1": torch.bmm(x_CBF.transpose(1, 2), back_CBH),
            "b1": back_CBH.sum(1),
            "w2": torch.bmm(error_CB.unsqueeze(1), hidden_CBH).squeeze(1),
            "b2": error_CB.sum(1),
        }

    def probabilities(self, shared: Params, own: Params, history: Population, rows: Population) -> Array:
        """(rows,) float32; a private head, where an algorithm kept one, is each owner's."""
        x = (rows.fields["x"] - shared["mean"]) / shared["scale"]
        out = np.empty(len(x), np.float32)
        for c in range(len(rows)):
            mine = slice(int(rows.offsets[c]), int(rows.offsets[c + 1]))
            part = {name: own[name][c] if name in own else shared[name] for name in ("w1", "b1", "w2", "b2")}
            score = np.maximum(x[mine] @ part["w1"] + part["b1"], 0.0) @ part["w2"] + part["b2"]
            out[mine] = np.exp(-np.logaddexp(0.0, -score))  # the sigmoid, without overflow
        return out
