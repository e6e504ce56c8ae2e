"""One training of a plan with what was measured of it: its figures, its centralised counterpart, every client alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Classifier, LossModel, Recommender
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


def measure(parts: list[tuple[Task, Plan, Trained]], data: Interactions | Tabular) -> Arm:
    """The figures of a training; over the test rows of all its folds, where it has folds."""
    task, plan, trained = parts[-1]
    settings = Centralised(rounds=plan.rounds)  # alternating models: as many sweeps as the federated line had
    model = plan.model
    local = None
    if isinstance(model, Recommender) and isinstance(data, Interactions) and task.test_rows is None:
        assessment = assess_ranking(model, trained.shared, trained.own, task, data)
        shared, own = settings.fit(model, task.train, plan.seed)
        central = assess_ranking(model, shared, own, task, data)
    else:
        rows, pooled, single = [], [], []
        for task, _, trained in parts:
            assert task.test_rows is not None
            owner = task.test_rows.owner()
            rows.append((truth(task), probabilities(model, trained.shared, trained.own, task), owner))
            shared, own = settings.fit(model, task.train, plan.seed)
            pooled.append((truth(task), probabilities(model, shared, own, task), owner))
            if isinstance(data, Tabular) and isinstance(model, LossModel) and 1 < len(task.train) <= 32:
                single.append((truth(task), _alone(model, task, plan.seed), owner))
        asked = [task.groups for task, _, _ in parts] if isinstance(data, Tabular) else None
        assessment, central = assess_rows(rows, asked), assess_rows(pooled)
        local = assess_rows(single) if single else None
    return Arm(plan, trained, assessment, central, local, len(task.train))


def _alone(model: LossModel, task: Task, seed: int) -> np.ndarray[Any, Any]:
    assert task.test_rows is not None and isinstance(model, Classifier)
    out = np.zeros(int(task.test_rows.offsets[-1]), np.float32)
    for client, params in enumerate(alone(model, task.train, seed)):
        low, high = int(task.test_rows.offsets[client]), int(task.test_rows.offsets[client + 1])
        if high > low:
            own = task.train.take([client])
            out[low:high] = model.probabilities(params, {}, own, task.test_rows.take([client]))
    return out
