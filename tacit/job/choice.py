"""Which training of a plan serves its customers best: named by a private choice, kept, charged before it is made.

Each customer counts at each training whose model ranks its validation item among the ten best of a hundred. Here the
hits are counted from outside, as all figures of a simulation are; between real parties they would be one more sum.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tacit.audit.ledger import Ledger
from tacit.core.plan import Plan
from tacit.core.values import DataError
from tacit.data.interactions import Interactions
from tacit.data.tabular import Tabular
from tacit.federation.randomness import stream
from tacit.job.arm import Arm
from tacit.job.assess import validation_ranking
from tacit.job.budget import Meter
from tacit.job.run_folder import STATE
from tacit.job.task import ranking_task
from tacit.privacy.accountant import spent
from tacit.privacy.unit import unit_of

NAME = "choice"  # of its charge, and of its part of the report's privacy


def choose(
    plan: Plan, arms: Sequence[Arm], data: Interactions | Tabular, folder: Path, ledger: Ledger, meter: Meter | None
) -> dict[str, Any] | None:
    """What the report has under "chosen"; None where the plan chooses nothing.

    A choice that an interrupted run has made stands: nothing is chosen, or charged, twice.

    Raises:
        DataError: what an interrupted run left is damaged, or cannot be written.
    """
    if plan.choose is None:
        return None
    assert isinstance(data, Interactions)  # the plan was refused otherwise
    names = [each.name for each in plan.candidates]
    path = folder / STATE / "choice.json"
    name = _known(path, names)
    if name is None:
        events = Counter([plan.choose.event()])
        if meter is not None:
            ledger.append_once("charge", *meter.told(meter.charge(plan, NAME, 1, events, events)))
        hits = np.array([_hits(arm, data) for arm in arms if arm.plan.name in names])
        name = names[plan.choose.pick(hits, stream(plan, NAME))]
        _store(path, name)
    return {
        "training": name,
        "of": names,
        "epsilon": plan.choose.epsilon,
        "unit": unit_of(plan.candidates[0]),
        "by": "customers whose validation item is among the ten best of a hundred",
    }


def statement(plan: Plan) -> list[dict[str, Any]]:
    """What the choice costs, as the report states what trainings cost."""
    if plan.choose is None:
        return []
    cost = spent([plan.choose.event()], 0.0, unit_of(plan.candidates[0]))
    return [
        {
            "training": NAME,
            **cost.summary(),
            "mechanism": "permute and flip",
            "noise_in": "the choice among trainings",
            "against": "whoever sees which training was chosen",
            "simulation": plan.simulation,
        }
    ]


def _hits(arm: Arm, data: Interactions) -> float:
    """Customers whose validation item the training's model ranks among the ten best."""
    task = ranking_task(arm.plan, data)
    found = validation_ranking(arm.plan.model, arm.trained.shared, arm.trained.own, task)
    return float(np.count_nonzero(found.hr >= 1.0))


def _known(path: Path, names: Sequence[str]) -> str | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        found = None
    if found not in names:
        raise DataError(f"{path} is damaged: begin the run anew in another folder")
    return str(found)


def _store(path: Path, name: str) -> None:
    try:
        with path.with_suffix(".tmp").open("w", encoding="utf-8") as file:
            json.dump(name, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path.with_suffix(".tmp"), path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from None
