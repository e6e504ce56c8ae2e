"""A small storefront, cut into nodes, and engines that can be listened to or tampered with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit.core.plan import Plan
from tacit.core.trees import flatten
from tacit.core.values import Address, Array, Params, Population, Reply, Request
from tacit.data.clients import ByCustomer
from tacit.data.split import leave_one_out
from tacit.data.storefront import Storefront
from tacit.federation.engines.in_process import InProcess
from tacit.federation.worker import Worker
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.models.matrix_factorisation import MatrixFactorisation

CUSTOMERS, ITEMS = 40, 80


@pytest.fixture(scope="session")
def shop() -> Population:
    """Training rows of 40 invented customers over 80 items."""
    return leave_one_out(Storefront(CUSTOMERS, ITEMS).load()).train


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., Plan]:
    """A reproducible plan of two rounds of FedAvg, but for changes."""

    def make(**changes: Any) -> Plan:
        parts: dict[str, Any] = {
            "data": Storefront(CUSTOMERS, ITEMS),
            "clients": ByCustomer(),
            "model": MatrixFactorisation(dim=4),
            "algorithm": FedAvg(SGD(lr=0.5)),
            "rounds": 2,
            "simulation": True,
        }
        return Plan(**(parts | changes))

    return make


@pytest.fixture(scope="session")
def cut() -> Callable[..., dict[str, Population]]:
    """The population on one node, or cut into several, each knowing the number of its first client."""

    def make(population: Population, parts: int = 1) -> dict[str, Population]:
        nodes = {}
        for number, index in enumerate(np.array_split(np.arange(len(population)), parts)):
            part = population.take(index)
            nodes[f"node-{number}"] = Population(
                part.schema, part.offsets, part.fields, population.first + int(index[0])
            )
        return nodes

    return make


@pytest.fixture(scope="session")
def in_process(cut: Callable[..., dict[str, Population]]) -> Callable[..., InProcess]:
    """An engine with a worker on each node."""

    def make(plan: Plan, population: Population, parts: int = 1, store: Path | None = None) -> InProcess:
        nodes = cut(population, parts)
        return InProcess({n: Worker(plan, part, store and store / n, watched=True) for n, part in nodes.items()})

    return make


@dataclass
class Wire:
    """An engine around another: keeps every message, and hands each reply to `change`, which may falsify it."""

    inner: Any
    change: Callable[[Address, Request, Reply], Reply | None] = lambda address, request, reply: reply
    heard: list[tuple[Address, Request, Reply]] = field(default_factory=list)

    def nodes(self) -> Mapping[str, int]:
        return self.inner.nodes()

    def send(self, requests: Mapping[Address, Request]) -> None:
        self.asked = dict(requests)
        self.inner.send(requests)

    def receive(self, deadline: float | None = None) -> Iterator[tuple[Address, Reply]]:
        for address, reply in self.inner.receive(deadline):
            request = self.asked[address]
            changed = self.change(address, request, reply)
            if changed is not None:
                self.heard.append((address, request, changed))
                yield address, changed


@pytest.fixture(scope="session")
def wire() -> type[Wire]:
    return Wire


@pytest.fixture(scope="session")
def movement() -> Callable[[Params, Params], float]:
    """Largest absolute difference of two models."""

    def largest(a: Params, b: Params) -> float:
        assert a.keys() == b.keys()
        return float(np.max(np.abs(flatten(a) - flatten(b))))

    return largest


@pytest.fixture(scope="session")
def same_arrays() -> Callable[[Mapping[str, Array], Mapping[str, Array]], bool]:
    """Whether two sets of arrays are equal bit for bit."""

    def same(a: Mapping[str, Array], b: Mapping[str, Array]) -> bool:
        return a.keys() == b.keys() and all(a[n].tobytes() == b[n].tobytes() for n in a)

    return same
