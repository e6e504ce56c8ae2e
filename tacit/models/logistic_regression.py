"""Logistic regression on standardised columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from tacit.core.protocols import Tree
from tacit.core.triangle import pack, unpack
from tacit.core.values import Array, Params, Population, Schema
from tacit.privacy.wide import join, split


@dataclass(frozen=True, slots=True)
class LogisticRegression:
    """p(y = 1 | x) = sigmoid(weight . (x - mean) / scale + bias), with an L2 penalty on the weights."""

    l2: float = 0.0  # penalty on each example's loss: l2 / 2 * |weight|^2

    def __post_init__(self) -> None:
        if self.l2 < 0.0:
            raise ValueError(f"l2 must be at least 0, got {self.l2}")

    @property
    def serves(self) -> Literal["interactions", "tabular"]:
        """Tabular data."""
        return "tabular"

    @property
    def private(self) -> tuple[str, ...]:
        """Nothing stays local."""
        return ()

    @property
    def constants(self) -> tuple[str, ...]:
        """Column means and scales are set once, not trained."""
        return ("mean", "scale")

    @property
    def head(self) -> tuple[str, ...]:
        """The intercept: what a client may keep for itself without leaving the common direction."""
        return ("bias",)

    @property
    def tables(self) -> Mapping[str, str]:
        """None."""
        return {}

    @property
    def negatives(self) -> int:
        """Rows are examples."""
        return 0

    def init(self, schema: Schema, seed: int) -> Params:
        """weight (features,), bias (), mean (features,), scale (features,), float32."""
        zeros = np.zeros(schema.features, np.float32)
        return {"weight": zeros, "bias": np.zeros((), np.float32), "mean": zeros, "scale": np.ones_like(zeros)}

    def loss(self, params: Tree, batch: Tree) -> torch.Tensor:
        """(batch,) logistic loss of y in {0, 1} given x (batch, features)."""
        score = ((batch["x"] - params["mean"]) / params["scale"]) @ params["weight"] + params["bias"]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(score, batch["y"], reduction="none")
        return loss + 0.5 * self.l2 * torch.square(params["weight"]).sum(-1)

    def gradients(self, params: Tree, batch: Tree, weight: torch.Tensor) -> Tree:
        """Gradient of sum_b weight[c, b] loss[c, b] for stacked clients c, shaped as the stacked parameters."""
        x_CBF = (batch["x"] - params["mean"].unsqueeze(1)) / params["scale"].unsqueeze(1)
        score_CB = (x_CBF * params["weight"].unsqueeze(1)).sum(-1) + params["bias"].unsqueeze(-1)
        error_CB = (torch.sigmoid(score_CB) - batch["y"]) * weight
        slope = torch.bmm(error_CB.unsqueeze(1), x_CBF).squeeze(1)
        return {"weight": slope + self.l2 * weight.sum(1, keepdim=True) * params["weight"], "bias": error_CB.sum(1)}

    @property
    def ranges(self) -> dict[str, float]:
        """Newton sums travel as limbs, see privacy.wide."""
        return {"slope": 2.0**20, "curve": 2.0**20}

    @property
    def whole(self) -> tuple[str, ...]:
        """Limbs are whole numbers."""
        return ("slope", "curve")

    @property
    def limbs(self) -> tuple[str, ...]:
        """What clipping, noise or a median would garble: a plan with these is refused."""
        return self.whole

    def statistics(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """slope (4, features + 1) and curve (4, packed triangle): limbs of the summed loss's gradient and Hessian."""
        x, design = self._design(shared, clients)
        flat = self._flat(shared)
        p = _sigmoid(design @ flat)
        penalty = np.append(np.full(x.shape[1], self.l2 * len(x)), 0.0)  # of each row, on the weights but not the bias
        slope = design.T @ (p - clients.fields["y"]) + penalty * flat
        curve = pack((design * (p * (1.0 - p))[:, None]).T @ design + np.diag(penalty))
        return {"slope": split(slope), "curve": split(curve)}, {}

    def solve(self, shared: Params, total: Params, clients: float) -> Params:
        """One Newton step; the weights (not the bias) are drawn to 0 by `l2` per example, and by 1 altogether."""
        now = self._flat(shared)
        curve = unpack(join(total["curve"]))
        ridge = np.full(len(now), 1.0)
        ridge[-1] = 1e-6  # keeps the step defined where all labels are alike
        step = np.linalg.solve(curve + np.diag(ridge), join(total["slope"]) + ridge * now)
        moved = now - step
        weight, bias = moved[:-1].astype(np.float32), np.asarray(moved[-1], np.float32)
        return {**shared, "weight": weight, "bias": bias}

    def _flat(self, shared: Params) -> Array:
        return np.append(np.asarray(shared["weight"], np.float64), float(shared["bias"]))

    def _design(self, shared: Params, clients: Population) -> tuple[Array, Array]:
        x = (np.asarray(clients.fields["x"], np.float64) - shared["mean"]) / shared["scale"]
        return x, np.concatenate([x, np.ones((len(x), 1))], axis=1)

    def probabilities(self, shared: Params, own: Params, history: Population, rows: Population) -> Array:
        """(rows,) float32; a private bias, where an algorithm kept one, is each owner's."""
        x = (rows.fields["x"] - shared["mean"]) / shared["scale"]
        bias = own["bias"][rows.owner()] if "bias" in own else shared["bias"]
        weight = own["weight"][rows.owner()] if "weight" in own else shared["weight"]
        return np.asarray(_sigmoid(np.sum(x * weight, axis=1) + bias), np.float32)


def _sigmoid(score: Array) -> Array:
    """1 / (1 + exp(-score)), without overflow for rows far away."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -score)))
