"""Small populations, and the loop of a federation in ten lines: what trainers and algorithms are compared in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from tacit.core.values import Array, Params, Population, Schema

CLIENTS, ITEMS, FEATURES = 30, 200, 5


class Trained(NamedTuple):
    """What a federation comes to after some rounds."""

    shared: Params
    own: dict[str, Array]
    initial: Params


def sizes(random: np.random.Generator) -> Array:
    """Rows of each client: two clients have none, one has many."""
    found = random.integers(1, 8, CLIENTS)
    found[[3, 17]] = 0
    found[5] = 25
    return np.concatenate([[0], np.cumsum(found)]).astype(np.int64)


def interactions() -> Population:
    random = np.random.default_rng(0)
    offsets = sizes(random)
    item = np.concatenate([random.choice(ITEMS, size, replace=False) for size in np.diff(offsets)]).astype(np.int32)
    rating = random.integers(1, 6, len(item)).astype(np.float32)
    return Population(Schema("interactions", items=ITEMS), offsets, {"item": item, "rating": rating})


def tabular() -> Population:
    random = np.random.default_rng(1)
    offsets = sizes(random)
    x = random.standard_normal((offsets[-1], FEATURES)).astype(np.float32)
    y = (x[:, 0] + random.standard_normal(len(x)) > 0.0).astype(np.float32)
    return Population(Schema("tabular", features=FEATURES), offsets, {"x": x, "y": y})


def private(algorithm: Any, model: Any, clients: Population) -> dict[str, Array]:
    """Initial private parameters, stacked over clients."""
    init = model.init(clients.schema, 0)
    return {n: np.repeat(np.asarray(init[n])[None], len(clients), axis=0) for n in algorithm.private(model)}


def federate(
    algorithm: Any, model: Any, clients: Population, trainer: Any, clip: float | None = None, rounds: int = 2
) -> Trained:
    """Some rounds of everyone."""
    state, own = algorithm.init(model, clients.schema, 0), private(algorithm, model, clients)
    for number in range(1, rounds + 1):
        work = algorithm.work(model, number)
        total = trainer.total(work, state.shared, own, clients, np.arange(len(clients)), number, clip)
        state = algorithm.update(state, model, total, len(clients), number)
    return Trained(state.shared, own, model.init(clients.schema, 0))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors: more threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data() -> dict[str, Population]:
    """Thirty clients of each kind."""
    return {"interactions": interactions(), "tabular": tabular()}


@pytest.fixture(scope="session")
def train() -> Callable[..., Trained]:
    """Some rounds of everyone with one trainer."""
    return federate


@pytest.fixture(scope="session")
def own_of() -> Callable[..., dict[str, Array]]:
    """Initial private parameters, stacked over clients."""
    return private
