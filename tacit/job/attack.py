"""Attacks on a plan, in simulation: the whole table after a run (`tacit attack RUN`), or a quick part inside a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tacit.audit.attacks_panel import page
from tacit.audit.attacks_seal import FILES, seal
from tacit.audit.ledger import RESULT_FILES
from tacit.audit.verify import verify
from tacit.core.plan import Plan
from tacit.core.protocols import Shared
from tacit.core.trees import size
from tacit.core.values import DataError, PlanError, Population, TacitError
from tacit.data.interactions import Interactions
from tacit.data.tabular import Tabular
from tacit.evaluation.attacks import canary_audit, table
from tacit.evaluation.attacks.customer_membership import CustomerMembership
from tacit.evaluation.attacks.gradient_inversion import GradientInversion
from tacit.evaluation.attacks.item_sets import ItemSets
from tacit.evaluation.attacks.protections import Protection, ladder, of_plan
from tacit.evaluation.attacks.scene import Attack, Scene
from tacit.evaluation.attacks.sum_membership import SumMembership
from tacit.evaluation.attacks.view import observe
from tacit.federation.vocabulary import read_plan
from tacit.job.task import load, ranking_task, tasks
from tacit.privacy.calibrate import calibrate
from tacit.privacy.secure_sum.sum import SecAgg

COHORT = 100  # clients in one sum
FEWEST = 20
VALUES = 10_000_000  # numbers that the messages of one cohort may hold together
QUICK = 20  # clients of the quick part
LIGHT = 1_000_000  # numbers in the messages of these, up to which every protection is tried in seconds
ROUNDS = 5  # of the re-simulated training, at most: where several rounds are attacked, and in an audit
NODES = 8  # that canaries are spread over where noise comes in shares
LOUD = 300  # canaries where noise is local: each is a node of its own


def stage(plan: Plan, data: Interactions | Tabular, cohort: int = COHORT, most: int = 4 * VALUES) -> Scene:
    """A scene on the plan's own rows: customers, or a table's rows one by one.

    The cohort is made smaller where its messages would not fit into memory, down to 20 clients; `most` numbers may
    these hold together (0: as many as they do).

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
        if 0 < most < values * FEWEST:
            raise PlanError(f"a contribution to {plan.name!r} holds {values:,} numbers: too many to attack here")
        scene = replace(scene, cohort=max(FEWEST, min(cohort, VALUES // values)))
    return scene


def attack(plan: Plan, data: Interactions | Tabular, cohort: int = COHORT, canaries: int = 1000) -> Iterator[Any]:
    """Yield each finished row of the table, then the whole as the report has it under "attacks".

    Raises:
        PlanError: the plan cannot be attacked; says why.
    """
    scene = stage(plan, data, cohort)
    rows = []
    for row in _rows(scene, None):
        yield row
        rows.append(row)
    notes = [*table.NOTES, _strength(plan)]
    yield _told(scene, rows, notes) | {"audit": audited(plan, scene, _clients(data), canaries)}


def _own(plan: Plan, steps: Sequence[Protection]) -> Protection:
    """The plan's own protection; the same view as one of the steps is not measured twice."""
    mine = of_plan(plan)
    same = next((s for s in steps if (s.protect, s.secure, s.reads) == (mine.protect, mine.secure, mine.reads)), None)
    return mine if same is None else replace(mine, same_as=same.name)


def _rows(scene: Scene, attacks: list[Attack] | None) -> Iterator[dict[str, Any]]:
    """Every attack (or some) against every protection and the plan's own; then by several rounds, where noise is.

    Without noise one round tells what there is to tell; with it, each further round tells a little more.
    """
    steps = ladder(*_settings(scene.plan))
    mine = _own(scene.plan, steps)
    yield from table.rows(scene, (*steps, mine), attacks)
    rounds = min(scene.plan.rounds, ROUNDS)
    if attacks is None and rounds > 1:
        noisy = tuple(step for step in steps if any(t.noisy for t in step.protect))
        longer = [a.over(rounds) for a in table.staged(scene) if isinstance(a, ItemSets | SumMembership)]
        yield from table.rows(scene, (*noisy, mine), longer)


def _settings(plan: Plan) -> tuple[float, float]:
    """(clip norm, noise multiplier) of the protections that a plan's attacks are tried against: its own, else 1."""
    noise = plan.noise
    clip = float(getattr(noise, "clip_norm", None) or plan.clip_norm or 1.0)
    return clip, float(getattr(noise, "noise_multiplier", 0.0)) or 1.0


def _strength(plan: Plan) -> str:
    clip, noise = _settings(plan)
    return f"Clip norm {clip:g} and noise multiplier {noise:.3g}, where a protection has them."


def quick(plan: Plan, data: Interactions | Tabular, noisy: Plan | None = None) -> dict[str, Any]:
    """The part that every run's own report has: seconds of work.

    Attacks against every protection (LiRA, which trains, against three), or where messages are large one against none
    and the plan's own. `noisy` is a training with noise (of this run), which canaries audit. Where nothing can be
    attacked so fast, it says why.
    """
    notes = ["`tacit attack` on the run folder tries every attack, on more clients and over several rounds."]
    try:
        scene = stage(plan, data, QUICK, VALUES)
        found = _told(scene, list(_quickly(scene)), [_strength(plan), *table.NOTES, *notes])
    except TacitError as error:  # too few, too large, or a protection that does not work with so few
        found = {"definition": table.DEFINITION, "rows": [], "notes": [f"Not attacked: {error}"]}
    if noisy is not None:
        try:
            shown = audited(noisy, stage(noisy, data, QUICK, 0), _clients(data), LOUD)
        except TacitError as error:
            shown = {"refused": str(error)}
        found["audit"] = shown and shown | {"training": noisy.name}
    return found


def _quickly(scene: Scene) -> Iterator[dict[str, Any]]:
    if scene.kind == "tabular":
        yield from _rows(scene, [GradientInversion(clients=QUICK)])
        return
    values = size(observe(scene.plan, scene.clients.take([0]), Protection()).like)
    if values * QUICK <= LIGHT:
        yield from _rows(scene, [ItemSets(), SumMembership()])
        first, *_, last = ladder(*_settings(scene.plan))
        yield from table.rows(scene, (first, last, _own(scene.plan, (first, last))), [CustomerMembership()])
    else:
        yield from table.rows(scene, (Protection(), of_plan(scene.plan)), [ItemSets()])


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
    found: dict[str, Any] = {}
    for item in attack(calibrate(plan, _clients(loaded)), loaded, cohort, canaries):
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
        f"one round where messages are attacked, unless it says more; seed {scene.seed}",
        "rows": rows,
        "notes": notes,
    }


def audited(plan: Plan, scene: Scene, of: int, canaries: int) -> dict[str, Any] | None:
    """What canary clients show of the plan's own noise on a part of its `of` clients; None where it has none.

    Cohorts are drawn at the plan's own rate. A secure sum is left out: it is exact (each run checks that), and masking
    canaries by the hundred takes minutes; where noise comes in shares inside it, eight nodes add them up. What shortens
    contributions stands before the noise and is left out.
    """
    if plan.noise is None:
        return None
    try:
        return _audit(plan, scene, of, canaries) | {"of_rounds": plan.rounds}
    except TacitError as error:
        return {"refused": str(error)}


def _audit(plan: Plan, scene: Scene, of: int, canaries: int) -> dict[str, Any]:
    """The audit's figures.

    Raises:
        TacitError: this plan cannot be audited; says why.
    """
    assert plan.noise is not None
    if (why := canary_audit.refuses(_kept(plan))) is not None:
        raise PlanError(why)
    source = np.random.default_rng([scene.seed, 5])
    chosen = np.sort(source.permutation(len(scene.clients))[: 2 * scene.cohort])
    values = size(observe(plan, scene.clients.take([0]), Protection()).like)
    most = min(LOUD, canaries) if plan.noise.per_client else canaries
    count = min(most, max(FEWEST, 4 * values))  # more than fit into so many values would hide one another
    drawn = 0 < plan.cohort < of
    ready = replace(
        _kept(plan),
        rounds=min(plan.rounds, ROUNDS),
        cohort=max(1, round(plan.cohort / of * (len(chosen) + count))) if drawn else 0,
        sampling=plan.sampling if drawn else "fixed",
        dropout=0.0,
        aggregator=None,
        simulation=True,
    )
    delta = float(getattr(plan.noise, "delta", 1e-5))
    nodes = NODES if isinstance(plan.noise, Shared) else 1
    return canary_audit.audit(ready, scene.clients.take(chosen), None, delta, count, nodes, scene.seed).summary()


def _kept(plan: Plan) -> Plan:
    """The plan as it is audited: without what shortens contributions, and with as many shares of noise as nodes."""
    protect = tuple(t for t in plan.protect if t.noisy or not t.lossy)
    if not isinstance(plan.noise, Shared):
        return replace(plan, protect=protect, secure_sum=None)
    mine: Any = replace(plan.noise, survivors_at_least=NODES, colluding=0)
    shares = (*protect[:-1], mine)
    return replace(plan, protect=shares, secure_sum=SecAgg(minimum=NODES), secure_between="nodes")


def _clients(data: Interactions | Tabular) -> int:
    return data.customers if isinstance(data, Interactions) else len(data)
