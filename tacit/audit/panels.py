"""From a report to its charts: what is drawn, in which words, with which table under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tacit.audit.arms import METRICS, Arm, Figure, arm_name
from tacit.audit.charts import Bars, Dots, Level, Lines, Point, Row, Series, reach
from tacit.audit.tables import Table, group_rows, plain
from tacit.audit.typeset import count, epsilon, number, share, size, span

MOST_LINES = 6  # of traffic in one chart: more are told apart as bars
_GROUPS = {"activity": "Activity", "gender": "Gender", "age_band": "Age band"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of the report."""

    heading: str
    caption: str
    chart: Markup
    table: Table


def curves_of(report: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Training -> its rounds, those that have a number."""
    part = report.get("curves")
    curves = part if isinstance(part, Mapping) else {}
    rounds = {
        name: [r for r in rows if isinstance(r, Mapping) and number(r.get("round")) is not None]
        for name, rows in curves.items()
        if isinstance(rows, Sequence) and not isinstance(rows, str)
    }
    return {name: rows for name, rows in rounds.items() if rows}


def quality_panel(report: Mapping[str, Any], found: Sequence[Arm], metric: str) -> Panel | None:
    """The headline metric by round, with what it is compared with."""
    curves = curves_of(report)
    name = METRICS[metric][0]
    series = []
    for arm in found:
        points = _points(curves.get(arm.key, []), metric)
        if points:
            series.append(Series(arm.name, arm.style, points, _final(arm.figures.get(metric))))
    if not series:
        return None
    drawn = {one.name for one in series}
    levels = [
        Level(arm.name, arm.style, arm.figures[metric].value)
        for arm in found
        if arm.name not in drawn and metric in arm.figures
    ]
    caption = f"{name} after each round"
    if any(p.low is not None for one in series for p in one.points):
        caption += ", with 95\u00a0% intervals"
    where = report.get("curves_on")
    caption += f", measured on {where}." if isinstance(where, str) else "."
    if any(one.final for one in series):
        caption += " The last column is the finished model as it was tested."
    if levels:
        names = [level.name[:1].lower() + level.name[1:] for level in levels]
        caption += f" The straight lines are {listed(names)}, tested the same way."
    chart = Lines(
        name="quality",
        title=f"{name} by round",
        description=_describe(series, levels),
        series=tuple(series),
        levels=tuple(levels),
        say=share,
        tick=lambda v: f"{v:.2f}",
        final="test",
    ).svg()
    keys = {arm.name: arm.key for arm in found}
    rows = _by_round({one.name: curves[keys[one.name]] for one in series}, metric, share, interval=True)
    return Panel("Quality by round", caption, chart, rows)


def epsilon_panel(report: Mapping[str, Any], found: Sequence[Arm]) -> Panel | None:
    """The privacy budget by round, of the trainings that spend one."""
    curves = curves_of(report)
    series = [
        Series(arm.name, arm.style, points) for arm in found if (points := _points(curves.get(arm.key, []), "epsilon"))
    ]
    if not any(len(one.points) > 1 for one in series):  # a single round draws no line: the statement says it all
        return None
    chart = Lines(
        name="epsilon",
        title="Privacy spent by round",
        description=_describe(series, []),
        series=tuple(series),
        say=lambda v: f"ε {epsilon(v)}",
        tick=lambda v: f"{v:g}",
        zero=True,
    ).svg()
    keys = {arm.name: arm.key for arm in found}
    rows = _by_round({one.name: curves[keys[one.name]] for one in series}, "epsilon", epsilon)
    caption = "ε spent up to and including each round" + (
        f", per {listed(units)}." if (units := _units(report)) else "."
    )
    return Panel("Privacy spent", caption, chart, rows)


def _units(report: Mapping[str, Any]) -> list[str]:
    """Whose presence the report's statements speak of."""
    privacy = report.get("privacy")
    others = privacy.get("other_units") if isinstance(privacy, Mapping) else None
    found = [privacy, *(others if isinstance(others, list | tuple) else ())]
    return [part["unit"] for part in found if isinstance(part, Mapping) and isinstance(part.get("unit"), str)]


def bytes_panel(report: Mapping[str, Any], found: Sequence[Arm]) -> Panel | None:
    """Bytes of one client in one round: bars where every round costs the same, lines where not."""
    ways = (("bytes_up", "up"), ("bytes_down", "down"))
    curves, styles = curves_of(report), {arm.key: (arm.name, arm.style) for arm in found}
    series: list[Series] = []
    head, columns = ["Round"], []
    for key, rows in curves.items():
        name, style = styles.get(key, (arm_name(key), "k6"))
        for field, way in ways:
            if points := _points(rows, field):
                series.append(Series(f"{name}, {way}", f"{style} {field}", points))
                head.append(f"{name}, {way}")
                columns.append({p.x: size(p.y) for p in points})
    if not series:
        return None
    steady = all(p.y == one.points[0].y for one in series for p in one.points)
    every = sorted({x for column in columns for x in column})
    by_round = plain(head, [[count(x), *(column.get(x, "") for column in columns)] for x in every])
    description = "; ".join(f"{one.name}: {size(one.points[-1].y)} in the last round" for one in series)
    title = "Bytes per client and round"
    if steady:
        bars = tuple(Row(one.name, one.style, one.points[0].y) for one in series)
        chart = Bars(name="bytes", title=title, description=description, rows=bars, say=size).svg()
        caption = "What one client sends and receives in one round that it takes part in; the same in every round."
        table = plain(["Message", "Bytes"], [[row.name, size(row.value)] for row in bars])
    elif len(series) > MOST_LINES:
        bars = tuple(Row(one.name, one.style, sum(p.y for p in one.points)) for one in series)
        title = "Bytes per client and training"
        description = "; ".join(f"{row.name}: {size(row.value)}" for row in bars)
        chart = Bars(name="bytes", title=title, description=description, rows=bars, say=size).svg()
        caption = "What one client that takes part in every round sends and receives in a whole training."
        table = by_round
    else:
        chart = Lines(
            name="bytes", title=title, description=description, series=tuple(series), say=size, tick=size, zero=True
        ).svg()
        caption = "What one client sends and receives in one round that it takes part in."
        table = by_round
    return Panel("Traffic", caption, chart, table)


def group_panels(report: Mapping[str, Any], found: Sequence[Arm], metric: str) -> list[Panel]:
    """The headline metric by group of customers, all groups on one scale."""
    part = report.get("groups")
    rows_of = {
        str(name): [r for r in rows if isinstance(r, Mapping)]
        for name, rows in (part.items() if isinstance(part, Mapping) else ())
        if isinstance(rows, Sequence) and not isinstance(rows, str)
    }
    if not any(metric in r for rows in rows_of.values() for r in rows):
        metric = "accuracy"  # what groups of rows are compared by
    groups = {name: [r for r in rows if number(r.get(metric)) is not None] for name, rows in rows_of.items()}
    arm = next((a for a in found if a.key not in ("centralized", "popularity", "local") and metric in a.figures), None)
    style = arm.style if arm else "k1"
    rows = {name: tuple(_group_row(r, metric, style) for r in part) for name, part in groups.items() if part}
    if not rows:
        return []
    level = Level(f"{arm.name}, everybody", style, arm.figures[metric].value) if arm else None
    ends = reach([row for part in rows.values() for row in part], [level.value] if level else [])
    panels = []
    for number_, (name, part) in enumerate(rows.items()):
        heading = _GROUPS.get(name, name.replace("_", " ").capitalize())
        chart = Dots(
            name=f"group-{number_}",
            title=f"{METRICS[metric][0]} by {heading.lower()}",
            description="; ".join(f"{row.name}: {share(row.value)}" for row in part),
            rows=part,
            ends=ends,
            say=share,
            level=level,
        ).svg()
        table = plain(
            [heading, "Customers", METRICS[metric][0], "95\u00a0% interval"], group_rows(groups[name], metric)
        )
        panels.append(Panel(heading, "", chart, table))
    return panels


def _group_row(row: Mapping[str, Any], metric: str, style: str) -> Row:
    value = number(row.get(metric)) or 0.0
    customers = count(row["customers"]) if number(row.get("customers")) is not None else ""
    return Row(str(row.get("group", "")), style, value, number(row.get("low")), number(row.get("high")), customers)


def _points(rows: Sequence[Mapping[str, Any]], field: str) -> tuple[Point, ...]:
    ends = field not in ("epsilon", "bytes_up", "bytes_down")
    out = []
    for row in rows:
        if (value := number(row.get(field))) is not None:
            low, high = (number(row.get(end)) if ends else None for end in ("low", "high"))
            out.append(Point(float(row["round"]), value, low, high))
    return tuple(sorted(out, key=lambda p: p.x))


def _final(figure: Figure | None) -> Point | None:
    return None if figure is None else Point(0.0, figure.value, figure.low, figure.high)


def _by_round(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], field: str, say: Callable[[Any], str], interval: bool = False
) -> Table:
    head = ["Round"] + [text for name in curves for text in ((name, "95\u00a0% interval") if interval else (name,))]
    every = sorted({float(r["round"]) for rows in curves.values() for r in rows})
    at = [{float(r["round"]): r for r in rows} for rows in curves.values()]
    rows = []
    for value in every:
        row = [count(value)]
        for column in at:
            record = column.get(value, {})
            known = number(record.get(field)) is not None
            row.append(say(record.get(field)) if known else "")
            if interval:
                row.append(span(record.get("low"), record.get("high")) if known else "")
        rows.append(row)
    return plain(head, rows)


def _describe(series: Sequence[Series], levels: Sequence[Level]) -> str:
    parts = []
    for one in series:
        first, last = one.points[0], one.points[-1]
        if len(one.points) > 1:
            parts.append(
                f"{one.name}: {_short(first.y)} in round {first.x:.0f}, {_short(last.y)} in round {last.x:.0f}"
            )
        else:
            parts.append(f"{one.name}: {_short(last.y)} in round {last.x:.0f}")
    return "; ".join([*parts, *(f"{level.name}: {_short(level.value)}" for level in levels)]) + "."


def _short(value: float) -> str:
    return share(value)


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: a, b and c."""
    return " and ".join(names) if len(names) < 3 else ", ".join(names[:-1]) + " and " + names[-1]
