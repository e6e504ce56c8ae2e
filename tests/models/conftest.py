"""Small populations with everything that a model may read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tacit.core.values import Population, Schema

MakePopulation = Callable[..., Population]


def interactions(seed: int = 0, clients: int = 12, items: int = 15, empty: bool = True) -> Population:
    """Distinct items in order of time, ratings 1 to 5, item features; some clients have no row, some all items."""
    random = np.random.default_rng(seed)
    sizes = random.integers(0 if empty else 2, items + 1, clients)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    item = np.concatenate([np.zeros(0, int), *(random.choice(items, size, replace=False) for size in sizes)])
    fields = {
        "item": item.astype(np.int32),
        "rating": random.integers(1, 6, len(item)).astype(np.float32),
        "time": np.arange(len(item), dtype=np.int64),
    }
    features = (np.random.default_rng(99).random((items, 6)) < 0.4).astype(np.float32)
    return Population(Schema("interactions", items=items, item_features=features), offsets, fields)


def tabular(seed: int = 0, clients: int = 12, features: int = 4, empty: bool = True) -> Population:
    """Standard normal columns, labels that depend on them."""
    random = np.random.default_rng(seed)
    sizes = random.integers(0 if empty else 2, 20, clients)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    x = random.standard_normal((offsets[-1], features)).astype(np.float32)
    y = (x @ np.arange(features) + random.standard_normal(len(x)) > 0.3).astype(np.float32)
    return Population(Schema("tabular", features=features), offsets, {"x": x, "y": y})


def population(serves: str, seed: int = 0, clients: int = 12, empty: bool = True) -> Population:
    """Data of the kind that a model serves."""
    made = interactions(seed, clients, empty=empty) if serves == "interactions" else tabular(seed, clients, empty=empty)
    assert len(made) == clients
    return made


@pytest.fixture(scope="session")
def make_population() -> MakePopulation:
    """Builds small data of the kind that a model serves."""
    return population


@pytest.fixture(scope="session")
def make_interactions() -> MakePopulation:
    """Builds small interactions."""
    return interactions


@pytest.fixture(scope="session")
def make_tabular() -> MakePopulation:
    """Builds small tabular data."""
    return tabular
