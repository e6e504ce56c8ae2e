"""Known answer: even customers like all even items but one, odd ones all odd items but one. The one must come first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tacit import models
from tacit.core.protocols import LossModel, Recommender, StatisticsModel
from tacit.core.values import Array, Params, Population, Schema
from tacit.federation.vocabulary import components
from tacit.learning.centralised import Centralised
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.learning.trainers.stacked import Stacked
from tacit.models.blend import Blend
from tacit.models.feature_projection import FeatureProjection
from tacit.models.implicit_als import ImplicitALS
from tacit.models.item_item import ItemItem
from tacit.models.item_knn import ItemKNN
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.neural_collaborative_filtering import NeuralCollaborativeFiltering
from tacit.models.popularity import Popularity

CUSTOMERS, ITEMS = 40, 24
# Small enough for a second each; a new recommender is tried with its defaults until it is listed here.
SETTINGS: dict[type[Any], list[Any]] = {
    ImplicitALS: [ImplicitALS(dim=4), ImplicitALS(dim=4, oldest=0.3, newest=8.0)],
    ItemItem: [ItemItem(ridge=5.0), ItemItem(), ItemItem(rank=2)],
    ItemKNN: [ItemKNN(5), ItemKNN()],
    FeatureProjection: [FeatureProjection(rank=2, affinity=0.0), FeatureProjection(rank=2)],
    Blend: [
        Blend(first=ImplicitALS(dim=4), second=ItemItem(ridge=5.0)),
        Blend(first=Popularity(), second=ItemKNN(5), weight=2.0),
        Blend(first=FeatureProjection(rank=2), second=ItemItem(rank=2), affinity=0.1),
    ],
    MatrixFactorisation: [MatrixFactorisation(dim=8)],
    NeuralCollaborativeFiltering: [NeuralCollaborativeFiltering(dim=8, hidden=8)],
}
EXEMPT = {Popularity: "every item is as popular as any other, and it tells no customer from another"}
FOUND = [cls for cls in components(models, "serves", "scores").values() if isinstance(cls(), Recommender)]
MODELS = [model for cls in FOUND if cls not in EXEMPT for model in SETTINGS.get(cls, [cls()])]
EVERY = pytest.mark.parametrize("model", MODELS, ids=repr)


def board() -> tuple[Population, Array]:
    """The rows, and each customer's withheld item. Item features: four shelves, each of one colour."""
    liked = [[i for i in range(ITEMS) if i % 2 == u % 2] for u in range(CUSTOMERS)]
    withheld = np.array([mine.pop((u // 2) % len(mine)) for u, mine in enumerate(liked)])
    random = np.random.default_rng(0)
    item = np.concatenate([random.permutation(mine) for mine in liked]).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum([len(mine) for mine in liked])]).astype(np.int64)
    shelves = np.eye(4, dtype=np.float32)[np.arange(ITEMS) % 4]
    return Population(Schema("interactions", items=ITEMS, item_features=shelves), offsets, {"item": item}), withheld


def share_found(model: Any, shared: Params, own: Params, rows: Population, withheld: Array) -> float:
    """Share of customers whose withheld item scores strictly above every other item that they have not seen."""
    scores = np.array(model.scores(shared, own, rows), np.float64)
    scores[rows.owner(), rows.fields["item"]] = -np.inf
    mine = scores[np.arange(CUSTOMERS), withheld]
    scores[np.arange(CUSTOMERS), withheld] = -np.inf
    return float(np.mean(mine > scores.max(axis=1)))


def federated(model: Any, rows: Population) -> tuple[Params, Params]:
    """(shared, own) after some rounds of everyone."""
    torch.manual_seed(0)
    algorithm: Any = SumOfStatistics()
    rounds = 6
    if isinstance(model, LossModel):
        algorithm, rounds = FedAvg(SGD(lr=0.5, epochs=5, batch_size=8), server_lr=3.0), 20
    state, init = algorithm.init(model, rows.schema, 0), model.init(rows.schema, 0)
    own = {name: np.repeat(init[name][None], CUSTOMERS, axis=0) for name in algorithm.private(model)}
    everyone = np.arange(CUSTOMERS)
    for number in range(1, rounds + 1):
        work = algorithm.work(model, number)
        total = Stacked().total(work, state.shared, own, rows, everyone, number, None)
        state = algorithm.update(state, model, total, CUSTOMERS, number)
    return state.shared, own


def test_the_folder_holds_recommenders_and_each_is_asked_or_exempt() -> None:
    assert {ImplicitALS, ItemItem, MatrixFactorisation, NeuralCollaborativeFiltering} <= set(FOUND)
    assert set(EXEMPT) <= set(FOUND)
    assert all(isinstance(cls(), LossModel | StatisticsModel) for cls in FOUND)


@EVERY
def test_the_withheld_item_comes_first_for_every_customer(model: Any) -> None:
    rows, withheld = board()
    assert share_found(model, *federated(model, rows), rows, withheld) == 1.0


@pytest.mark.parametrize("model", [ItemItem(ridge=5.0), ImplicitALS(dim=4), MatrixFactorisation(dim=8)], ids=repr)
def test_the_centralised_counterpart_finds_it_too(model: Any) -> None:
    rows, withheld = board()
    shared, own = Centralised(epochs=10, batch_size=64, lr=0.05).fit(model, rows, 0)
    assert share_found(model, shared, own, rows, withheld) >= 0.9


def test_popularity_does_not_find_it() -> None:
    """The board is no give-away: without personalisation nothing is found."""
    rows, withheld = board()
    assert share_found(Popularity(), *federated(Popularity(), rows), rows, withheld) < 0.1
