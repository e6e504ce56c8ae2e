"""The main job: every training of a plan, its references, the ledger and the report, in one folder that can be
resumed.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tacit.audit.entry import versions
from tacit.audit.ledger import Ledger
from tacit.audit.report_html import render
from tacit.audit.verify import verify
from tacit.core.plan import Plan
from tacit.core.protocols import Classifier, LossModel, Recommender, Statistics
from tacit.core.values import Array, DataError, Params, PlanError
from tacit.data.interactions import Interactions
from tacit.data.tabular import Tabular
from tacit.evaluation.cost import Cost
from tacit.job.assess import Assessment, assess_ranking, assess_rows, probabilities, truth
from tacit.job.result import Result
from tacit.job.task import Task, load, ranking_task, tasks
from tacit.job.training import Step, Trained, train
from tacit.learning.centralised import Centralised, alone
from tacit.learning.trainers.choice import trainer_of
from tacit.privacy.calibrate import calibrate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}")
PARTS = (  # keys of the report that no training may take
    *("data", "clients", "rounds", "centralized", "counterparts", "local", "classification", "privacy", "secure_sum"),
    *("cost", "groups", "beyond", "curves", "curves_on", "trainer", "notes", "sent", "plan", "run_folder", "ledger"),
)


@dataclass(frozen=True, slots=True)
class Arm:
    """One trained plan with what was measured of it."""

    plan: Plan
    trained: Trained  # of the last fold
    assessment: Assessment
    central: Assessment
    local: Assessment | None  # every client alone, for tabular data
    clients: int


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
    report = _report(plan, arms, loaded, folder, Cost.now() - before)
    models = {arm.plan.name: arm.trained.shared for arm in arms}
    yield Result(_write(plan, report, models, folder, ledger), folder, models)


def _refuse_names(plan: Plan) -> None:
    """Names of trainings become keys of the report and folders; references must give what the report compares.

    Raises:
        PlanError: a name that is taken or no name, or a baseline that cannot be measured as the plan's models are.
    """
    taken = {*PARTS, *_baseline_names(plan)}
    for each in (plan, *plan.also):
        if each.name in taken:
            raise PlanError(f"{each.name!r} is another part of the report: give this training another name")
        if not NAME.fullmatch(each.name):
            raise PlanError(f"{each.name!r} is no name for a training: use up to 64 letters, digits, spaces and ._+-")
    kind = Recommender if plan.data.gives == "interactions" else Classifier
    for baseline in plan.baselines:
        if not isinstance(baseline, kind):
            raise PlanError(f"{type(baseline).__name__} cannot be a baseline here: it is no {kind.__name__.lower()}")


def _baseline_names(plan: Plan) -> list[str]:
    """Keys of the report: item_item, and item_item_2 for a second one of the same kind."""
    kinds = [_snake(type(baseline).__name__) for baseline in plan.baselines]
    counts = [kinds[: place + 1].count(kind) for place, kind in enumerate(kinds)]
    return [kind if count == 1 else f"{kind}_{count}" for kind, count in zip(kinds, counts, strict=True)]


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
    yield _arm(parts, data)


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


def _arm(parts: list[tuple[Task, Plan, Trained]], data: Interactions | Tabular) -> Arm:
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
        assessment, central = assess_rows(rows), assess_rows(pooled)
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


def _report(plan: Plan, arms: list[Arm], data: Interactions | Tabular, folder: Path, cost: Cost) -> dict[str, Any]:
    main = arms[0]
    report: dict[str, Any] = {
        "data": _about(data),
        "clients": main.clients,
        "rounds": main.plan.rounds,
    }
    classified = [a for a in arms if isinstance(data, Interactions) and isinstance(a.plan.model, Classifier)]
    ranked = [a for a in arms if a not in classified]
    for arm in ranked:
        report[arm.plan.name] = dict(arm.assessment.summary)
    if ranked:
        report["centralized"] = dict(ranked[0].central.summary)
        others = [arm for arm in ranked[1:] if arm.plan.model != ranked[0].plan.model]
        report["counterparts"] = {arm.plan.name: dict(arm.central.summary) for arm in others}
        if ranked[0].local is not None:
            report["local"] = dict(ranked[0].local.summary)
    for name, baseline in zip(_baseline_names(plan), plan.baselines, strict=True):
        report[name] = _baseline(plan, baseline, data)
    if classified:
        arm = classified[0]
        report["classification"] = {
            "protocol": "like = rating of 4 or more; each customer's last 20 % of ratings in time are the test",
            "threshold": 0.5,
            "federated": dict(arm.assessment.summary),
            "centralized": dict(arm.central.summary),
        }
    report["privacy"] = _together([p for arm in arms if (p := _privacy(arm)) is not None])
    report["secure_sum"] = next((s for arm in arms if (s := _secure(arm)) is not None), None)
    report["cost"] = _cost(main, cost)
    report["groups"] = dict(main.assessment.groups)
    report["beyond"] = {arm.plan.name: dict(arm.assessment.beyond) for arm in ranked if arm.assessment.beyond}
    report["curves"] = {arm.plan.name: [_point(r) for r in arm.trained.records] for arm in arms}
    report["curves_on"] = "validation items" if plan.validation else "test items (never used to choose a round)"
    report["trainer"] = _trainers(arms)
    report["notes"] = _notes(plan, arms, data)
    report["sent"] = [_sent(arm) for arm in arms]
    report["plan"] = plan.toml()
    report["run_folder"] = str(folder)
    return report


def _about(data: Interactions | Tabular) -> dict[str, Any]:
    about: dict[str, Any] = {"name": data.name, "note": data.note, "rows": len(data)}
    if isinstance(data, Interactions):
        return about | {"customers": data.customers, "items": data.items}
    return about | {"features": data.x.shape[1]}


def _baseline(plan: Plan, model: Any, data: Interactions | Tabular) -> dict[str, Any]:
    """A reference learned from all rows in one place, measured as the plan's models are."""
    settings = Centralised()
    if isinstance(data, Interactions):
        task = ranking_task(plan, data)
        shared, own = settings.fit(model, task.train, plan.seed)
        return dict(assess_ranking(model, shared, own, task, data).summary)
    parts = []
    for task in tasks(plan, data):
        assert task.test_rows is not None
        shared, own = settings.fit(model, task.train, plan.seed)
        parts.append((truth(task), probabilities(model, shared, own, task), task.test_rows.owner()))
    return dict(assess_rows(parts).summary)


