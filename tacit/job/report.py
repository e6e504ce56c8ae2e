"""What report.json says: every figure of a run, and what left each client."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Classifier, Statistics
from tacit.core.values import Event, Turn
from tacit.data.interactions import Interactions
from tacit.data.tabular import Tabular
from tacit.evaluation.cost import Cost
from tacit.job.arm import Arm
from tacit.job.assess import assess_ranking, assess_rows, probabilities, truth
from tacit.job.choice import statement
from tacit.job.task import ranking_task, tasks
from tacit.job.training import spent_on_examples
from tacit.learning.centralised import Centralised
from tacit.learning.trainers.choice import trainer_of
from tacit.privacy.accountant import Spent, spent
from tacit.privacy.unit import noisy_steps


def build(plan: Plan, arms: list[Arm], data: Interactions | Tabular, folder: Path, cost: Cost) -> dict[str, Any]:
    """The report but for the ledger's part, which is known when the run is sealed."""
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
    for name, baseline in zip(baseline_names(plan), plan.baselines, strict=True):
        report[name] = _baseline(plan, baseline, data)
    if classified:
        arm = classified[0]
        report["classification"] = {
            "protocol": "like = rating of 4 or more; each customer's last 20 % of ratings in time are the test",
            "threshold": 0.5,
            "federated": dict(arm.assessment.summary),
            "centralized": dict(arm.central.summary),
        }
    report["privacy"] = _stated([*(part for arm in arms for part in _privacy(arm)), *statement(plan)])
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


def baseline_names(plan: Plan) -> list[str]:
    """Keys of the report: item_item, and item_item_2 for a second one of the same kind."""
    kinds = [_snake(type(baseline).__name__) for baseline in plan.baselines]
    counts = [kinds[: place + 1].count(kind) for place, kind in enumerate(kinds)]
    return [kind if count == 1 else f"{kind}_{count}" for kind, count in zip(kinds, counts, strict=True)]


def levels(plan: Plan, report: Mapping[str, Any], drawn: str) -> dict[str, float]:
    """HR@10 of what a trade-off curve is compared with: the first training and the references, without protection.

    Only where they were measured on the items that the curve was.
    """
    (own,) = [each for each in (plan, *plan.also) if each.name == drawn]
    if (own.split_seed, own.validation, own.draws) != (plan.split_seed, plan.validation, plan.draws):
        return {}
    first = [plan.name] if plan.name != drawn and plan.noise is None else []
    found = {key: report[key].get("hr@10") for key in (*first, *baseline_names(plan)) if key in report}
    return {key: float(value) for key, value in found.items() if value is not None}


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


def _stated(parts: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What all trainings spent together, of the first one's unit; statements of other units do not add up with it."""
    wholes = [_together([p for p in parts if p["unit"] == unit]) for unit in dict.fromkeys(p["unit"] for p in parts)]
    if not wholes:
        return None
    return wholes[0] | ({"other_units": wholes[1:]} if len(wholes) > 1 else {})


def _together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One statement for everything that was released of the same units: epsilons and deltas add up."""
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


def _privacy(arm: Arm) -> list[dict[str, Any]]:
    """What a training spent: by noise on what is summed, and by noise in its clients' own steps."""
    out, noise, steps = [], arm.plan.noise, noisy_steps(arm.plan)
    if noise is not None and (cost := arm.trained.spent) is not None:
        rate = (arm.plan.cohort or arm.clients) / arm.clients
        event = noise.event(arm.plan.sampling, rate, Turn(rounds=arm.plan.rounds))
        assert event is not None
        clip = getattr(noise, "clip_norm", arm.plan.clip_norm)
        where = "each client's contribution" if noise.bound is None else "the sum"  # local noise has no bound
        told = {"noise_in": where, "against": _against(arm, event)}
        out.append(_statement(arm.plan, cost, event, clip) | told)
    if steps is not None and (cost := spent_on_examples(arm.plan, len(arm.trained.records))) is not None:
        whom = "everybody, the server included: each client adds the noise to its own steps"
        told = {"noise_in": "each client's own steps", "against": whom}
        out.append(_statement(arm.plan, cost, steps.events(1)[0], getattr(steps, "clip", None)) | told)
    return out


def _against(arm: Arm, event: Event) -> str:
    """Against whom a mechanism's epsilon holds. What is gained by drawing cohorts is lost to those who see them."""
    noise, delta = arm.plan.noise, float(getattr(arm.plan.noise, "delta", 0.0))
    alone = str(getattr(noise, "against", ""))
    late = "the server adds the noise and sees the sum without it"
    if event.sampling_rate >= 1.0 or arm.plan.secure_sum is None:
        return alone or f"whoever sees the model; {late}"
    drawn = [Event(**each) for record in arm.trained.records for each in record["events"]]
    known = spent([replace(each, sampling_rate=1.0) for each in drawn], delta).epsilon
    who = "the server and a round's parties" if alone else "a round's parties"
    whom = f"whoever does not learn who takes part; against {who}, who do, epsilon is {known:.3g}"
    return whom if alone else f"{whom}; {late}"


def _statement(plan: Plan, cost: Spent, event: Event, clip: float | None) -> dict[str, Any]:
    whole = "cohorts in turn" if plan.sampling == "cyclic" and plan.cohort else "everyone"
    return {
        "training": plan.name,
        **cost.summary(),
        "mechanism": event.mechanism,
        "noise_multiplier": event.noise_multiplier,
        "clip_norm": clip,
        "sampling": event.sampling if event.sampling_rate < 1.0 else whole,
        "sampling_rate": event.sampling_rate,
        "simulation": plan.simulation,
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
        "minimum": arm.plan.minimum,
        "rounds": len(records),
    } | _proven(arm)


def _proven(arm: Arm) -> dict[str, Any]:
    """What was proven of contributions before they were summed, and how often."""
    kind = getattr(arm.plan.secure_sum, "proof", "")
    return {"proof": kind, "proofs": sum(int(r.get("proofs", 0)) for r in arm.trained.records)} if kind else {}


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
        hidden = getattr(plan.secure_sum, "hides", "masked")
        what += f", {hidden} so that only sums of at least {plan.minimum} {whose} can be opened"
    else:
        what += ", readable by the server (no secure sum in this plan)"
    if plan.clip_norm is not None:
        what += f", cut to L2 norm {plan.clip_norm:g}"
    for part in _privacy(arm):
        what += f", with noise in {part['noise_in']} for epsilon {part['epsilon']:.2f} per {part['unit']}"
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
    if plan.folds and any(arm.trained.spent is not None for arm in arms):
        notes.append(
            f"Epsilon is that of one of {plan.folds} folds, whose model is kept. The other folds' models were trained "
            "with as much and are not published; a budget is charged for all."
        )
    for arm in arms:
        if arm.plan.secure_sum is None:
            notes.append(f"{arm.plan.name}: without a secure sum the server reads what each node sends.")
    return notes
