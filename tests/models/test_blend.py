"""A blend is its parts: the same sums, the same solutions, standardised scores added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tacit.core.values import Population, Schema
from tacit.models.blend import Blend
from tacit.models.implicit_als import ImplicitALS
from tacit.models.item_item import ItemItem
from tacit.models.like_classifier import LikeClassifier
from tacit.models.matrix_factorisation import MatrixFactorisation

MakePopulation = Callable[..., Population]
ALS, EASE = ImplicitALS(dim=3), ItemItem(ridge=4.0)


def z(scores: np.ndarray) -> np.ndarray:
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True))


def solve(model: Any, clients: Population, rounds: int) -> Any:
    shared = model.init(clients.schema, 0)
    for _ in range(rounds):
        shared = model.solve(shared, model.statistics(shared, {}, clients)[0], len(clients))
    return shared


def test_the_parts_are_solved_as_if_they_were_alone_and_their_scores_are_added(
    make_interactions: MakePopulation,
) -> None:
    clients = make_interactions(1, clients=30, empty=False)
    blend = Blend(first=ALS, second=EASE, weight=0.4)
    shared = solve(blend, clients, 4)
    first, second = solve(ALS, clients, 4), solve(EASE, clients, 1)
    np.testing.assert_allclose(shared["first/items"], first["items"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(shared["second/weights"], second["weights"], rtol=1e-5, atol=1e-6)
    expected = z(ALS.scores(first, {}, clients)) + 0.4 * z(EASE.scores(second, {}, clients))
    np.testing.assert_allclose(blend.scores(shared, {}, clients), expected, rtol=1e-3, atol=1e-4)


def test_a_closed_form_part_is_asked_for_once(make_interactions: MakePopulation) -> None:
    clients = make_interactions(1)
    blend = Blend(first=ALS, second=EASE)
    once = solve(blend, clients, 1)
    assert "second/gram" in blend.statistics(solve(blend, clients, 0), {}, clients)[0]
    assert not any(name.startswith("second/") for name in blend.statistics(once, {}, clients)[0])


def test_the_centralised_blend_is_the_blend_of_the_centralised_parts(make_interactions: MakePopulation) -> None:
    clients = make_interactions(1, clients=30)
    shared, own = Blend(first=ALS, second=EASE).central(clients, 0, 5)
    assert own == {}
    np.testing.assert_array_equal(shared["first/items"], ALS.central(clients, 0, 5)[0]["items"])
    np.testing.assert_allclose(shared["second/weights"], solve(EASE, clients, 1)["weights"])


def test_local_taste_needs_no_sum_and_lifts_items_like_those_in_the_history() -> None:
    features = np.eye(2, dtype=np.float32)[np.array([0, 0, 0, 1, 1, 1])]
    schema = Schema("interactions", items=6, item_features=features)
    clients = Population(schema, np.array([0, 2]), {"item": np.array([0, 1], np.int32)})
    blend = Blend(affinity=1.0, prior=1.0)
    assert blend.statistics({}, {}, clients) == ({}, {})
    scores = blend.scores({}, {}, clients)[0]
    assert scores[2] > max(scores[3:])


@pytest.mark.parametrize("part", [MatrixFactorisation(), LikeClassifier(), "ItemItem"])
def test_a_part_that_is_no_recommender_of_sums_is_refused_by_name(part: Any) -> None:
    with pytest.raises(ValueError, match=type(part).__name__ if part != "ItemItem" else "'ItemItem'"):
        Blend(first=ALS, second=part)
