"""Federated implicit ALS: the objective of the papers, its fixed point that of exact alternating least squares."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tacit.core.values import Array, Params, Population, Schema
from tacit.models.implicit_als import ImplicitALS

MakePopulation = Callable[..., Population]
MODEL = ImplicitALS(dim=3, alpha0=0.2, reg=0.02)


@pytest.fixture(scope="module")
def clients(make_interactions: MakePopulation) -> Population:
    return make_interactions(seed=2, clients=50, items=18, empty=False)


@pytest.fixture(scope="module")
def tastes() -> Population:
    """Three groups of customers, each with its own third of the items: directions that converge quickly."""
    random = np.random.default_rng(0)
    histories = [np.flatnonzero(random.random(24) < np.where(np.arange(24) % 3 == u % 3, 0.7, 0.08)) for u in range(60)]
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    return Population(Schema("interactions", items=24), offsets, {"item": np.concatenate(histories).astype(np.int32)})


def binary(clients: Population) -> Array:
    x = np.zeros((len(clients), clients.schema.items))
    x[clients.owner(), clients.fields["item"]] = 1.0
    return x


def best_users(model: ImplicitALS, items: Array, clients: Population) -> Array:
    """(clients, dim): each customer's own dense least squares."""
    x, out = binary(clients), []
    for u in range(len(clients)):
        weight = x[u] + model.alpha0
        ridge = model.reg * (x[u].sum() + model.alpha0 * len(items))
        a = (items * weight[:, None]).T @ items + ridge * np.eye(model.dim)
        out.append(np.linalg.solve(a, items.T @ x[u]))
    return np.array(out)


def objective(model: ImplicitALS, items: Array, users: Array, clients: Population) -> float:
    """The docstring's loss, dense."""
    x, score = binary(clients), users @ items.T
    fit = float(np.sum(x * (1.0 - score) ** 2) + model.alpha0 * np.sum(score**2))
    of_users = (x.sum(axis=1) + model.alpha0 * x.shape[1]) @ np.sum(users**2, axis=1)
    of_items = (x.sum(axis=0) + model.alpha0 * x.shape[0]) @ np.sum(items**2, axis=1)
    return fit + model.reg * float(of_users + of_items)


def rounds(model: ImplicitALS, clients: Population, count: int) -> list[Params]:
    """Shared parameters before and after each round of everyone."""
    out = [model.init(clients.schema, 0)]
    for _ in range(count):
        out.append(model.solve(out[-1], model.statistics(out[-1], {}, clients)[0], len(clients)))
    return out


def test_the_statistics_are_those_of_each_customers_own_least_squares(clients: Population) -> None:
    shared = rounds(MODEL, clients, 2)[-1]
    items, x = np.asarray(shared["items"], np.float64), binary(clients)
    users = best_users(MODEL, items, clients)
    total = MODEL.statistics(shared, {}, clients)[0]
    np.testing.assert_allclose(total["residual"], (x * (1.0 - users @ items.T)).T @ users, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(total["count"], x.sum(axis=0))
    np.testing.assert_allclose(total["gram"], users.T @ users, rtol=1e-8)
    np.testing.assert_allclose(total["cross"], (users * x.sum(axis=1)[:, None]).T @ users, rtol=1e-8)


def test_the_objective_falls_in_every_round_until_it_rests(clients: Population) -> None:
    values = []
    for shared in rounds(MODEL, clients, 40):
        items = np.asarray(shared["items"], np.float64)
        values.append(objective(MODEL, items, best_users(MODEL, items, clients), clients))
    assert all(after <= before * (1.0 + 1e-6) for before, after in itertools.pairwise(values))
    assert values[-1] < 0.8 * values[0]


def test_where_rounds_come_to_rest_no_item_can_be_bettered(tastes: Population) -> None:
    """At the fixed point the exact least squares of every item gives the item itself: the gradient is zero."""
    items = np.asarray(rounds(MODEL, tastes, 150)[-1]["items"], np.float64)
    users, x = best_users(MODEL, items, tastes), binary(tastes)
    for i in range(len(items)):
        weight = x[:, i] + MODEL.alpha0
        ridge = MODEL.reg * (x[:, i].sum() + MODEL.alpha0 * len(users))
        best = np.linalg.solve((users * weight[:, None]).T @ users + ridge * np.eye(3), users.T @ x[:, i])
        np.testing.assert_allclose(items[i], best, rtol=1e-5, atol=1e-6)


def test_the_fixed_point_is_that_of_the_centralised_model(tastes: Population) -> None:
    """Scores, which no rotation of the factors changes, agree to 1e-4 of the largest; after 20 rounds to 2 %."""
    federated = rounds(MODEL, tastes, 150)
    for count, apart in ((20, 0.02), (150, 1e-4)):
        one = MODEL.scores(federated[count], {}, tastes)
        other = MODEL.scores(MODEL.central(tastes, 0, count)[0], {}, tastes)
        assert np.max(np.abs(one - other)) <= apart * np.max(np.abs(other))


def test_centralised_sweeps_lower_the_same_objective(clients: Population) -> None:
    values = []
    for sweeps in (1, 2, 5, 20):
        items = np.asarray(MODEL.central(clients, 0, sweeps)[0]["items"], np.float64)
        values.append(objective(MODEL, items, best_users(MODEL, items, clients), clients))
    assert values == sorted(values, reverse=True)


def test_without_a_preference_for_new_rows_their_order_does_not_matter(clients: Population) -> None:
    shared = rounds(MODEL, clients, 3)[-1]
    backwards = np.concatenate([clients.rows(c)["item"][::-1] for c in range(len(clients))])
    turned = Population(clients.schema, clients.offsets, {"item": backwards})
    np.testing.assert_allclose(
        MODEL.scores(shared, {}, turned), MODEL.scores(shared, {}, clients), rtol=1e-4, atol=1e-6
    )
    recent = ImplicitALS(dim=3, alpha0=0.2, reg=0.02, newest=8.0)
    assert np.max(np.abs(recent.scores(shared, {}, turned) - recent.scores(shared, {}, clients))) > 1e-3


def test_a_newer_row_weighs_more_when_scoring(clients: Population) -> None:
    """Oracle: dense least squares with weight oldest + newest * 0.5^(age / half_life)."""
    model = ImplicitALS(dim=3, alpha0=0.2, reg=0.02, oldest=0.3, newest=8.0, half_life=3.0)
    shared = rounds(model, clients, 3)[-1]
    items = np.asarray(shared["items"], np.float64)
    for c in (0, 1, 2):
        own = clients.rows(c)["item"]
        weight = 0.3 + 8.0 * 0.5 ** (np.arange(len(own))[::-1] / 3.0)
        ridge = 0.02 * (len(own) + 0.2 * len(items))
        a = 0.2 * items.T @ items + (items[own] * weight[:, None]).T @ items[own] + ridge * np.eye(3)
        expected = items @ np.linalg.solve(a, weight @ items[own])
        np.testing.assert_allclose(model.scores(shared, {}, clients)[c], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"dim": 0}, {"alpha0": 0.0}, {"reg": 0.0}, {"reg": float("nan")}),
        *({"oldest": 0.0}, {"newest": -1.0}, {"half_life": 0.0}),
    ],
)
def test_settings_without_a_solution_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ImplicitALS(**wrong)
