"""The item-item model, its neighbour baseline and popularity against dense oracles on pooled rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tacit.core.triangle import pack
from tacit.core.values import Array, Params, Population
from tacit.models.item_item import ItemItem
from tacit.models.item_knn import ItemKNN
from tacit.models.popularity import Popularity

MakePopulation = Callable[..., Population]


@pytest.fixture(scope="module")
def clients(make_interactions: MakePopulation) -> Population:
    return make_interactions(seed=5, clients=60, items=20)


@pytest.fixture(scope="module")
def x(clients: Population) -> Array:
    """(clients, items) binary, float64."""
    out = np.zeros((len(clients), clients.schema.items))
    out[clients.owner(), clients.fields["item"]] = 1.0
    return out


def solved(model: Any, clients: Population) -> Params:
    """From the sum of every single customer's statistics."""
    parts = [model.statistics({}, {}, clients.take([c]))[0] for c in range(len(clients))]
    total = {name: sum(part[name] for part in parts) for name in parts[0]}
    return model.solve(model.init(clients.schema, 0), total, len(clients))  # type: ignore[no-any-return]


@pytest.mark.parametrize("model", [ItemItem(), ItemKNN()], ids=repr)
def test_the_sum_over_customers_is_the_pooled_gram_matrix(model: Any, clients: Population, x: Array) -> None:
    total = sum(model.statistics({}, {}, clients.take([c]))[0]["gram"] for c in range(len(clients)))
    np.testing.assert_array_equal(total, pack(x.T @ x))


@pytest.mark.parametrize("ridge", [0.5, 7.0, 400.0])
def test_the_weights_are_the_ridge_regression_of_each_item_on_all_others(
    ridge: float, clients: Population, x: Array
) -> None:
    """Brute force: one regression per column, the column itself left out, which is the zero diagonal."""
    weights = solved(ItemItem(ridge=ridge), clients)["weights"]
    items = x.shape[1]
    for j in range(items):
        others = np.delete(np.arange(items), j)
        a = x[:, others]
        expected = np.linalg.solve(a.T @ a + ridge * np.eye(items - 1), a.T @ x[:, j])
        np.testing.assert_allclose(weights[others, j], expected, rtol=1e-4, atol=1e-6)
        assert weights[j, j] == 0.0


@pytest.mark.parametrize("rank", [1, 3, 20])
def test_with_a_rank_the_weights_project_on_the_leading_singular_vectors(
    rank: int, clients: Population, x: Array
) -> None:
    weights = solved(ItemItem(rank=rank), clients)["weights"]
    right = np.linalg.svd(x, full_matrices=False)[2][:rank]
    np.testing.assert_allclose(weights, right.T @ right, atol=1e-5)


@pytest.mark.parametrize("neighbours", [1, 5, 50])
def test_neighbours_are_those_of_largest_cosine(neighbours: int, clients: Population, x: Array) -> None:
    weights = solved(ItemKNN(neighbours), clients)["weights"]
    size = np.linalg.norm(x, axis=0)
    for j in range(x.shape[1]):
        cosine = np.array([x[:, i] @ x[:, j] / max(size[i] * size[j], 1.0) if i != j else 0.0 for i in range(20)])
        least = np.sort(cosine)[-min(neighbours, 20)]
        np.testing.assert_allclose(weights[:, j], np.where(cosine >= least - 1e-12, cosine, 0.0), atol=1e-6)


def test_scores_are_the_sum_of_the_weights_of_a_customers_items(clients: Population, x: Array) -> None:
    for model in (ItemItem(ridge=3.0), ItemKNN(5)):
        shared = solved(model, clients)
        np.testing.assert_allclose(model.scores(shared, {}, clients), x @ shared["weights"], atol=1e-5)


def test_popularity_counts_customers(clients: Population, x: Array) -> None:
    shared = solved(Popularity(), clients)
    assert shared["counts"].tolist() == x.sum(axis=0).tolist()
    scores = Popularity().scores(shared, {}, clients)
    assert scores.shape == x.shape and np.all(scores == shared["counts"])


@pytest.mark.parametrize("wrong", [{"ridge": 0.0}, {"ridge": -1.0}, {"ridge": float("nan")}, {"rank": -1}])
def test_a_model_that_could_not_be_solved_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ridge > 0 and rank >= 0"):
        ItemItem(**wrong)


def test_no_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        ItemKNN(0)
