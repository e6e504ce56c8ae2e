"""Small populations for the tests of evaluation, and MovieLens 100K where it is present."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tacit.core.values import Array, Population, Schema
from tacit.data import split
from tacit.data.interactions import Interactions
from tacit.data.movielens_1m import MovieLens1M
from tacit.data.movielens_100k import MovieLens100K
from tacit.data.split import LeaveOneOut


class Split(NamedTuple):
    """A leave-one-out split."""

    train: Population
    validation: Array
    test: Array


def build(histories: Sequence[Sequence[int]], items: int) -> Population:
    """One customer for each history."""
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    rows = np.array([item for history in histories for item in history], dtype=np.int32)
    return Population(Schema("interactions", items=items), offsets, {"item": rows})


def leave_one_out(owner: Array, item: Array, time: Array, items: int) -> Split:
    """The last row of each customer is for the test, the one before for validation."""
    order = np.lexsort((time, owner))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner))]).astype(np.int64)
    item = item[order].astype(np.int32)
    last = offsets[1:] - 1
    keep = np.ones(len(item), dtype=bool)
    keep[last] = keep[last - 1] = False
    train = np.concatenate([[0], np.cumsum(np.diff(offsets) - 2)]).astype(np.int64)
    return Split(
        Population(Schema("interactions", items=items), train, {"item": item[keep]}), item[last - 1], item[last]
    )


@pytest.fixture(scope="session")
def population() -> Callable[[Sequence[Sequence[int]], int], Population]:
    """Builds a population from histories."""
    return build


@pytest.fixture(scope="session")
def storefront() -> Split:
    """600 customers with tastes, 400 items of long-tailed popularity; 20 to 80 distinct items each."""
    rng = np.random.default_rng(20)
    customers, items = 600, 400
    appeal = 1.0 / np.arange(3, items + 3) ** 0.9
    taste = rng.normal(size=(customers, 4)) @ rng.normal(size=(4, items))
    owner, item = [], []
    for customer in range(customers):
        weight = appeal * np.exp(taste[customer])
        size = rng.integers(20, 81)
        item.append(rng.choice(items, size, replace=False, p=weight / weight.sum()))
        owner.append(np.full(size, customer))
    rows = np.concatenate(item)
    return leave_one_out(np.concatenate(owner), rows, rng.random(len(rows)), items)


def found(source: MovieLens100K | MovieLens1M, name: str) -> Interactions:
    """The set, or a skip that names it; under CI its absence is a failure."""
    folder = Path(os.environ.get("TACIT_DATA", "data"))
    if not (folder / name).is_dir():
        assert os.environ.get("CI") != "1", f"{name} is needed under CI: set TACIT_DATA"
        pytest.skip(f"{name} is absent: set TACIT_DATA to the folder that holds it")
    return source.load([folder])


@pytest.fixture(scope="session")
def movielens_100k() -> LeaveOneOut:
    """MovieLens 100K, leave-one-out by time."""
    return split.leave_one_out(found(MovieLens100K(), "movielens-100k"))


@pytest.fixture(scope="session")
def movielens_1m() -> LeaveOneOut:
    """MovieLens 1M with the published test items and negatives."""
    return split.leave_one_out(found(MovieLens1M(), "movielens-1m"))
