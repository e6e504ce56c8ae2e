"""From a plan's data to what its trainings need: rows by node, held-out items or rows, and whom they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Classifier
from tacit.core.values import Array, DataError, Population, Schema
from tacit.data.folders import folders
from tacit.data.interactions import Interactions
from tacit.data.split import LeaveOneOut, folds, holdout, leave_one_out, population, temporal
from tacit.data.tabular import Tabular
from tacit.evaluation.negatives import draws

NEGATIVES = 99


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Task:
    """One split of the data, clients sorted so that those of one node stand together. Holds personal data."""

    train: Population
    nodes: Mapping[str, int]  # node -> number of clients it hosts, in the order of the clients
    validation: Array = field(default_factory=lambda: np.zeros(0, np.int32))  # (clients,) item or -1
    test: Array = field(default_factory=lambda: np.zeros(0, np.int32))  # (clients,) item or -1
    negatives: Array = field(default_factory=lambda: np.zeros((0, 0, 0), np.int32))  # (draws, clients, 99)
    validation_negatives: Array = field(default_factory=lambda: np.zeros((0, 0, 0), np.int32))
    test_rows: Population | None = None  # rows to classify, of the same clients
    groups: Mapping[str, Array] = field(default_factory=dict)  # attribute -> (clients,) or (test rows,) group names
    name: str = ""  # "" or the fold

    def populations(self) -> Iterator[tuple[str, Population]]:
        """Each node and its clients' training rows."""
        first = 0
        for name, count in self.nodes.items():
            part = self.train.take(np.arange(first, first + count))
            yield name, Population(part.schema, part.offsets, part.fields, first)
            first += count


def load(plan: Plan, data: Path | None) -> Interactions | Tabular:
    """The plan's data, from the folders that hold data on this machine."""
    source: Any = plan.data
    loaded: Interactions | Tabular = source.load(folders(data))
    return loaded


def tasks(plan: Plan, data: Interactions | Tabular) -> list[Task]:
    """The splits that this training is run on: one, or one for each fold."""
    if isinstance(data, Tabular):
        if plan.folds:
            pairs = folds(data, plan.folds, plan.split_seed)
            return [_tabular(plan, data, train, test, f"fold-{i + 1}") for i, (train, test) in enumerate(pairs)]
        return [_tabular(plan, data, *holdout(data, seed=plan.split_seed), "")]
    if isinstance(plan.model, Classifier):
        return [_likes(plan, data)]
    return [ranking_task(plan, data)]


def _hosted(plan: Plan, data: Interactions, parts: int) -> tuple[Array, dict[str, int]]:
    """(customers sorted by node, node -> customers); a single node is cut into `parts` where an engine wants
    several.
    """
    clients: Any = plan.clients
    node = clients.nodes(data)
    names = clients.names(data)
    order = np.argsort(node, kind="stable")
    counts = np.bincount(node, minlength=len(names))
    hosted: dict[str, int] = {}
    for name, count in zip(names, counts, strict=True):
        if not count:
            continue
        address, number = _safe(name), 1
        while address in hosted:  # names that become alike must not swallow each other's customers
            number += 1
            address = f"{_safe(name)}-{number}"
        hosted[address] = int(count)
    return order, hosted


def _safe(name: str) -> str:
    """Node names become addresses and file names."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "node"


def ranking_task(plan: Plan, data: Interactions) -> Task:
    """Each customer's last item held out, whatever the plan's own model does."""
    split = leave_one_out(data, plan.split_seed)
    if not plan.validation:
        split = replace(split, train=_put_back(split, data), validation=np.full(data.customers, -1, np.int32))
    order, nodes = _hosted(plan, data, 1)
    train, validation, test = split.train.take(order), split.validation[order], split.test[order]
    if split.negatives is not None:
        negatives = split.negatives[order][None]
    else:
        negatives = draws(train, test, validation, plan.draws, NEGATIVES, plan.split_seed)
    return Task(
        train=train,
        nodes=nodes,
        validation=validation,
        test=test,
        negatives=_without_held_out(negatives, test),
        validation_negatives=draws(train, validation, test, 1, NEGATIVES, plan.split_seed + 1),
        groups={name: values[order] for name, values in data.attributes.items()},
    )


def _put_back(split: LeaveOneOut, data: Interactions) -> Population:
    """Training rows with the validation item among them: all rows but each customer's test item."""
    held = split.test[data.customer]
    return population(data, np.flatnonzero((held < 0) | (data.item != held)))


def _without_held_out(negatives: Array, test: Array) -> Array:
    """Published negatives that are the customer's own test item count as padding (156 in the NCF files of ML-1M)."""
    return np.where(negatives == test[None, :, None], -1, negatives).astype(np.int32)


def _likes(plan: Plan, data: Interactions) -> Task:
    split = temporal(data, seed=plan.split_seed)
    order, nodes = _hosted(plan, data, 1)
    rows = split.test.take(order)
    owner = rows.owner()
    groups = {name: values[order][owner] for name, values in data.attributes.items()}
    return Task(train=split.train.take(order), nodes=nodes, test_rows=rows, groups=groups)


def _tabular(plan: Plan, data: Tabular, train: Array, test: Array, name: str) -> Task:
    clients: Any = plan.clients
    names = clients.names(data)
    owners = clients.owners(data, np.arange(len(data)))
    count = int(owners.max()) + 1
    learned, _ = _by_owner(data, train, owners, count)
    asked, asked_order = _by_owner(data, test, owners, count)
    if np.any(learned.sizes == 0):
        raise DataError(
            f"{data.name}: {int(np.sum(learned.sizes == 0))} of {count} clients of {type(clients).__name__} have no "
            "training row in this split; use fewer folds, or clients that hold more rows"
        )
    nodes = {_safe(str(name)): 1 for name in names}
    if len(nodes) != count:  # rows as clients, or names that are alike once they are made safe
        nodes = {"clients": count}
    groups = {key: values[test][asked_order] for key, values in data.sensitive.items()}
    return Task(train=learned, nodes=nodes, test_rows=asked, groups=groups, name=name)


def _by_owner(data: Tabular, rows: Array, owners: Array, count: int) -> tuple[Population, Array]:
    order = np.argsort(owners[rows], kind="stable")
    chosen = rows[order]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owners[chosen], minlength=count))]).astype(np.int64)
    schema = Schema("tabular", features=data.x.shape[1])
    return Population(schema, offsets, {"x": data.x[chosen], "y": data.y[chosen]}), order
