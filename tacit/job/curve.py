"""The trade-off curve of a run: one of its trainings at several epsilons, each point kept, so that a run can go on.

An experiment on the run's own rows: its points and its line without noise are no part of the epsilon that the run
states, and no budget pays for them (`tacit.job.budget` refuses the plan). Noise comes from numbered seeds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tacit.audit.ledger import Ledger
from tacit.core.plan import Plan
from tacit.core.values import DataError, PlanError
from tacit.data.interactions import Interactions
from tacit.data.tabular import Tabular
from tacit.job.run_folder import STATE, store_plan
from tacit.job.tradeoff import Tradeoff, at_epsilon, private_training, tradeoff
from tacit.job.training import Step
from tacit.privacy.unit import unit_of

NAME = "tradeoff"  # of the key in the report, of its steps, and before the names of its plans
DRAWS = 3  # of the noise, for each epsilon


def curve_of(plan: Plan) -> Plan | None:
    """The training whose curve the plan asks for, ready to be drawn; None where it asks for none.

    Raises:
        PlanError: two trainings ask for one, no curve can be drawn of it, or a training's name is kept for its plans.
    """
    asking = [each for each in (plan, *plan.also) if each.tradeoff]
    if not asking:
        return None
    if len(asking) > 1:
        raise PlanError(f"a report has one curve, and {' and '.join(repr(a.name) for a in asking)} ask for it")
    for each in (plan, *plan.also):
        if each.name.startswith(f"{NAME}-"):
            raise PlanError(f"{each.name!r} is kept for a point of the curve: give this training another name")
    return replace(private_training(plan, asking[0].name), baselines=())


def draw_curve(
    plan: Plan, data: Interactions | Tabular, folder: Path, ledger: Ledger
) -> Iterator[Step | dict[str, Any]]:
    """Yield a step for each epsilon, then what the report has under "tradeoff"; nothing where no curve is asked for.

    Each point's plan, noise calibrated, is stored under the ledger. Points that an interrupted run had are not drawn
    again.

    Raises:
        DataError: what an interrupted run left is damaged.
    """
    training = curve_of(plan)
    if training is None:
        return
    assert isinstance(data, Interactions)  # the plan was refused otherwise
    epsilons = sorted(set(training.tradeoff))
    training = replace(training, tradeoff=())
    path = folder / STATE / "tradeoff.json"
    points = _known(path)
    missing = [epsilon for epsilon in epsilons if epsilon not in points] or epsilons[-1:]  # at least what is without
    done = len(epsilons) - len(missing)
    for item in tradeoff(training, data, missing, DRAWS):
        if isinstance(item, Tradeoff):
            every = tuple(points[epsilon] for epsilon in epsilons)
            yield replace(item, points=every).report() | {"trainings": len(epsilons) * DRAWS + 1}
            return
        epsilon, done = float(item["epsilon"]), done + 1
        points[epsilon] = item
        store_plan(folder, ledger, f"{NAME}-{epsilon:g}", at_epsilon(training, epsilon, data.customers))
        _store(path, points)
        record = {"number": done, "clients": data.customers, "dropped": 0, "on": "test items", "epsilon": epsilon}
        record["unit"] = unit_of(training)
        yield Step(NAME, len(epsilons), record | {key: item[key] for key in ("hr@10", "low", "high")})


def _known(path: Path) -> dict[float, dict[str, Any]]:
    try:
        points: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        return {float(point["epsilon"]): point for point in points}
    except (OSError, ValueError, TypeError, KeyError):
        raise DataError(f"{path} is damaged: remove it, and the curve is drawn again") from None


def _store(path: Path, points: Mapping[float, dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".tmp").write_text(json.dumps(list(points.values())), encoding="utf-8")
    os.replace(path.with_suffix(".tmp"), path)
