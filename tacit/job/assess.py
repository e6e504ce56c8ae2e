"""How good one trained model is, on the side of those who own the rows: ranking, classification, groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tacit.core.protocols import Classifier, Model, Recommender
from tacit.core.values import Array, Params, PlanError
from tacit.data.interactions import Interactions
from tacit.evaluation.beyond_accuracy import beyond_accuracy
from tacit.evaluation.classification import Classification
from tacit.evaluation.groups import activity_quartiles, by_group
from tacit.evaluation.recommendation import Ranking, evaluate
from tacit.evaluation.validation import validate
from tacit.job.task import Task


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a report says of one model."""

    summary: Mapping[str, Any]  # metric -> value, with "low" and "high"
    groups: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    beyond: Mapping[str, float] = field(default_factory=dict)


def score_block(model: Model, shared: Params, own: Params, task: Task) -> Callable[[Array], Array]:
    """Scores of a block of clients, each from its own rows and private parameters."""
    if not isinstance(model, Recommender):
        raise PlanError(f"{type(model).__name__} does not rank items, so it has no hit rate")

    def scores(chosen: Array) -> Array:
        mine = {name: values[chosen] for name, values in own.items()}
        return model.scores(shared, mine, task.train.take(chosen))

    return scores


def ranking(model: Model, shared: Params, own: Params, task: Task) -> Ranking:
    """Ranks of every client's test item."""
    block = score_block(model, shared, own, task)
    return evaluate(block, task.train, task.test, task.validation, task.negatives)


def validation_ranking(model: Model, shared: Params, own: Params, task: Task) -> Ranking:
    """Ranks of every client's validation item: what rounds are chosen by."""
    block = score_block(model, shared, own, task)
    return validate(block, task.train, task.validation, task.validation_negatives)


def probabilities(model: Model, shared: Params, own: Params, task: Task) -> Array:
    """(test rows,) probability of the positive class, computed where the row lives."""
    if not isinstance(model, Classifier) or task.test_rows is None:
        raise PlanError(f"{type(model).__name__} does not classify rows")
    return np.asarray(model.probabilities(shared, own, task.train, task.test_rows))


def truth(task: Task) -> Array:
    """(test rows,) labels in {0, 1}: y, or rating >= 4."""
    assert task.test_rows is not None
    fields = task.test_rows.fields
    return np.asarray(fields["y"] if "y" in fields else fields["rating"] >= 4.0, np.float32)


def assess_ranking(model: Model, shared: Params, own: Params, task: Task, data: Interactions) -> Assessment:
    """Ranking figures with intervals, by group, and beyond accuracy."""
    result = ranking(model, shared, own, task)
    named = {"activity": activity_quartiles(task.train.sizes)}
    named |= {name: values for name, values in task.groups.items() if len(np.unique(values)) <= 12}
    groups = {}
    for name, values in named.items():
        parts = by_group(result.hr, values[result.customers])
        groups[name] = [
            {"group": g.name, "customers": g.customers, "hr@10": g.mean, "low": g.low, "high": g.high} for g in parts
        ]
    categories = np.stack(list(data.categories.values()), 1) if data.categories else None
    beyond = beyond_accuracy(result.top, task.train, categories).summary()
    return Assessment(result.summary(), groups, beyond)


def assess_rows(
    parts: list[tuple[Array, Array, Array]], by: list[Mapping[str, Array]] | None = None, threshold: float = 0.5
) -> Assessment:
    """Classification figures with intervals, over the test rows of all folds: (labels, probabilities, owners).

    `by` names each fold's rows' groups: attribute -> (rows,). Groups show accuracy; many values are left out.
    """
    labels, scores, owners = (np.concatenate([part[i] for part in parts]) for i in range(3))
    few = len(np.unique(owners)) < 50  # a handful of institutions says nothing about spread: resample rows instead
    named = {name: np.concatenate([part[name] for part in by]) for name in by[0]} if by else {}
    right = ((scores >= threshold) == (labels > 0.5)).astype(np.float64)
    groups = {
        name: [
            {"group": g.name, "customers": g.customers, "accuracy": g.mean, "low": g.low, "high": g.high}
            for g in by_group(right, values)
        ]
        for name, values in named.items()
        if len(np.unique(values)) <= 12
    }
    return Assessment(Classification(labels, scores, None if few else owners).summary(), groups)
