"""Attacks on a plan, in simulation: the whole table after a run (`tacit attack RUN`), or a quick part inside a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tacit.audit.attacks_panel import page
from tacit.audit.attacks_seal import FILES, seal
from tacit.audit.ledger import RESULT_FILES
from tacit.audit.verify import verify
from tacit.core.plan import Plan
from tacit.core.trees import size
from tacit.core.values import DataError, PlanError, Population, TacitError
from tacit.data.interactions import Interactions
from tacit.data.tabular import Tabular
from tacit.evaluation.attacks import canary_audit, table
from tacit.evaluation.attacks.gradient_inversion import GradientInversion
from tacit.evaluation.attacks.item_sets import ItemSets
from tacit.evaluation.attacks.protections import Protection, ladder, of_plan
from tacit.evaluation.attacks.scene import Attack, Scene
from tacit.evaluation.attacks.view import observe
from tacit.federation.vocabulary import read_plan
from tacit.job.task import load, ranking_task, tasks
from tacit.privacy.calibrate import calibrate

COHORT = 100  # clients in one sum
FEWEST = 20
VALUES = 10_000_000  # numbers that the messages of one cohort may hold together
QUICK = 20  # clients of the quick part


def stage(plan: Plan, data: Interactions | Tabular, cohort: int = COHORT, most: int = 4 * VALUES) -> Scene:
    """A scene on the plan's own rows: customers, or a table's rows one by one.

    The cohort is made smaller where its messages would not fit into memory, down to 20 clients.

    Raises:
        PlanError: the plan has fewer than 20 clients or rows that could be attacked, or messages too large for 20.
    """
    alone = replace(plan, also=(), baselines=())
    if isinstance(data, Interactions):
        task = ranking_task(alone, data)
        attributes = {k: v for k, v in task.groups.items() if len(v) == len(task.train)}
        scene = Scene(alone, task.train, attributes, cohort, plan.seed)
    else:
        rows = tasks(alone, data)[0].train
        offsets = np.arange(len(rows.fields["y"]) + 1, dtype=np.int64)
        scene = Scene(alone, Population(rows.schema, offsets, rows.fields), {}, cohort, plan.seed)
    if len(scene.clients) < 2 * FEWEST:
        raise PlanError(f"attacks need {2 * FEWEST} customers or rows, {data.name} has {len(scene.clients)}")
    if isinstance(data, Interactions):
        values = size(observe(alone, scene.clients.take([0]), Protection()).like)
        if values * FEWEST > most:
            raise PlanError(f"a contribution to {plan.name!r} holds {values:,} numbers: too many to attack here")
        scene = replace(scene, cohort=max(FEWEST, min(cohort, VALUES // values)))
    return scene


def attack(plan: Plan, data: Interactions | Tabular, cohort: int = COHORT, canaries: int = 1000) -> Iterator[Any]:
    """Yield each finished row of the table, then the whole as the report has it under "attacks".

    Raises:
        PlanError: the plan cannot be attacked; says why.
    """
    scene = stage(plan, data, cohort)
    mine = of_plan(plan)
    clip = plan.clip_norm or 1.0
    noise = float(getattr(plan.noise, "noise_multiplier", 0.0)) or 1.0
    rows = []
    steps = ladder(clip, noise)
    same = next((s for s in steps if (s.protect, s.secure, s.reads) == (mine.protect, mine.secure, mine.reads)), None)
    mine = mine if same is None else replace(mine, same_as=same.name)
    for row in table.rows(scene, (*steps, mine)):
        yield row
        rows.append(row)
    notes = [*table.NOTES, f"Clip norm {clip:g} and noise multiplier {noise:.3g}, where a protection has them."]
    yield _told(scene, rows, notes) | {"audit": _audit(scene, canaries)}


def quick(plan: Plan, data: Interactions | Tabular) -> dict[str, Any] | None:
    """The part that every run's own report has: one attack, without protection and with the plan's; seconds of work.

    None where there is nothing that could be attacked so fast.
    """
    try:
        scene = stage(plan, data, QUICK, VALUES)
    except PlanError:
        return None
    chosen: list[Attack] = [ItemSets()] if scene.kind == "interactions" else [GradientInversion(clients=QUICK)]
    try:
        rows = list(table.rows(scene, (Protection(), of_plan(plan)), chosen))
    except TacitError as error:  # a plan whose protection does not work with so few
        return _told(scene, [], [f"Not attacked: {error}"])
    return _told(scene, rows, ["`tacit attack` on the run folder tries every attack against every protection."])


def attack_run(
    folder: Path,
    data: Path | None = None,
    training: str = "",
    cohort: int = COHORT,
    canaries: int = 1000,
    out: Path | None = None,
) -> Iterator[Any]:
    """Attack a finished run; yield rows, then the whole, which then also stands in attacks.json and attacks.html.

    The run's own files stay as they were sealed. What is written beside them is signed with the ledger's key.

    Raises:
        TacitError: there is no such run, it does not verify, or its data are not there.
    """
    if not (folder / "plan.toml").exists() or not (folder / RESULT_FILES["report"]).exists():
        raise DataError(f"{folder} holds no finished run: plan.toml and report.json are needed")
    verify(folder)
    plan = _training(read_plan(folder / "plan.toml"), training)
    loaded = load(plan, data)
    clients = loaded.customers if isinstance(loaded, Interactions) else len(loaded)
    found: dict[str, Any] = {}
    for item in attack(calibrate(plan, clients), loaded, cohort, canaries):
        if "rows" in item:
            found = item | {"training": plan.name, "plan": plan.digest(), "run": folder.name}
        else:
            yield item
    place = out or folder
    place.mkdir(parents=True, exist_ok=True)
    for name, text in zip(FILES, (json.dumps(found, indent=1) + "\n", page(found)), strict=True):
        (place / f".{name}.tmp").write_text(text, encoding="utf-8")
        os.replace(place / f".{name}.tmp", place / name)
    if out is None:
        seal(folder)
        verify(folder)
    yield found


def _training(plan: Plan, name: str) -> Plan:
    every = {each.name: each for each in (plan, *plan.also)}
    if name and name not in every:
        raise PlanError(f"this run has no training {name!r}, but {', '.join(every)}")
    return replace(every[name or plan.name], also=(), baselines=())


def _told(scene: Scene, rows: list[dict[str, Any]], notes: list[str]) -> dict[str, Any]:
    kind = "customers" if scene.kind == "interactions" else "rows, each a client of its own"
    return {
        "definition": table.DEFINITION,
        "simulated": f"a re-simulated training on {len(scene.clients):,} {kind}; sums of {scene.cohort} of them, "
        f"one round where messages are attacked; seed {scene.seed}",
        "rows": rows,
        "notes": notes,
    }


def _audit(scene: Scene, canaries: int) -> dict[str, Any] | None:
    """What canary clients show of the plan's own noise; None where it has none, or nothing bounds a contribution.

    A secure sum is left out: it is exact (each run checks that), and masking canaries by the hundred takes minutes.
    """
    plan, noise = scene.plan, scene.plan.noise
    if noise is None or plan.clip_norm is None or plan.per_client or hasattr(noise, "share"):
        return None
    source = np.random.default_rng([scene.seed, 5])
    chosen = np.sort(source.permutation(len(scene.clients))[: 2 * scene.cohort])
    values = size(observe(plan, scene.clients.take([0]), Protection()).like)
    audited = replace(plan, cohort=0, sampling="fixed", rounds=min(plan.rounds, 5), dropout=0.0, secure_sum=None)
    count = max(200, min(canaries, 2 * VALUES // values))
    delta = float(getattr(noise, "delta", 1e-5))
    return canary_audit.audit(audited, scene.clients.take(chosen), None, delta, count, seed=scene.seed).summary()
