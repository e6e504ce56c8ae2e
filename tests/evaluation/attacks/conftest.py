"""Small stages: a generated storefront and generated rows."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.core.plan import Plan
from tacit.core.values import Population, Schema
from tacit.data.adult import Adult
from tacit.data.clients import ByCustomer
from tacit.data.split import population
from tacit.data.storefront import Storefront
from tacit.evaluation.attacks.scene import Scene
from tacit.learning.fedavg import FedAvg
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.item_item import ItemItem
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.multilayer_perceptron import MultilayerPerceptron


def recommender(model, algorithm) -> Scene:
    source = Storefront(customers=160, items=120)
    data = source.load()
    plan = Plan(data=source, clients=ByCustomer(), model=model, algorithm=algorithm, rounds=1)
    return Scene(plan, population(data, np.arange(len(data))), {"region": data.attributes["region"]}, cohort=40)


@pytest.fixture(scope="session")
def factorised() -> Scene:
    return recommender(MatrixFactorisation(dim=8), FedAvg())


@pytest.fixture(scope="session")
def item_item() -> Scene:
    return recommender(ItemItem(ridge=20.0), SumOfStatistics())


@pytest.fixture(scope="session")
def rows() -> Scene:
    source = np.random.default_rng(0)
    count, features = 400, 20
    x = source.standard_normal((count, features)).astype(np.float32)
    y = (source.random(count) < 0.5).astype(np.float32)  # nothing to learn: what is fitted is remembered
    plan = Plan(data=Adult(), clients=ByCustomer(), model=MultilayerPerceptron(), algorithm=FedAvg())
    return Scene(
        plan, Population(Schema("tabular", features=features), np.arange(count + 1), {"x": x, "y": y}), cohort=40
    )
