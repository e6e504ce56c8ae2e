"""The report as one page: it needs no network, and reads in light and dark, on paper and on a phone."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tacit.audit.arms import METRICS, Arm, arms, headline
from tacit.audit.attacks_panel import attacks_panel
from tacit.audit.budget_panel import budget_panel, command
from tacit.audit.charts import Row, reach, strip, tell
from tacit.audit.panels import bytes_panel, curves_of, epsilon_panel, group_panels, listed, quality_panel
from tacit.audit.tables import beyond_table, classification_table, metrics_table
from tacit.audit.tradeoff import tradeoff_panel
from tacit.audit.typeset import clean, count, duration, epsilon, number, scientific, share, size, span

MOST_TILES = 6


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the summary."""

    label: str
    figure: str
    small: tuple[str, ...] = ()
    style: str = ""
    picture: Markup | None = None
    alarm: str = ""  # said aloud where something does not hold


def render(report: Mapping[str, Any]) -> str:
    """The page of a report: HTML that is well-formed XML too; what the report lacks is absent.

    Args:
        report: what report.json holds. Unknown keys are passed over.
    """
    report = clean(report)
    found = arms(report)
    metric = headline(found)
    folder = files("tacit.audit") / "templates"
    script = (folder / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    return page.render(
        style=Markup((folder / "report.css").read_text(encoding="utf-8")),  # noqa: S704  our own file
        script=Markup(script),  # noqa: S704  our own file
        script_digest=digest,
        title=_text(_part(report, "data").get("name")) or "Run",
        facts=facts(report),
        finding=finding(report, found, metric),
        scores=score_tiles(found, metric) if metric else [],
        metric=METRICS[metric] if metric else None,
        assurances=assurance_tiles(report),
        left=left_the_house(report),
        sent=[_named(line, [*(arm.key for arm in found), *curves_of(report)]) for line in _strings(report.get("sent"))],
        quality=quality_panel(report, found, metric) if metric else None,
        epsilon=epsilon_panel(report, found),
        statements=statements(report),
        traffic=bytes_panel(report, found),
        groups=group_panels(report, found, metric) if metric else [],
        group_arm=next((a.name for a in found if metric in a.figures), "") if metric else "",
        metrics=metrics_table(found, report),
        classification=classification_table(report),
        beyond=beyond_table(report),
        budget=budget_panel(report),
        budget_command=command(report),
        attacks=attacks_panel(report),
        tradeoff=tradeoff_panel(report),
        notes=_strings(report.get("notes")),
        plan=_text(report.get("plan")),
        check=_check(report),
    )


def facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was trained on, by whom, in (name, words)."""
    data = _part(report, "data")
    sizes = [f"{count(data[key])} {key}" for key in ("customers", "items", "features", "rows") if _has(data, key)]
    out = [("Data", ", ".join(sizes))] if sizes else []
    out += [
        (name, count(report[key])) for key, name in (("clients", "Clients"), ("rounds", "Rounds")) if _has(report, key)
    ]
    return out + ([("Trainer", report["trainer"])] if _text(report.get("trainer")) else [])


_REACHED = {
    "centralized": "training on pooled data",
    "popularity": "recommending what is popular",
    "local": "every client alone",
}


def finding(report: Mapping[str, Any], found: Sequence[Arm], metric: str | None) -> str:
    """The result in one or two sentences."""
    shown = {arm.key: arm for arm in found if metric in arm.figures}
    if metric is None or not shown:
        return ""
    first = shown.get("federated") or next(iter(shown.values()))
    out = f"{first.name} training reached {_said(METRICS[metric][0])} {_with_interval(first, metric)}"
    others = [
        f"{words} {_with_interval(shown[key], metric)}"
        for key, words in _REACHED.items()
        if key in shown and shown[key] is not first
    ]
    out += f"; {listed(others)}." if others else "."
    if "private" in shown and shown["private"] is not first:
        privacy = _part(report, "privacy")
        budget = f" (ε = {epsilon(privacy['epsilon'])})" if _has(privacy, "epsilon") else ""
        unit = _text(privacy.get("unit")) or "client"
        out += f" With noise that hides each {unit}{budget} it reached {_with_interval(shown['private'], metric)}."
    return out


def score_tiles(found: Sequence[Arm], metric: str) -> list[Tile]:
    """The headline metric of each arm, all on one scale."""
    first = ("federated", "private", "centralized")
    shown = sorted((arm for arm in found if metric in arm.figures), key=lambda arm: _place(arm.key, first))[:MOST_TILES]
    rows = [Row(a.name, a.style, f.value, f.low, f.high) for a in shown for f in (a.figures[metric],)]
    ends = reach(rows) if rows else (0.0, 1.0)
    return [Tile(row.name, share(row.value), (span(row.low, row.high),), row.style, strip(row, ends)) for row in rows]


def assurance_tiles(report: Mapping[str, Any]) -> list[Tile]:
    """Privacy, secure sum, ledger and cost, each where the report has it."""
    out = []
    privacy, secure = _part(report, "privacy"), _part(report, "secure_sum")
    ledger, cost = _part(report, "ledger"), _part(report, "cost")
    if _has(privacy, "epsilon"):
        small = [f"at δ = {scientific(privacy['delta'])}"] if _has(privacy, "delta") else []
        small += [f"per {unit}"] if (unit := _text(privacy.get("unit"))) else []
        small += [relation] if (relation := _text(privacy.get("neighbouring"))) else []
        small += [f"and ε {epsilon(p['epsilon'])} per {p.get('unit')}" for p in _other_units(privacy)]
        alarm = "simulated noise: protects nobody" if privacy.get("simulation") is True else ""
        out.append(Tile("Privacy spent", f"ε {epsilon(privacy['epsilon'])}", tuple(small), alarm=alarm))
    if _has(secure, "clients"):
        small = [f"{count(secure['dropped'])} dropped out"] if _has(secure, "dropped") else []
        small += [f"{count(secure['proofs'])} proofs checked"] if _has(secure, "proofs") else []
        held = secure.get("exact")
        exact = "sums exact" if held is True else "exactness not checked" if held is None else ""
        alarm = "sums NOT exact" if held is False else ""
        out.append(Tile("Secure sum", f"{count(secure['clients'])} clients", (*small, exact), alarm=alarm))
    if _has(ledger, "entries"):
        holds = ledger.get("verified") is True
        small = ["every entry verified"] if holds else []
        alarm = "" if holds else "NOT verified"
        out.append(Tile("Ledger", f"{count(ledger['entries'])} entries", tuple(small), alarm=alarm))
    if _has(cost, "seconds"):
        small = [f"{size(cost[key])} {way} per client" for key, way in _WAYS if _has(cost, key)]
        if _has(cost, "peak_memory_mb"):
            small.append(f"{size(cost['peak_memory_mb'] * 1e6)} at peak")
        out.append(Tile("Time", duration(cost["seconds"]), tuple(small)))
    return out


_WAYS = (("bytes_up_per_client", "up"), ("bytes_down_per_client", "down"))


def statements(report: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Whole privacy statements, in (whose, [(name, words)]): of all trainings together, then of each."""
    privacy = _part(report, "privacy")
    out: list[tuple[str, list[tuple[str, str]]]] = []
    for whole in (privacy, *_other_units(privacy)):
        parts = whole.get("parts")
        single = [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list | tuple) else []
        if single:
            out.append((f"Together, per {whole.get('unit')}", _facts(whole, _TOGETHER)))
        out += [(f"Training “{part.get('training')}”", _facts(part, _ALONE)) for part in single or [whole]]
    if len(out) > 1:  # each has its training for a heading
        out = [(whose, [fact for fact in facts if fact[0] != "Training"]) for whose, facts in out]
    return [(whose, facts) for whose, facts in out if facts]


def _other_units(privacy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = privacy.get("other_units")
    given = found if isinstance(found, list | tuple) else []
    return [part for part in given if isinstance(part, Mapping) and _has(part, "epsilon")]


_TOGETHER = (
    ("epsilon", "Epsilon", epsilon),
    ("delta", "Delta", scientific),
    ("unit", "Unit", None),
    ("neighbouring", "Neighbours", None),
    ("epsilon_by_rdp", "Epsilon by RDP", epsilon),
)
_ALONE = (
    ("training", "Training", None),
    *_TOGETHER[:4],
    ("mechanism", "Mechanism", None),
    ("noise_in", "Noise in", None),
    ("noise_multiplier", "Noise multiplier", count),
    ("clip_norm", "Clip norm", count),
    ("sampling", "Sampling", None),
    ("sampling_rate", "Sampling rate", count),
    ("accountant", "Accountant", None),
    *_TOGETHER[4:],
)


def _facts(
    part: Mapping[str, Any], wanted: Sequence[tuple[str, str, Callable[[Any], str] | None]]
) -> list[tuple[str, str]]:
    out = []
    for key, name, say in wanted:
        value = part.get(key)
        if _text(value) if say is None else number(value) is not None:
            out.append((name, _text(value) if say is None else say(value)))
    return out


def left_the_house(report: Mapping[str, Any]) -> list[str]:
    """Plain sentences on what protects the messages; empty where the report says nothing of messages."""
    if not any(key in report for key in ("sent", "secure_sum", "privacy")):
        return []
    out = []
    secure, privacy = _part(report, "secure_sum"), _part(report, "privacy")
    which = f" of the training “{name}”" if (name := _text(secure.get("training"))) else ""
    if secure:
        least = f" of at least {count(secure['minimum'])} contributions" if _has(secure, "minimum") else ""
        out.append(
            f"The messages{which} were masked by a secure sum: the server could open only sums{least}, and no single "
            "contribution."
        )
    elif "secure_sum" in report:
        out.append("No secure sum was used: the server could read what it was sent.")
    which = f" of the training “{name}”" if (name := _text(privacy.get("training"))) else ""
    if privacy:
        unit = _text(privacy.get("unit")) or "client"
        where = _text(privacy.get("noise_in")) or "the sum"
        told = f" It holds against {whom}." if (whom := _text(privacy.get("against"))) else ""
        out.append(
            f"Noise was added to {where}{which}, so that what comes out hardly depends on any one {unit}: the smaller "
            f"ε, the less.{told}"
        )
        if privacy.get("simulation") is True:
            out.append("In this run that noise was simulated: whoever holds the plan can take it off again.")
    elif "privacy" in report:
        out.append("No noise was added, so nothing bounds what sums and model say of one client. No ε can be stated.")
    return out


def _with_interval(arm: Arm, metric: str) -> str:
    figure = arm.figures[metric]
    return tell(figure.value, figure.low, figure.high, share)


def _said(name: str) -> str:
    """A metric's name within a sentence: accuracy, but AUC."""
    return name.lower() if name.istitle() and name.isalpha() else name


def _named(line: str, names: Sequence[str]) -> tuple[str, str]:
    """A line that begins with a training's name and a colon, taken apart there."""
    name, colon, rest = line.partition(": ")
    return (name, rest) if colon and name in names else ("", line)


def _check(report: Mapping[str, Any]) -> str:
    folder = _text(report.get("run_folder"))
    logged = _has(_part(report, "ledger"), "entries")
    return f"tacit audit verify {shlex.quote(folder)}" if folder and logged else ""


def _place(key: str, first: Sequence[str]) -> int:
    return first.index(key) if key in first else len(first)


def _part(report: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = report.get(key)
    return part if isinstance(part, Mapping) else {}


def _has(part: Mapping[str, Any], key: str) -> bool:
    return number(part.get(key)) is not None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _strings(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list | tuple) else []
