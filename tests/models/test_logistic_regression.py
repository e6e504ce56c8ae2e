"""Logistic regression by summed Newton steps: the derivatives of its own loss, and the optimum that L-BFGS finds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tacit.core.triangle import unpack
from tacit.core.values import Array, Params, Population, Schema
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.multilayer_perceptron import MultilayerPerceptron
from tacit.privacy.wide import join

MakePopulation = Callable[..., Population]
MODELS = pytest.mark.parametrize("model", [LogisticRegression(), LogisticRegression(l2=0.05)], ids=repr)


@pytest.fixture(scope="module")
def clients(make_tabular: MakePopulation) -> Population:
    return make_tabular(seed=4, clients=30)


def somewhere(clients: Population) -> Params:
    """Parameters away from the start, with a mean and scale that are not 0 and 1."""
    random, count = np.random.default_rng(1), clients.schema.features
    return {
        "weight": random.standard_normal(count).astype(np.float32),
        "bias": np.asarray(0.3, np.float32),
        "mean": random.standard_normal(count).astype(np.float32),
        "scale": (0.5 + random.random(count)).astype(np.float32),
    }


def loss(model: LogisticRegression, shared: Params, flat: Array, clients: Population) -> float:
    """Summed loss of all rows at weights and bias `flat`, float64, by the model's own loss."""
    params = {name: torch.tensor(np.asarray(value, np.float64)) for name, value in shared.items()}
    params |= {"weight": torch.tensor(flat[:-1]), "bias": torch.tensor(flat[-1])}
    batch = {name: torch.tensor(np.asarray(clients.fields[name], np.float64)) for name in ("x", "y")}
    return float(model.loss(params, batch).sum())


@MODELS
def test_the_statistics_are_the_first_and_second_derivatives_of_the_loss(
    model: LogisticRegression, clients: Population
) -> None:
    """Central differences of the summed loss, penalty included."""
    shared = somewhere(clients)
    flat = np.append(np.asarray(shared["weight"], np.float64), float(shared["bias"]))
    total = model.statistics(shared, {}, clients)[0]
    slope, curve = join(total["slope"]), unpack(join(total["curve"]))
    unit, step = np.eye(len(flat)), 1e-4

    def at(*moves: Array) -> float:
        return loss(model, shared, flat + step * sum(moves), clients)

    for a in range(len(flat)):
        assert slope[a] == pytest.approx((at(unit[a]) - at(-unit[a])) / (2 * step), rel=1e-5, abs=1e-4)
        for b in range(len(flat)):
            mixed = at(unit[a], unit[b]) - at(unit[a], -unit[b]) - at(-unit[a], unit[b]) + at(-unit[a], -unit[b])
            assert curve[a, b] == pytest.approx(mixed / (4 * step**2), rel=1e-4, abs=1e-3)


