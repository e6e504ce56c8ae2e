"""Laws of every model that is learned from sums, in every stage that it passes through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit import models
from tacit.core.protocols import Classifier, Recommender, StatisticsModel
from tacit.core.values import Params, Population
from tacit.federation.vocabulary import components
from tacit.models.blend import Blend
from tacit.models.feature_projection import FeatureProjection
from tacit.models.implicit_als import ImplicitALS
from tacit.models.item_item import ItemItem
from tacit.models.like_classifier import LikeClassifier
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.popularity import Popularity
from tacit.privacy.wide import join

MakePopulation = Callable[..., Population]
CLASSES = [cls for cls in components(models, "serves", "init").values() if isinstance(cls(), StatisticsModel)]
SMALL: dict[type[Any], dict[str, Any]] = {  # quicker or richer than the default, where that helps
    ImplicitALS: {"dim": 4},
    LikeClassifier: {"dim": 3, "sweeps": 2},
    Blend: {"first": ImplicitALS(dim=3), "second": ItemItem(ridge=5.0), "affinity": 0.1},
}
MODELS: list[Any] = [
    *(cls(**SMALL.get(cls, {})) for cls in CLASSES),
    *(cls() for cls in SMALL),
    ItemItem(rank=3),
    LogisticRegression(l2=0.3),
    FeatureProjection(near=0.0, newest=0.0),
    Blend(first=Popularity(), second=FeatureProjection()),
]
ROUNDS = 5
EVERY = pytest.mark.parametrize("model", MODELS, ids=repr)
seeds = given(st.integers(0, 2**31))
quickly = settings(max_examples=8, deadline=None)


def stages(model: Any, clients: Population) -> Iterator[Params]:
    """Shared parameters before each of some rounds with these clients."""
    shared = {name: value for name, value in model.init(clients.schema, 0).items() if name not in model.private}
    for _ in range(ROUNDS):
        yield shared
        shared = model.solve(shared, model.statistics(shared, own_of(model, clients), clients)[0], len(clients))


def own_of(model: Any, clients: Population) -> Params:
    """Initial private parameters, stacked over clients."""
    init = model.init(clients.schema, 0)
    return {name: np.repeat(np.asarray(init[name])[None], len(clients), axis=0) for name in model.private}


def sums(model: Any, shared: Params, clients: Population) -> Params:
    return model.statistics(shared, own_of(model, clients), clients)[0]  # type: ignore[no-any-return]


def numbers(model: Any, statistics: Params) -> Params:
    """Statistics as the numbers that they stand for: limbs joined."""
    limbs = getattr(model, "limbs", ())
    return {name: join(value) if name in limbs else np.asarray(value) for name, value in statistics.items()}


def assert_same(model: Any, one: Params, other: Params) -> None:
    assert one.keys() == other.keys()
    coarse = 1e-6 if getattr(model, "limbs", ()) else 1e-9  # limbs hold 24 binary digits behind the point
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-9, atol=coarse, err_msg=name)


def test_the_folder_holds_models_of_sums() -> None:
    assert {Popularity, ItemItem, ImplicitALS, FeatureProjection, LikeClassifier, LogisticRegression} <= set(CLASSES)


@EVERY
@seeds
@quickly
def test_the_statistics_of_two_groups_are_the_sum_of_theirs(
    model: Any, make_population: MakePopulation, seed: int
) -> None:
    clients = make_population(model.serves, seed)
    some, others = clients.take(np.arange(5)), clients.take(np.arange(5, 12))
    for shared in stages(model, clients):
        first, second = sums(model, shared, some), sums(model, shared, others)
        added = numbers(model, {name: first[name] + second[name] for name in first})
        assert_same(model, added, numbers(model, sums(model, shared, clients)))


@EVERY
@seeds
@quickly
def test_the_order_of_clients_does_not_matter(model: Any, make_population: MakePopulation, seed: int) -> None:
    clients = make_population(model.serves, seed)
    mixed = clients.take(np.random.default_rng(seed).permutation(12))
    for shared in stages(model, clients):
        one, other = sums(model, shared, clients), sums(model, shared, mixed)
        assert_same(model, numbers(model, one), numbers(model, other))


@EVERY
@seeds
@quickly
def test_one_client_stays_within_the_declared_ranges_and_counts_are_whole(
    model: Any, make_population: MakePopulation, seed: int
) -> None:
    """A range bounds what is encoded for a secure sum: beyond it the round would be refused."""
    clients = make_population(model.serves, seed)
    for shared in stages(model, clients):
        for c in range(len(clients)):
            for name, value in sums(model, shared, clients.take([c])).items():
                assert name in model.ranges, f"{name} has no declared range"
                assert np.all(np.abs(value) <= model.ranges[name]), name
                if name in model.whole if hasattr(model, "whole") else ():
                    assert np.all(value == np.rint(value)), name


@EVERY
def test_what_a_model_broadcasts_is_enough_to_learn_from(model: Any, make_population: MakePopulation) -> None:
    """A model may spare clients what a part has learned already; their sums must not change by it."""
    if not hasattr(model, "broadcast"):
        pytest.skip("everything is broadcast")
    clients = make_population(model.serves)
    for shared in stages(model, clients):
        fewer = dict(model.broadcast(shared))
        assert sum(v.size for v in fewer.values()) <= sum(v.size for v in shared.values())
        assert_same(model, sums(model, fewer, clients), sums(model, shared, clients))


@EVERY
def test_nobody_contributes_zeros_of_the_shape_of_a_contribution(model: Any, make_population: MakePopulation) -> None:
    clients = make_population(model.serves)
    for shared in stages(model, clients):
        nothing, something = sums(model, shared, clients.take([])), sums(model, shared, clients)
        assert nothing.keys() == something.keys()
        for name, value in nothing.items():
            assert np.shape(value) == np.shape(something[name]) and not np.any(value), name


@EVERY
def test_initial_values_are_the_same_each_time_and_sums_do_not_change_what_they_read(
    model: Any, make_population: MakePopulation
) -> None:
    clients = make_population(model.serves)
    for seed in (0, 1):
        one, other = model.init(clients.schema, seed), model.init(clients.schema, seed)
        assert one.keys() == other.keys()
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
    for shared in stages(model, clients):
        before = {name: np.array(value) for name, value in shared.items()}
        total = sums(model, shared, clients)
        again = sums(model, shared, clients)
        after = model.solve(shared, total, len(clients))
        for name, value in before.items():
            np.testing.assert_array_equal(value, shared[name])
        for name, value in total.items():
            np.testing.assert_array_equal(value, again[name])
        assert after.keys() == shared.keys()


@EVERY
def test_what_is_solved_is_finite_and_keeps_its_type(model: Any, make_population: MakePopulation) -> None:
    clients = make_population(model.serves)
    for shared in stages(model, clients):
        for name, value in shared.items():
            assert np.all(np.isfinite(value)) and np.asarray(value).dtype == np.float32, name


@EVERY
def test_even_heavy_noise_on_the_sums_leaves_finite_parameters(model: Any, make_population: MakePopulation) -> None:
    """A Gaussian mechanism adds noise to every sum: matrices are then no longer positive, counts no longer counts."""
    if getattr(model, "limbs", ()):
        pytest.skip("a plan with noise on limbs is refused")
    clients, random = make_population(model.serves), np.random.default_rng(1)
    shared = model.init(clients.schema, 0)
    for _ in range(ROUNDS):
        total = {name: v + 10.0 * random.standard_normal(v.shape) for name, v in sums(model, shared, clients).items()}
        shared = model.solve(shared, total, len(clients))
        assert all(np.all(np.isfinite(value)) for value in shared.values())


@EVERY
def test_scores_and_probabilities_come_for_each_client_from_its_own_rows_alone(
    model: Any, make_population: MakePopulation
) -> None:
    clients = make_population(model.serves, empty=False)
    shared = list(stages(model, clients))[-1]
    own = own_of(model, clients)
    for c in (0, 7):
        alone = clients.take([c])
        if isinstance(model, Recommender):
            together = model.scores(shared, own, clients)
            assert together.shape == (12, clients.schema.items) and np.all(np.isfinite(together))
            np.testing.assert_allclose(model.scores(shared, own, alone)[0], together[c], rtol=1e-4, atol=1e-5)
        if isinstance(model, Classifier):
            together = model.probabilities(shared, own, clients, clients)
            low, high = clients.offsets[c], clients.offsets[c + 1]
            assert together.shape == (clients.offsets[-1],) and np.all((together >= 0.0) & (together <= 1.0))
            np.testing.assert_allclose(model.probabilities(shared, own, alone, alone), together[low:high], rtol=1e-4)
