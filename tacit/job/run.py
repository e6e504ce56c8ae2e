"""The main job: every training of a plan, its references, the ledger and the report, in one folder that can be
resumed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tacit.audit.entry import versions
from tacit.audit.ledger import Ledger
from tacit.audit.report_html import render
from tacit.audit.verify import verify
from tacit.core.plan import Plan
from tacit.core.protocols import Classifier, Recommender
from tacit.core.values import Array, Params, PlanError
from tacit.data.interactions import Interactions
from tacit.data.tabular import Tabular
from tacit.evaluation.cost import Cost
from tacit.job import choice
from tacit.job.arm import Arm, measure
from tacit.job.attack import quick
from tacit.job.budget import Drawing, Meter, reserve
from tacit.job.curve import curve_of, draw_curve
from tacit.job.report import baseline_names, build, levels
from tacit.job.result import Result
from tacit.job.run_folder import (
    append_round,
    close,
    earlier,
    locked,
    own,
    refuse_another,
    remember,
    same_data,
    store_plan,
)
from tacit.job.task import Task, load, tasks
from tacit.job.training import Step, Trained, train
from tacit.privacy.calibrate import calibrate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}")
PARTS = (  # keys of the report that no training may take
    *("data", "clients", "rounds", "centralized", "counterparts", "local", "classification", "privacy", "secure_sum"),
    *("cost", "groups", "beyond", "curves", "curves_on", "trainer", "notes", "sent", "plan", "run_folder", "ledger"),
    *("budget", "attacks", "tradeoff", "chosen", choice.NAME),
)


def run_job(
    plan: Plan, folder: Path, data: Path | None = None, processes: int = 0, drawing: Drawing | None = None
) -> Iterator[Step | Result]:
    """Yield a Step after each round and the Result at the end. A folder that holds an unfinished run is resumed.

    With a `drawing`, all rounds are reserved from its budget before data are touched; a resumed run goes on so.

    Raises:
        TacitError: the plan, the data or the folder cannot be used; the message says why.
    """
    _refuse_names(plan)
    refuse_another(folder, plan)
    meter = reserve(plan, folder, drawing)
    try:
        loaded = load(plan, data)
        own(folder, plan)
    except BaseException:
        if meter is not None:
            meter.abandon(folder)
        raise
    with locked(folder):
        yield from _run(plan, folder, loaded, processes, meter)


def _run(
    plan: Plan, folder: Path, loaded: Interactions | Tabular, processes: int, meter: Meter | None
) -> Iterator[Step | Result]:
    began, before = Cost.now(), earlier(folder)
    ledger = Ledger(folder / "ledger", origin=f"tacit/{plan.digest()[:16]}")
    if ledger.sealed:  # finished before: what it says is proven again, nothing is computed
        yield _finished(folder)
        return
    same_data(folder, loaded)
    ledger.append_once("plan", "plan", {"plan": plan.digest(), "name": plan.name, "versions": versions()})
    if meter is not None:
        for charge in meter.charges():  # a crash may have kept some from being told
            ledger.append_once("charge", *meter.told(charge))
    arms: list[Arm] = []
    for each in (plan, *plan.also):
        arm = None
        for item in _train(each, loaded, folder, ledger, processes, meter, arms, plan.choose is None):
            if isinstance(item, Step):
                remember(folder, before + (Cost.now() - began))
                yield item
            else:
                arm = item
        assert arm is not None
        arms.append(arm)
    curve = None
    for point in draw_curve(plan, loaded, folder, ledger):
        if isinstance(point, Step):
            remember(folder, before + (Cost.now() - began))
            yield point
        else:
            curve = point
    chosen = choice.choose(plan, arms, loaded, folder, ledger, meter)
    report = build(plan, arms, loaded, folder, before + (Cost.now() - began))
    if chosen is not None:
        report["chosen"] = chosen
    if curve is not None:
        report["tradeoff"] = curve | {"levels": curve["levels"] | levels(plan, report, curve["training"])}
    if meter is not None:
        report["budget"] = meter.summary()
        report["notes"].append(meter.note(report["budget"]))
    noisy = next((arm.plan for arm in arms if arm.plan.noise is not None), None)
    report["attacks"] = quick(arms[0].plan, loaded, noisy)
    models = {arm.plan.name: arm.trained.shared for arm in arms}
    report = _write(plan, report, models, folder, ledger)
    close(folder)
    yield Result(report, folder, models)


def _refuse_names(plan: Plan) -> None:
    """Names of trainings become keys of the report and folders; references must give what the report compares.

    Raises:
        PlanError: a name that is taken or no name, or a baseline that cannot be measured as the plan's models are.
    """
    taken = {*PARTS, *baseline_names(plan)}
    for each in (plan, *plan.also):
        if each.name in taken:
            raise PlanError(f"{each.name!r} is another part of the report: give this training another name")
        if not NAME.fullmatch(each.name):
            raise PlanError(f"{each.name!r} is no name for a training: use up to 64 letters, digits, spaces and ._+-")
    kind = Recommender if plan.data.gives == "interactions" else Classifier
    for baseline in plan.baselines:
        if not isinstance(baseline, kind):
            raise PlanError(f"{type(baseline).__name__} cannot be a baseline here: it is no {kind.__name__.lower()}")
    curve_of(plan)


def _finished(folder: Path) -> Result:
    """The result of a run that is complete, verified first."""
    verify(folder)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    models: dict[str, dict[str, Array]] = {}
    for key, value in load_file(folder / "model.safetensors").items():
        training, _, name = key.partition("/")
        models.setdefault(training, {})[name] = value
    return Result(report, folder, models)


def _train(
    plan: Plan,
    data: Interactions | Tabular,
    folder: Path,
    ledger: Ledger,
    processes: int,
    meter: Meter | None,
    before: list[Arm],
    watched: bool,
) -> Iterator[Step | Arm]:
    parts: list[tuple[Task, Plan, Trained]] = []
    for task in tasks(plan, data):
        ready = calibrate(plan, len(task.train))
        if meter is not None:
            meter.check(ready, len(task.train), folder)
        store_plan(folder, ledger, "-".join(part for part in (plan.name, task.name) if part), ready)
        for item in train(ready, task, folder, processes, meter, watched):
            if isinstance(item, Step):
                record = item.record
                if meter is not None:
                    for charge in item.charges:
                        ledger.append_once("charge", *meter.told(charge))
                ledger.append_once("round", f"{item.training}/{record['number']}", _entry(record))
                append_round(folder, record)
                yield item
            else:
                parts.append((task, ready, item))
    yield measure(parts, data, before)


def _entry(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger says of a round; nothing that differs between an interrupted and an uninterrupted run."""
    keys = ("training", "number", "plan", "cohort", "clients", "dropped", "update")
    spent = ("epsilon", "delta", "unit", "neighbouring")
    return {key: record[key] for key in keys} | {key: record[key] for key in spent if key in record}


def _write(
    plan: Plan, report: dict[str, Any], models: Mapping[str, Params], folder: Path, ledger: Ledger
) -> dict[str, Any]:
    arrays = {f"{name}/{key}": np.asarray(v, order="C") for name, params in models.items() for key, v in params.items()}
    save_file(arrays, folder / "model.safetensors", {"plan": plan.digest()})
    report["ledger"] = {"entries": len(ledger) + 2, "verified": True}  # rounds.jsonl and the result are to come
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(render(report), encoding="utf-8")
    ledger.seal(folder)
    verify(folder)
    return report
