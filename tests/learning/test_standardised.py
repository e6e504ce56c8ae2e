"""Federated means and deviations are those of pooled rows, whatever a column's scale and whoever holds the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tacit.core.values import Array, Population, Schema, State
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.learning.standardised import ColumnMoments, Standardised
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.learning.trainers.stacked import Stacked
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.multilayer_perceptron import MultilayerPerceptron


def population(x: Array, clients: int) -> Population:
    """Rows cut into clients of about equal size."""
    offsets = np.linspace(0, len(x), clients + 1).astype(np.int64)
    y = (x[:, 0] > np.median(x[:, 0])).astype(np.float32)
    return Population(Schema("tabular", features=x.shape[1]), offsets, {"x": x.astype(np.float32), "y": y})


def moments(clients: Population, model: Any = None) -> State:
    """The state after the first round, each client's sums added."""
    model = model or LogisticRegression()
    algorithm = Standardised()
    state = algorithm.init(model, clients.schema, 0)
    parts = [ColumnMoments().sums(state.shared, {}, clients.take([c]))[0] for c in range(len(clients))]
    total = {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}
    return algorithm.update(state, model, total, len(clients), 1)


@pytest.mark.parametrize("clients", [1, 4, 50])
def test_mean_and_deviation_are_those_of_pooled_rows_at_every_scale(clients: int) -> None:
    """Columns of scale 1e6, 1, 1e-3, one far from zero, one of counts and one of flags."""
    random = np.random.default_rng(0)
    columns = [
        1e6 * random.standard_normal(600), random.standard_normal(600), 1e-3 * random.standard_normal(600),
        1990.0 + 10.0 * random.standard_normal(600), random.poisson(3.0, 600), random.random(600) < 0.1,
    ]  # fmt: skip
    whole = population(np.stack(columns, axis=1), clients)
    x = np.asarray(whole.fields["x"], np.float64)
    shared = moments(whole).shared
    np.testing.assert_allclose(shared["mean"], x.mean(axis=0), rtol=1e-6, atol=1e-8)
    # squares carry 24 binary digits behind the point, so a column of scale 1e-3 keeps three digits
    close = [1e-6, 1e-6, 1e-3, 1e-6, 1e-6, 1e-6]
    assert np.all(np.abs(shared["scale"] / x.std(axis=0) - 1.0) <= close)


def test_a_constant_column_keeps_scale_one() -> None:
    x = np.stack([np.full(30, 7.0), np.zeros(30), np.arange(30.0)], axis=1)
    shared = moments(population(x, 5)).shared
    assert shared["scale"][:2].tolist() == [1.0, 1.0] and shared["mean"].tolist() == [7.0, 0.0, 14.5]


def test_the_split_over_clients_does_not_matter() -> None:
    x = np.random.default_rng(1).standard_normal((200, 3)) * [1e4, 1.0, 0.1]
    one, other = moments(population(x, 2)).shared, moments(population(x, 40)).shared
    for name in ("mean", "scale"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6)


def test_the_first_round_touches_mean_and_scale_only_and_later_rounds_belong_to_the_inner_algorithm() -> None:
    clients = population(np.random.default_rng(2).standard_normal((60, 3)) * 50.0, 6)
    model = MultilayerPerceptron(hidden=4)
    algorithm = Standardised(FedAvg(SGD(lr=0.1)))
    start, state = algorithm.init(model, clients.schema, 0), moments(clients, model)
    assert all(np.array_equal(state.shared[n], v) for n, v in start.shared.items() if n not in ("mean", "scale"))
    inner = algorithm.inner
    assert algorithm.work(model, 2) == inner.work(model, 1)
    total = Stacked().total(algorithm.work(model, 2), state.shared, {}, clients, np.arange(6), 1, None)
    one, other = algorithm.update(state, model, total, 6, 2), inner.update(state, model, total, 6, 1)
    assert all(np.array_equal(one.shared[name], value) for name, value in other.shared.items())
    assert np.array_equal(one.shared["mean"], state.shared["mean"])


def test_wild_columns_are_learned_once_they_are_standardised() -> None:
    """Five summed Newton steps on columns of scale 1e5 and 1e-3 separate what one column decides."""
    x = np.random.default_rng(3).standard_normal((400, 2)) * [1e5, 1e-3]
    clients, model, algorithm = population(x, 8), LogisticRegression(), Standardised(SumOfStatistics())
    state = algorithm.init(model, clients.schema, 0)
    for number in range(1, 7):
        total = Stacked().total(algorithm.work(model, number), state.shared, {}, clients, np.arange(8), 1, None)
        state = algorithm.update(state, model, total, 8, number)
    right = (model.probabilities(state.shared, {}, clients, clients) > 0.5) == (clients.fields["y"] > 0.5)
    assert np.mean(right) > 0.97
