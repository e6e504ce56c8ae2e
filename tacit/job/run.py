"""The main job: every training of a plan, its references, the ledger and the report, in one folder that can be
resumed.
"""

from __future__ import annotations

import json
import os
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
from tacit.core.values import Array, DataError, Params, PlanError
from tacit.data.interactions import Interactions
from tacit.data.tabular import Tabular
from tacit.evaluation.cost import Cost
from tacit.job.arm import Arm, measure
from tacit.job.report import baseline_names, build
from tacit.job.result import Result
from tacit.job.task import Task, load, tasks
from tacit.job.training import Step, Trained, train
from tacit.privacy.calibrate import calibrate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}")
PARTS = (  # keys of the report that no training may take
    *("data", "clients", "rounds", "centralized", "counterparts", "local", "classification", "privacy", "secure_sum"),
    *("cost", "groups", "beyond", "curves", "curves_on", "trainer", "notes", "sent", "plan", "run_folder", "ledger"),
)


def run_job(plan: Plan, folder: Path, data: Path | None = None, processes: int = 0) -> Iterator[Step | Result]:
    """Yield a Step after each round and the Result at the end. A folder that holds an unfinished run is resumed.

    Raises:
        TacitError: the plan, the data or the folder cannot be used; the message says why.
    """
    before = Cost.now()
    _refuse_names(plan)
    _refuse_another(folder, plan)
    loaded = load(plan, data)
    _own(folder, plan)
    ledger = Ledger(folder / "ledger", origin=f"tacit/{plan.digest()[:16]}")
    if ledger.sealed:  # finished before: what it says is proven again, nothing is computed
        yield _finished(folder)
        return
    ledger.append_once("plan", "plan", {"plan": plan.digest(), "name": plan.name, "versions": versions()})
    arms: list[Arm] = []
    for each in (plan, *plan.also):
        arm = None
        for item in _train(each, loaded, folder, ledger, processes):
            if isinstance(item, Step):
                yield item
            else:
                arm = item
        assert arm is not None
        arms.append(arm)
    report = build(plan, arms, loaded, folder, Cost.now() - before)
    models = {arm.plan.name: arm.trained.shared for arm in arms}
    yield Result(_write(plan, report, models, folder, ledger), folder, models)


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


def _refuse_another(folder: Path, plan: Plan) -> None:
    """Leave the run of another plan alone.

    Raises:
        DataError: the folder holds one, or is no folder.
    """
    path = folder / "plan.toml"
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file, and a run needs a folder: choose another one")
    if path.exists() and path.read_bytes() != plan.toml().encode():
        raise DataError(f"{folder} holds a run of another plan: choose another folder, or resume it without a plan")


def _own(folder: Path, plan: Plan) -> None:
    """Mark the folder as this plan's; a folder that is so already is left as it is.

    Raises:
        DataError: it cannot be made.
    """
    path = folder / "plan.toml"
    if path.exists():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".tmp").write_bytes(plan.toml().encode())
        os.replace(path.with_suffix(".tmp"), path)
    except OSError as error:
        raise DataError(f"the run folder {folder} cannot be made: {error.strerror}") from None


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
    plan: Plan, data: Interactions | Tabular, folder: Path, ledger: Ledger, processes: int
) -> Iterator[Step | Arm]:
    parts: list[tuple[Task, Plan, Trained]] = []
    for task in tasks(plan, data):
        ready = calibrate(plan, len(task.train))
        for item in train(ready, task, folder, processes):
            if isinstance(item, Step):
                record = item.record
                ledger.append_once("round", f"{item.training}/{record['number']}", _entry(record))
                _append_round(folder, record)
                yield item
            else:
                parts.append((task, ready, item))
    yield measure(parts, data)


def _entry(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger says of a round; nothing that differs between an interrupted and an uninterrupted run."""
    keys = ("training", "number", "plan", "cohort", "clients", "dropped", "update")
    spent = ("epsilon", "delta", "unit", "neighbouring")
    return {key: record[key] for key in keys} | {key: record[key] for key in spent if key in record}


def _append_round(folder: Path, record: Mapping[str, Any]) -> None:
    """Add a round to rounds.jsonl, unless it stands there: a resumed run says its old rounds again."""
    path = folder / "rounds.jsonl"
    line = json.dumps(dict(record), sort_keys=True)
    if path.exists():
        whole = path.read_text(encoding="utf-8").split("\n")
        if line in whole[:-1]:
            return
        if whole[-1]:  # a line torn by a crash
            path.write_text("".join(part + "\n" for part in whole[:-1]), encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def _write(
    plan: Plan, report: dict[str, Any], models: Mapping[str, Params], folder: Path, ledger: Ledger
) -> dict[str, Any]:
    arrays = {f"{name}/{key}": np.asarray(v, order="C") for name, params in models.items() for key, v in params.items()}
    save_file(arrays, folder / "model.safetensors", {"plan": plan.digest()})
    told = (folder / "rounds.jsonl").read_bytes().count(b"\n")
    report["ledger"] = {"entries": 1 + told + 2, "verified": True}  # plan, rounds; then rounds.jsonl and the result
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(render(report), encoding="utf-8")
    ledger.seal(folder)
    verify(folder)
    return report