@MODELS
def test_a_few_rounds_find_the_optimum_that_lbfgs_finds_on_pooled_rows(
    model: LogisticRegression, clients: Population
) -> None:
    """The server's own ridge of 1 on all weights together (1e-6 on the bias) is part of the pooled objective."""
    shared: Params = model.init(clients.schema, 0)
    for _ in range(8):
        parts = [model.statistics(shared, {}, clients.take([c]))[0] for c in range(len(clients))]
        total = {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}
        shared = model.solve(shared, total, len(clients))
    params = {name: torch.tensor(np.asarray(value, np.float64)) for name, value in shared.items()}
    weight, bias = (torch.zeros_like(params[name], requires_grad=True) for name in ("weight", "bias"))
    batch = {name: torch.tensor(np.asarray(clients.fields[name], np.float64)) for name in ("x", "y")}
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = model.loss({**params, "weight": weight, "bias": bias}, batch).sum()
        value = value + 0.5 * torch.square(weight).sum() + 0.5e-6 * bias**2
        value.backward()
        return value  # type: ignore[no-any-return]

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(shared["weight"], weight.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(shared["bias"], bias.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_penalty_draws_the_weights_towards_zero_also_when_solved_from_sums(clients: Population) -> None:
    sizes = []
    for l2 in (0.0, 0.1, 10.0):
        model, algorithm = LogisticRegression(l2=l2), SumOfStatistics()
        state = algorithm.init(model, clients.schema, 0)
        for _ in range(6):
            total = model.statistics(state.shared, {}, clients)[0]
            state = algorithm.update(state, model, total, len(clients), 1)
        sizes.append(float(np.linalg.norm(state.shared["weight"])))
    assert sizes[0] > 1.2 * sizes[1] > 2.0 * sizes[2]


@pytest.mark.parametrize("labels", ["separable", "all alike"])
def test_labels_that_a_plane_separates_or_that_are_all_alike_leave_finite_weights(
    labels: str, clients: Population
) -> None:
    y = (clients.fields["x"][:, 0] > 0.0) if labels == "separable" else np.ones(len(clients.fields["y"]))
    data = Population(clients.schema, clients.offsets, {**clients.fields, "y": y.astype(np.float32)})
    model = LogisticRegression()
    shared: Params = model.init(data.schema, 0)
    for _ in range(15):
        shared = model.solve(shared, model.statistics(shared, {}, data)[0], len(data))
    assert all(np.all(np.isfinite(value)) for value in shared.values())
    right = (model.probabilities(shared, {}, data, data) > 0.5) == (y > 0.5)
    assert np.mean(right) > 0.97


@pytest.mark.parametrize("kind", [LogisticRegression, MultilayerPerceptron])
@pytest.mark.parametrize("private", [False, True])
def test_probabilities_stay_numbers_however_far_a_row_is(kind: type, private: bool) -> None:
    """Scores of +-10^6: probabilities 0 and 1, and no overflow below them."""
    model, schema = kind(), Schema("tabular", features=2)
    shared = dict(model.init(schema, 0))
    if kind is LogisticRegression:
        shared["weight"] = np.array([1.0, 0.0], np.float32)
    x = np.array([[1e6, 0.0], [-1e6, 0.0], [0.0, 1e6], [0.0, -1e6], [0.0, 0.0]], np.float32)
    rows = Population(schema, np.array([0, 3, 5]), {"x": x, "y": np.zeros(5, np.float32)})
    own = {name: np.stack([shared[name], shared[name]]) for name in model.head} if private else {}
    found = model.probabilities({n: v for n, v in shared.items() if n not in own}, own, rows, rows)
    assert np.all((found >= 0.0) & (found <= 1.0)) and found[4] == pytest.approx(0.5)
    if kind is LogisticRegression:
        assert found[0] == pytest.approx(1.0) and found[1] == pytest.approx(0.0)
        if not private:
            assert all(np.all(np.isfinite(value)) for value in model.statistics(shared, {}, rows)[0].values())


@pytest.mark.parametrize("kind", [LogisticRegression, MultilayerPerceptron])
def test_probabilities_are_the_sigmoid_of_what_the_loss_uses(kind: type, clients: Population) -> None:
    """-log p(y) is the model's own loss without penalty; a private head is each owner's."""
    model = kind()
    random = np.random.default_rng(0)
    init = {n: random.standard_normal(v.shape).astype(np.float32) for n, v in model.init(clients.schema, 0).items()}
    init["scale"] = np.abs(init["scale"]) + np.float32(0.5)
    own = {name: random.standard_normal((len(clients), *init[name].shape)).astype(np.float32) for name in model.head}
    shared = {name: value for name, value in init.items() if name not in own}
    found = model.probabilities(shared, own, clients, clients)
    for c in range(len(clients)):
        low, high = int(clients.offsets[c]), int(clients.offsets[c + 1])
        params = {name: torch.tensor(own[name][c] if name in own else init[name]) for name in init}
        batch = {name: torch.tensor(value) for name, value in clients.rows(c).items()}
        p, y = found[low:high], clients.rows(c)["y"]
        losses = -np.log(np.where(y > 0.5, p, 1.0 - p) + 1e-30)
        certain = losses < 10.0  # beyond, 1 - p has no digits left in float32
        np.testing.assert_allclose(losses[certain], model.loss(params, batch).numpy()[certain], rtol=2e-3, atol=1e-4)
