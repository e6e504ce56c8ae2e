"""Stochastic gradient descent on one client, cut into start, step and finish."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tacit.core.protocols import Carry, LossModel, Tree

ROWS = "#rows"  # the name under which a client's weight rides inside its contribution


@dataclass(frozen=True, slots=True)
class LocalSGD:
    """Plain SGD on the mean loss of each batch; contributes delta = local - global of what is shared.

    A batch carries "mask" (batch,), 1 for real rows and 0 for padding, and "epoch" (), counted from 0. A batch without
    real rows changes nothing.
    """

    model: LossModel
    private: tuple[str, ...]  # names that stay local
    lr: float = 0.1
    epochs: int = 1
    batch_size: int = 32
    shuffle: bool = True
    prox: float = 0.0  # mu / 2 * |shared - global|^2 is added to the loss
    head_epochs: int = 0  # > 0: so many epochs train private parameters only, the remaining ones shared ones only
    weighting: str = "uniform"  # "rows": the contribution is multiplied by the client's rows, which ride along

    def start(self, shared: Tree, own: Tree) -> Carry:
        """Local parameters begin at the broadcast ones."""
        return {"params": {**shared, **own}, "anchor": dict(shared), "count": {"rows": torch.zeros(())}}

    def step(self, carry: Carry, batch: Tree) -> Carry:
        """One SGD step on one batch."""
        mask = batch["mask"]
        real = mask.sum(-1)

        def objective(trained: Tree) -> torch.Tensor:
            losses = self.model.loss({**carry["params"], **trained}, batch)
            mean: torch.Tensor = (losses * mask).sum(-1) / torch.clamp(real, min=1.0)
            return mean

        fixed = self.model.constants
        trained = {name: value for name, value in carry["params"].items() if name not in fixed}
        return self.move(carry, batch, torch.func.grad(objective)(trained))

    def move(self, carry: Carry, batch: Tree, gradients: Tree) -> Carry:
        """Apply the gradient of the mean loss of one batch; also for stacked clients.

        A table's gradient may be given as (index, values), both (clients, batch, dim): the table then changes in place.
        """
        real = batch["mask"].sum(-1)
        alive = (real > 0).to(torch.float32)
        params, anchor, count = dict(carry["params"]), carry["anchor"], carry["count"]
        for name, gradient in gradients.items():
            value = params[name]
            rate = self.lr * alive
            if self.head_epochs:
                head = (batch["epoch"] < self.head_epochs).to(torch.float32)
                rate = rate * (head if name in self.private else 1.0 - head)
            if self.prox and name not in self.private:
                value = value - _beside(self.prox * rate, value) * (value - anchor[name])
            if isinstance(gradient, tuple):
                index, each = gradient
                params[name] = value.scatter_add_(1, index, -_beside(rate, each) * each)
            else:
                params[name] = value - _beside(rate, value) * gradient
        return {"params": params, "anchor": anchor, "count": {"rows": count["rows"] + real}}

    def finish(self, shared: Tree, carry: Carry) -> tuple[Tree, Tree]:
        """(delta of the shared parameters, private parameters); under weighting "rows" also `#rows`."""
        fixed = self.model.constants
        params = carry["params"]
        delta = {name: params[name] - value for name, value in shared.items() if name not in fixed}
        own = {name: params[name] for name in self.private}
        if self.weighting == "rows":
            rows = carry["count"]["rows"] / self.epochs
            delta = {name: value * _beside(rows, value) for name, value in delta.items()}
            delta[ROWS] = rows
        return delta, own


def _beside(factor: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """One factor per client, shaped to multiply that client's array."""
    return factor.reshape(factor.shape + (1,) * (value.ndim - factor.ndim))