def _together(parts: list[dict[str, Any]]) -> dict[str, Any] | None:
    """One statement for everything that was released from the same customers: epsilons and deltas add up."""
    if not parts:
        return None
    whole = dict(parts[0])
    if len(parts) > 1:
        whole |= {key: sum(part[key] for part in parts) for key in ("epsilon", "delta", "epsilon_by_rdp")}
        whole |= {"training": " and ".join(part["training"] for part in parts), "parts": parts}
        if len({part["neighbouring"] for part in parts}) > 1:
            # replacing one is removing one, then adding one: (2 epsilon, (1 + e^epsilon) delta) by group privacy
            steps = [(part, part["neighbouring"] != "replace-one") for part in parts]
            whole["neighbouring"] = "replace-one"
            for key in ("epsilon", "epsilon_by_rdp"):
                whole[key] = sum(part[key] * (2.0 if two else 1.0) for part, two in steps)
            deltas = [p["delta"] * (1.0 + math.exp(min(p["epsilon"], 700.0)) if two else 1.0) for p, two in steps]
            whole["delta"] = min(sum(deltas), 1.0)
    return whole


def _privacy(arm: Arm) -> dict[str, Any] | None:
    spent, noise = arm.trained.spent, arm.plan.noise
    if spent is None or noise is None:
        return None
    event = noise.event(arm.plan.sampling, (arm.plan.cohort or arm.clients) / arm.clients)
    assert event is not None
    return {
        "training": arm.plan.name,
        "unit": spent.unit,
        "epsilon": spent.epsilon,
        "delta": spent.delta,
        "neighbouring": spent.neighbouring,
        "accountant": spent.accountant,
        "epsilon_by_rdp": spent.check,
        "mechanism": event.mechanism,
        "noise_multiplier": event.noise_multiplier,
        "clip_norm": arm.plan.clip_norm,
        "sampling": "everyone" if event.sampling_rate >= 1.0 else event.sampling,
        "sampling_rate": event.sampling_rate,
        "simulation": arm.plan.simulation,
        "against": "whoever sees the model; the server adds the noise and sees the sum without it",
    }


