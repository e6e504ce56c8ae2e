"""One training of a plan with what was measured of it: its figures, its centralised counterpart, every client alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Classifier, LossModel, Model, Recommender, StatisticsModel
from tacit.core.values import Array, Params
from tacit.data.interactions import Interactions
from tacit.data.tabular import Tabular
from tacit.job.assess import Assessment, assess_ranking, assess_rows, probabilities, truth
from tacit.job.task import Task
from tacit.job.training import Trained
from tacit.learning.centralised import Centralised, alone


@dataclass(frozen=True, slots=True)
class Arm:
    """One trained plan with what was measured of it."""

    plan: Plan
    trained: Trained  # of the last fold
    assessment: Assessment
    central: Assessment
    local: Assessment | None  # every client alone, for tabular data
    clients: int


def measure(parts: list[tuple[Task, Plan, Trained]], data: Interactions | Tabular, before: Sequence[Arm] = ()) -> Arm:
    """The figures of a training; over the test rows of all its folds, where it has folds.

    What the same model learns from pooled rows, and every client alone, is taken from an arm `before` that has it.
    """
    task, plan, trained = parts[-1]
    model, known = plan.model, next((arm for arm in before if _same_reference(arm.plan, plan)), None)
    if isinstance(model, Recommender) and isinstance(data, Interactions) and task.test_rows is None:
        assessment = assess_ranking(model, trained.shared, trained.own, task, data)
        if known is not None:
            return Arm(plan, trained, assessment, known.central, known.local, len(task.train))
        shared, own = _pooled(plan, task)
        return Arm(plan, trained, assessment, assess_ranking(model, shared, own, task, data), None, len(task.train))
    rows = [_answers(model, trained.shared, trained.own, task) for task, _, trained in parts]
    asked = [task.groups for task, _, _ in parts] if isinstance(data, Tabular) else None
    assessment = assess_rows(rows, asked)
    if known is not None:
        return Arm(plan, trained, assessment, known.central, known.local, len(task.train))
    central = assess_rows([_answers(model, *_pooled(plan, task), task) for task, _, _ in parts])
    single = []
    for task, _, _ in parts:
        if isinstance(data, Tabular) and isinstance(model, LossModel) and 1 < len(task.train) <= 32:
            assert task.test_rows is not None
            single.append((truth(task), _alone(model, task, plan.seed), task.test_rows.owner()))
    return Arm(plan, trained, assessment, central, assess_rows(single) if single else None, len(task.train))


def _same_reference(one: Plan, other: Plan) -> bool:
    """Whether both trainings have the same counterpart: the same model of the same rows, tested on the same."""

    of_rows = one.data.gives == "tabular"  # where models with a loss are fitted to convergence

    def what(plan: Plan) -> tuple[object, ...]:
        swept = isinstance(plan.model, StatisticsModel) and not (of_rows and isinstance(plan.model, LossModel))
        tested = (plan.split_seed, plan.validation, plan.draws, plan.folds)
        return plan.model, plan.rounds if swept else 0, plan.seed, *tested

    return what(one) == what(other)


def _pooled(plan: Plan, task: Task) -> tuple[Params, Params]:
    """(shared, private) parameters from all rows in one place; alternating models get the federated line's sweeps."""
    return Centralised(rounds=plan.rounds).fit(plan.model, task.train, plan.seed)


def _answers(model: Model, shared: Params, own: Params, task: Task) -> tuple[Array, Array, Array]:
    """(labels, probabilities, owners) of the test rows."""
    assert task.test_rows is not None
    return truth(task), probabilities(model, shared, own, task), task.test_rows.owner()


def _alone(model: LossModel, task: Task, seed: int) -> np.ndarray[Any, Any]:
    assert task.test_rows is not None and isinstance(model, Classifier)
    out = np.zeros(int(task.test_rows.offsets[-1]), np.float32)
    for client, params in enumerate(alone(model, task.train, seed)):
        low, high = int(task.test_rows.offsets[client]), int(task.test_rows.offsets[client + 1])
        if high > low:
            own = task.train.take([client])
            out[low:high] = model.probabilities(params, {}, own, task.test_rows.take([client]))
    return out
