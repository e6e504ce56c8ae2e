"""The centralised counterpart: the same model from pooled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tacit.core.values import Population, Schema
from tacit.learning.centralised import Centralised, alone
from tacit.models.implicit_als import ImplicitALS
from tacit.models.item_knn import ItemKNN
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.multilayer_perceptron import MultilayerPerceptron


def test_models_of_sums_are_solved_from_the_pooled_sum_or_in_their_own_way(data: Any) -> None:
    clients = data["interactions"]
    total = ItemKNN().statistics({}, {}, clients)[0]
    shared, own = Centralised().fit(ItemKNN(), clients, 0)
    np.testing.assert_array_equal(shared["weights"], ItemKNN().solve({}, total, 30)["weights"])
    assert own == {}
    model = ImplicitALS(dim=3)
    one, other = Centralised(rounds=4).fit(model, clients, 0)[0], model.central(clients, 0, 4)[0]
    np.testing.assert_array_equal(one["items"], other["items"])


@pytest.mark.parametrize("model", [LogisticRegression(), MultilayerPerceptron(hidden=8)])
def test_tabular_models_learn_from_pooled_standardised_rows(model: Any) -> None:
    random = np.random.default_rng(0)
    x = (random.standard_normal((400, 3)) * [1e4, 1.0, 1e-2] + [5e4, 0.0, 1.0]).astype(np.float32)
    y = (x[:, 0] > 5e4).astype(np.float32)
    rows = Population(Schema("tabular", features=3), np.array([0, 100, 400]), {"x": x, "y": y})
    shared, own = Centralised(epochs=20, batch_size=32).fit(model, rows, 0)
    np.testing.assert_allclose(shared["mean"], x.mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(shared["scale"], x.std(axis=0, dtype=np.float64), rtol=1e-4)
    assert own == {} and np.mean((model.probabilities(shared, own, rows, rows) > 0.5) == (y > 0.5)) > 0.95


def test_interactions_are_learned_with_each_customer_s_own_private_part(data: Any) -> None:
    clients, model = data["interactions"], MatrixFactorisation(dim=4)
    shared, own = Centralised(epochs=3, batch_size=64, lr=0.05).fit(model, clients, 0)
    again, _ = Centralised(epochs=3, batch_size=64, lr=0.05).fit(model, clients, 0)
    assert own["user"].shape == (30, 4) and shared["items"].shape == (200, 4)
    np.testing.assert_array_equal(shared["items"], again["items"])
    busy = np.flatnonzero(clients.sizes)
    assert len(np.unique(own["user"][busy], axis=0)) == len(busy)
    scores = model.scores(shared, own, clients)
    liked = np.zeros(scores.shape, bool)
    liked[clients.owner(), clients.fields["item"]] = True
    assert scores[liked].mean() > scores[~liked].mean()


def test_alone_every_client_has_a_model_of_its_own_rows_only(data: Any) -> None:
    clients = data["tabular"].take([5, 6])
    one, other = alone(LogisticRegression(), clients, 0)
    np.testing.assert_allclose(one["mean"], clients.rows(0)["x"].mean(axis=0), rtol=1e-4, atol=1e-6)
    assert not np.array_equal(one["weight"], other["weight"])
