"""The loop that every trainer is tested against is itself plain SGD: compared with torch's optimiser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tacit.core.protocols import LocalWork
from tacit.core.values import Population
from tacit.learning.examples import examples
from tacit.learning.fedavg import FedAvg
from tacit.learning.fedprox import FedProx
from tacit.learning.local_sgd import LocalSGD
from tacit.learning.sgd import SGD
from tacit.learning.trainers.loop import Loop
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.multilayer_perceptron import MultilayerPerceptron

LOCAL = SGD(lr=0.2, epochs=2, batch_size=4)


def by_torch(work: LocalSGD, shared: Any, own: Any, clients: Population, client: int, seed: int) -> dict[str, Any]:
    """Parameters after the same batches with torch.optim.SGD."""
    params = {name: torch.tensor(value) for name, value in {**shared, **own}.items()}
    trained = [params[name].requires_grad_() for name in params if name not in work.model.constants]
    optimiser = torch.optim.SGD(trained, lr=work.lr)
    for epoch in range(work.epochs):
        drawn = examples(work, clients.rows(client), clients.schema, seed, clients.first + client, epoch)
        for start in range(0, len(next(iter(drawn.values()))), work.batch_size):
            part = {name: torch.from_numpy(value[start : start + work.batch_size]) for name, value in drawn.items()}
            if "item" in part:
                part["item"] = part["item"].long()
            optimiser.zero_grad()
            loss = work.model.loss(params, part).mean()
            for name, value in shared.items():
                if work.prox and name not in work.model.constants:
                    loss = loss + work.prox / 2 * torch.square(params[name] - torch.tensor(value)).sum()
            loss.backward()
            optimiser.step()
    return {name: value.detach().numpy() for name, value in params.items()}


@pytest.mark.parametrize("model", [MatrixFactorisation(dim=4), MultilayerPerceptron(5), LogisticRegression(l2=0.2)])
@pytest.mark.parametrize("algorithm", [FedAvg(LOCAL), FedProx(LOCAL, mu=0.7), FedAvg(LOCAL, weighting="rows")])
def test_a_clients_contribution_is_what_torch_s_own_optimiser_moves(
    model: Any, algorithm: Any, data: Any, own_of: Any
) -> None:
    clients, client, seed = data[model.serves], 5, 9
    shared, own = algorithm.init(model, clients.schema, 0).shared, own_of(algorithm, model, clients)
    work = algorithm.work(model, 1)
    assert isinstance(work, LocalWork)
    expected = by_torch(work, shared, {name: value[client] for name, value in own.items()}, clients, client, seed)
    total = Loop().total(work, shared, own, clients, np.array([client]), seed, None)
    rows = float(clients.sizes[client] * (1 + model.negatives)) if algorithm.weighting == "rows" else 1.0
    for name, value in shared.items():
        if name in model.constants:
            assert name not in total
        else:
            np.testing.assert_allclose(total[name], rows * (expected[name] - value), rtol=1e-4, atol=1e-6 * rows)
    for name, value in own.items():
        np.testing.assert_allclose(value[client], expected[name], rtol=1e-5, atol=1e-7)
    assert ("#rows" in total) == (algorithm.weighting == "rows")
    if algorithm.weighting == "rows":
        assert float(total["#rows"]) == rows


def test_a_batch_of_padding_changes_nothing() -> None:
    work = FedProx(LOCAL, mu=0.3).work(LogisticRegression(l2=0.5), 1)
    assert isinstance(work, LocalWork)
    shared = {"weight": torch.tensor([1.0, 2.0]), "bias": torch.tensor(0.5)}
    shared |= {"mean": torch.zeros(2), "scale": torch.ones(2)}
    carry = work.start(shared, {})
    carry["anchor"] = {name: value + 1.0 for name, value in shared.items()}
    batch = {"x": torch.ones(3, 2), "y": torch.ones(3), "mask": torch.zeros(3), "epoch": torch.tensor(0.0)}
    after = work.step(carry, batch)
    assert all(torch.equal(after["params"][name], shared[name]) for name in shared)
