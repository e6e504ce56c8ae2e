"""The report's part on the budget that a run drew from: what others spent, what this run spent, what is left."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tacit.audit.charts import both
from tacit.audit.panels import Panel
from tacit.audit.svg import WIDE, frame, scale, tag
from tacit.audit.tables import plain
from tacit.audit.typeset import count, epsilon, number, scientific

_PARTS = (  # key of the report, what it is called, class of its colour
    ("others", "spent by others", "k6"),
    ("this_run", "spent by this run", "k2"),
    ("reserved", "reserved by others", "kp"),
    ("left", "left", "rest"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the bar."""

    name: str
    style: str
    value: float


def budget_panel(report: Mapping[str, Any]) -> Panel | None:
    """The panel of a report that has "budget" with its parts; None where it has none."""
    budget = report.get("budget")
    if not isinstance(budget, Mapping) or not number(budget.get("epsilon")):
        return None
    parts = [Part(name, style, value) for key, name, style in _PARTS if (value := number(budget.get(key))) is not None]
    if len(parts) < len(_PARTS) or min(part.value for part in parts) < 0.0:
        return None
    whole = float(budget["epsilon"])
    shown = [part for part in parts if part.value > 0.0 or part.name != "reserved by others"]
    table = plain(
        ["Part", "Epsilon"], [*([_first(p.name), epsilon(p.value)] for p in shown), ["Budget", epsilon(whole)]]
    )
    return Panel("Budget", _caption(budget), _bar(shown, whole), table)


def command(report: Mapping[str, Any]) -> str:
    """How to read the budget's own record of this run."""
    budget = report.get("budget")
    if not isinstance(budget, Mapping) or not isinstance(budget.get("reservation"), str):
        return ""
    words = [f"--{key} {shlex.quote(str(budget.get(key, '')))}" for key in ("holder", "purpose")]
    return f"tacit budget history {' '.join(words)} --run {shlex.quote(budget['reservation'])}"


def _caption(budget: Mapping[str, Any]) -> str:
    terms = f"ε {epsilon(budget['epsilon'])} at δ = {scientific(budget.get('delta'))} for one {budget.get('unit')}"
    out = (
        f"The budget of {budget.get('holder')} for {budget.get('purpose')} allows {terms} "
        f"({budget.get('neighbouring')}) in all its time. This run's part is what it added to what others had spent: "
        "releases together cost less than the sum of their ε. As it stood when the run ended."
    )
    entries = budget.get("entries")
    if isinstance(entries, list | tuple) and len(entries) == 2 and number(budget.get("charges")) is not None:
        where = f"entry {entries[0]}" if entries[0] == entries[1] else f"entries {entries[0]} to {entries[1]}"
        charges = count(budget["charges"])
        out += f" Its charges ({charges}, each stored before its round began) stand in the history as {where}"
        again = number(budget.get("repeated"))
        out += f"; {count(again)} of them for rounds that a crash had repeated." if again else "."
    return out


def _bar(parts: list[Part], whole: float) -> Markup:
    said = "; ".join(f"{part.name}: epsilon {epsilon(part.value)}" for part in parts)

    def draw(width: int) -> Markup:
        x, top, high = scale(0.0, whole, 0.0, float(width)), 4.0, 26.0
        drawn, place = [], 0.0
        for part in parts:
            start, place = x(place), place + part.value
            length = max(x(place) - start, 0.0)
            piece = tag("rect", x=start, y=top, width=length, height=high, class_=f"bar {part.style}")
            tip = f"{_first(part.name)}\nε {epsilon(part.value)} of {epsilon(whole)}"
            drawn.append(tag("g", piece, class_="row", data_tip=tip))
        columns = len(parts) if width == WIDE else 2
        for number_, part in enumerate(parts):
            left, line = (number_ % columns) * width / columns, top + high + 22.0 + 40.0 * (number_ // columns)
            drawn.append(tag("rect", x=left, y=line - 10.0, width=11.0, height=11.0, class_=f"bar {part.style}"))
            drawn.append(tag("text", f"ε {epsilon(part.value)}", x=left + 18.0, y=line, class_="value"))
            drawn.append(tag("text", part.name, x=left + 18.0, y=line + 16.0, class_="tick"))
        lines = -(-len(parts) // columns)
        return frame("budget", "Budget spent and left", said, width, top + high + 6.0 + 40.0 * lines, drawn)

    return both(draw)


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]