def _secure(arm: Arm) -> dict[str, Any] | None:
    if arm.plan.secure_sum is None:
        return None
    records = arm.trained.records
    checks = [r["exact"] for r in records if "exact" in r]
    return {
        "training": arm.plan.name,
        "clients": max(int(r["cohort"]) for r in records),
        "dropped": sum(int(r["dropped"]) for r in records),
        "exact": all(checks) if checks else None,
        "between": arm.plan.secure_between,
        "minimum": arm.plan.secure_sum.minimum,
        "rounds": len(records),
    }


def _cost(arm: Arm, cost: Cost) -> dict[str, Any]:
    records = arm.trained.records
    share = [r["clients"] / max(arm.clients, 1) for r in records]
    model = 4 * sum(int(np.size(value)) for value in arm.trained.shared.values())
    return cost.summary() | {
        "bytes_up_per_client": int(sum(r["bytes_up"] * s for r, s in zip(records, share, strict=True))),
        "bytes_down_per_client": int(sum(r["bytes_down"] * s for r, s in zip(records, share, strict=True))) + model,
    }


def _point(record: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("hr@10", "low", "high", "epsilon", "bytes_up", "bytes_down", "seconds", "clients", "dropped")
    return {"round": record["number"]} | {key: record[key] for key in keys if key in record}


def _snake(name: str) -> str:
    out = "".join(
        "_" + c.lower() if c.isupper() and not name[i - 1].isupper() else c.lower() for i, c in enumerate(name)
    )
    return out.lstrip("_")


def _trainers(arms: list[Arm]) -> str:
    """Which trainer ran each training's last round."""
    found = []
    for arm in arms:
        work = arm.plan.algorithm.work(arm.plan.model, arm.plan.rounds)
        kind = "sums" if isinstance(work, Statistics) else type(trainer_of(arm.plan, work)).__name__.lower()
        found.append(f"{arm.plan.name}: {kind}")
    return ", ".join(found)


def _sent(arm: Arm) -> str:
    """One line on what each client of this training gives away."""
    plan = arm.plan
    what = f"{plan.name}: each client's contribution to {type(plan.model).__name__}"
    if plan.secure_sum is not None:
        whose = "contributions" if plan.secure_between == "clients" else "nodes' own sums"
        what += f", masked so that only sums of at least {plan.secure_sum.minimum} {whose} can be opened"
    else:
        what += ", readable by the server (no secure sum in this plan)"
    if plan.clip_norm is not None:
        what += f", cut to L2 norm {plan.clip_norm:g}"
    if arm.trained.spent is not None:
        what += f", with noise on the sum for epsilon {arm.trained.spent.epsilon:.2f}"
    private = ", ".join(plan.algorithm.private(plan.model))
    return what + (f". Never sent: rows, {private}." if private else ". Never sent: rows.")


def _notes(plan: Plan, arms: list[Arm], data: Interactions | Tabular) -> list[str]:
    notes = [data.note] if data.note else []
    if any(arm.plan.simulation for arm in arms):
        notes.append(
            "simulation = true: cohorts, noise and masks come from the plan's seed, so whoever has the plan can remove "
            "them. This run shows how the plan behaves; it protects nobody."
        )
    if any(arm.trained.spent is not None for arm in arms):
        notes.append(
            "Epsilon covers the trained parameters. Figures on validation and test items in this report are measured "
            "by the experimenter from outside, and would need a budget of their own between real parties."
        )
    for arm in arms:
        if arm.plan.secure_sum is None:
            notes.append(f"{arm.plan.name}: without a secure sum the server reads what each node sends.")
    return notes


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
