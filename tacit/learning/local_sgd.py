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
        gradients = torch.func.grad(objective)(trained)
        params, anchor = dict(carry["params"]), carry["anchor"]
        for name, gradient in gradients.items():
            if self.prox and name not in self.private:
                gradient = gradient + self.prox * (params[name] - anchor[name])
            params[name] = params[name] - self._rate(name, batch) * gradient
        return {"params": params, "anchor": anchor, "count": {"rows": carry["count"]["rows"] + real}}

    def step_stacked(self, params: Tree, anchor: Tree, batch: Tree, gradients: Tree) -> None:
        """One step for stacked clients, in place, from gradients of each client's mean loss; see HasGradients.

        Every client must have a real row in its batch.
        """
        for name, gradient in gradients.items():
            value = params[name]
            change = gradient[1] if isinstance(gradient, tuple) else gradient
            if self.head_epochs:  # clients of a block may be in different epochs
                change = change * _beside(self._phase(name, batch), change)
            if self.prox and name not in self.private:
                pull = self.prox * (value - anchor[name])
                value.sub_(pull * _beside(self._phase(name, batch), pull), alpha=self.lr)
            if isinstance(gradient, tuple):
                step = (change * -self.lr).flatten(0, 1)  # scaled here: index_add_ with alpha is far slower
                value.flatten(0, 1).index_add_(0, gradient[0].flatten(), step)
            else:
                value.sub_(change, alpha=self.lr)

    def _phase(self, name: str, batch: Tree) -> torch.Tensor:
        """1 where the epoch trains this parameter, else 0."""
        if not self.head_epochs:
            return torch.ones_like(batch["epoch"])
        head: torch.Tensor = (batch["epoch"] < self.head_epochs).to(torch.float32)
        return head if name in self.private else 1.0 - head

    def _rate(self, name: str, batch: Tree) -> torch.Tensor:
        """Step size: 0 where a batch has no real row, or where the phase trains the other parameters."""
        rate: torch.Tensor = self.lr * self._phase(name, batch) * (batch["mask"].sum(-1) > 0).to(torch.float32)
        return rate

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
