"""The centralised counterpart: the same model learned from all rows in one place, which federation wants to do without.

Closed-form models are computed from the pooled rows directly; models with a loss are trained on pooled, shuffled
batches by Adam (D. P. Kingma, J. Ba, ICLR 2015, https://arxiv.org/abs/1412.6980), each example with its client's own
private parameters; logistic regression by L-BFGS to convergence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tacit.core.protocols import LossModel, Model, StatisticsModel, Tree
from tacit.core.trees import seed_of
from tacit.core.values import Array, Params, Population
from tacit.learning.examples import examples
from tacit.learning.local_sgd import LocalSGD


@dataclass(frozen=True, slots=True)
class Centralised:
    """Settings of pooled training."""

    epochs: int = 30
    batch_size: int = 1024
    lr: float = 0.01
    rounds: int = 1  # of models that are solved from sums: alternating ones need several

    def fit(self, model: Model, train: Population, seed: int) -> tuple[Params, Params]:
        """(shared, private stacked over clients) parameters learned from all rows together."""
        if train.schema.kind == "tabular" and isinstance(model, LossModel):
            return self._rows(model, train, seed), {}
        if isinstance(model, StatisticsModel):
            return self._solve(model, train, seed)
        assert isinstance(model, LossModel)
        return self._interactions(model, train, seed)

    def _solve(self, model: StatisticsModel, train: Population, seed: int) -> tuple[Params, Params]:
        if hasattr(model, "central"):
            solved: tuple[Params, Params] = model.central(train, seed, self.rounds)
            return solved
        init = model.init(train.schema, seed)
        shared: Params = {name: value for name, value in init.items() if name not in model.private}
        own: Params = {name: np.repeat(init[name][None], len(train), axis=0) for name in model.private}
        for _ in range(self.rounds):
            total, own = model.statistics(shared, own, train)
            shared = model.solve(shared, total, len(train))
        return shared, own

    def _rows(self, model: LossModel, train: Population, seed: int) -> Params:
        x = np.asarray(train.fields["x"], np.float64)
        scale = x.std(axis=0)
        constants = {"mean": x.mean(axis=0), "scale": np.where(scale > 1e-6, scale, 1.0)}
        init = {**model.init(train.schema, seed), **constants}
        params = {name: torch.tensor(np.asarray(value, np.float32)) for name, value in init.items()}
        trained = [params[name].requires_grad_() for name in params if name not in model.constants]
        batch = {name: torch.from_numpy(np.ascontiguousarray(train.fields[name])) for name in ("x", "y")}
        if len(trained) == 2:  # a convex model: to convergence on the whole
            optimiser: Any = torch.optim.LBFGS(trained, max_iter=200, line_search_fn="strong_wolfe")

            def closure() -> torch.Tensor:
                optimiser.zero_grad()
                loss = model.loss(params, batch).mean()
                loss.backward()
                return torch.as_tensor(loss)

            optimiser.step(closure)
        else:
            optimiser = torch.optim.Adam(trained, lr=self.lr)
            random = np.random.default_rng(seed)
            size = min(self.batch_size, 256)
            for _ in range(self.epochs):
                for index in np.array_split(random.permutation(len(x)), max(len(x) // size, 1)):
                    optimiser.zero_grad()
                    model.loss(params, {name: values[index] for name, values in batch.items()}).mean().backward()
                    optimiser.step()
        return {name: value.detach().numpy() for name, value in params.items()}

    def _interactions(self, model: LossModel, train: Population, seed: int) -> tuple[Params, Params]:
        init = {name: np.asarray(value) for name, value in model.init(train.schema, seed).items()}
        shared = {name: torch.tensor(value) for name, value in init.items() if name not in model.private}
        own = {name: torch.tensor(np.repeat(init[name][None], len(train), axis=0)) for name in model.private}
        parameters = [value.requires_grad_() for value in (*shared.values(), *own.values())]
        optimiser = torch.optim.Adam(parameters, lr=self.lr)
        random = np.random.default_rng(seed)
        loss = torch.vmap(lambda mine, example: _one(model, shared, mine, example))
        draw = LocalSGD(model, model.private)
        for epoch in range(self.epochs):
            item, label, client = _pooled(draw, train, seed, epoch)
            for index in np.array_split(random.permutation(len(item)), max(len(item) // self.batch_size, 1)):
                who = torch.from_numpy(client[index])
                mine = {name: value[who] for name, value in own.items()}
                example = {"item": torch.from_numpy(item[index]), "label": torch.from_numpy(label[index])}
                optimiser.zero_grad()
                loss(mine, example).mean().backward()
                optimiser.step()
        done = [{name: value.detach().numpy() for name, value in tree.items()} for tree in (shared, own)]
        return done[0], done[1]


def _one(model: LossModel, shared: Tree, mine: Tree, example: Tree) -> Any:
    batch = {name: value.unsqueeze(0) for name, value in example.items()}
    return model.loss({**shared, **mine}, batch)[0]


def _pooled(work: LocalSGD, train: Population, seed: int, epoch: int) -> tuple[Array, Array, Array]:
    parts = [examples(work, train.rows(c), train.schema, seed_of("pooled", seed), c, epoch) for c in range(len(train))]
    owner = np.repeat(np.arange(len(train)), [len(part["item"]) for part in parts])
    item = np.concatenate([part["item"] for part in parts]).astype(np.int64)
    return item, np.concatenate([part["label"] for part in parts]), owner


def alone(model: LossModel, train: Population, seed: int) -> list[Params]:
    """Every client's model of its own rows only: what it has without the others."""
    settings = replace(Centralised(), epochs=60)
    return [settings.fit(model, train.take([c]), seed)[0] for c in range(len(train))]
