"""The report's part on what privacy costs: quality by epsilon, with intervals over customers."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import log2
from typing import Any

from markupsafe import Markup

from tacit.audit.arms import arm_name, arms
from tacit.audit.charts import Level, both, legend, tell
from tacit.audit.panels import Panel
from tacit.audit.svg import WIDE, axis, cut, frame, grid, mark, scale, spread, swatch, tag
from tacit.audit.tables import Table, plain
from tacit.audit.typeset import count, number, scientific, share, span

NOISELESS = "no noise"  # among the levels: the training itself without noise
_LEVELS = ("kp", "k3", "k4", "k5", "k6", "kl")


@dataclass(frozen=True, slots=True)
class Point:
    """What one epsilon came to."""

    epsilon: float
    value: float
    low: float
    high: float


def tradeoff_panel(report: Mapping[str, Any]) -> Panel | None:
    """The panel of a report that has "tradeoff" with points; None where it has none."""
    part = report.get("tradeoff")
    points = part.get("points") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(points, list):
        return None
    wanted = ("epsilon", "hr@10", "low", "high")
    points = [p for p in points if isinstance(p, Mapping) and all(number(p.get(key)) is not None for key in wanted)]
    points = sorted((p for p in points if p["epsilon"] > 0.0), key=lambda p: float(p["epsilon"]))
    if not points:
        return None
    given = part.get("levels")
    known = {str(k): float(v) for k, v in given.items() if number(v) is not None} if isinstance(given, Mapping) else {}
    styles = {arm.key: arm.style for arm in arms(report)}
    spare = (style for style in _LEVELS * len(known) if style not in styles.values())
    levels = [Level(_name(k), "kc" if k == NOISELESS else styles.get(k) or next(spare), v) for k, v in known.items()]
    more = [key for key in ("rounds",) if any(number(p.get(key)) is not None for p in points)]
    rows = [
        [
            f"{p['epsilon']:g}",
            share(p["hr@10"]),
            span(p["low"], p["high"]),
            share(p.get("spread")),
            share(p.get("ndcg@10")),
            *(count(p.get(key)) for key in more),
        ]
        for p in points
    ]
    rows += [[level.name, share(level.value), "", "", "", *("" for _ in more)] for level in levels]
    head = ["Epsilon", "HR@10", "95\u00a0% interval", "Deviation over noise", "NDCG@10", *map(str.capitalize, more)]
    drawn = [Point(*(float(p[key]) for key in wanted)) for p in points]
    style = styles.get(str(part.get("training"))) or "k1"
    name = arm_name(part["training"]) if isinstance(part.get("training"), str) else "This training"
    return Panel("Quality by privacy", _caption(part), _chart(drawn, levels, name, style), plain(head, rows))


def _caption(part: Mapping[str, Any]) -> str:
    name = f"the training “{part['training']}”" if isinstance(part.get("training"), str) else "the training"
    out = (
        f"HR@10 on test items of {name} at several ε, each for all its rounds, per {part.get('unit', 'customer')} at "
        f"δ = {scientific(part.get('delta'))} ({part.get('neighbouring', 'add-or-remove-one')}). Points are means over "
        f"{count(part.get('seeds'))} draws of the noise; whiskers are 95\u00a0% intervals over "
        f"{count(part.get('customers'))} customers."
    )
    return out + (
        " An experiment on these rows: no ε stated here or elsewhere counts all its points, nor the line without noise."
        " On customers who were promised an ε, each point would be a release to pay for."
    )


def _name(key: str) -> str:
    """How a level is called: a model's key in a report as its heading there."""
    return "Without noise" if key == NOISELESS else arm_name(key)


def page(curve: Mapping[str, Any], title: str) -> str:
    """A page of its own: well-formed, no script, no network.

    Args:
        curve: what a report holds under "tradeoff".
        title: its heading.
    """
    panel = tradeoff_panel({"tradeoff": curve})
    style = (files("tacit.audit") / "templates" / "report.css").read_text(encoding="utf-8")
    named = html.escape(title)
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    body = f"<p>{html.escape(panel.caption)}</p>{panel.chart}{_table(panel.table)}" if panel else "<p>No point.</p>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{named}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n<section>\n<h1>{named}</h1>\n{body}\n</section>\n</main>\n</body>\n</html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in (table.corner, *(n for n, _ in table.head)))
    lines = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>{"".join(f"<td>{html.escape(c)}</td>" for c, _ in cells)}</tr>'
        for name, cells in table.rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _chart(points: Sequence[Point], levels: Sequence[Level], name: str, style: str) -> Markup:
    """Points with whiskers over a logarithmic axis of epsilon, dashed levels with their names."""
    said = "; ".join(f"epsilon {p.epsilon:g}: {share(p.value)}" for p in points)
    said += "".join(f"; {level.name}: {share(level.value)}" for level in levels)
    names = [(name, style, True), *((level.name, level.style, False) for level in levels)]

    def draw(width: int) -> Markup:
        wide = width == WIDE
        left, right, top, bottom = 48, width - (150 if wide else 6), 12, (292 if wide else 226)
        low, high, ticks = axis([v for p in points for v in (p.value, p.low, p.high)] + [v.value for v in levels])
        places = [log2(p.epsilon) for p in points]
        x, y = scale(min(places), max(places), left + 16, right - 16), scale(low, high, bottom, top)
        parts = [
            grid(ticks, y, left, right, lambda value: f"{value:.2f}" if ticks[1] - ticks[0] >= 0.01 else share(value))
        ]
        for level in levels:
            place = y(level.value)
            parts.append(tag("line", x1=left, x2=right, y1=place, y2=place, class_=f"level {level.style}"))
        path = " ".join(f"{x(place):.1f},{y(p.value):.1f}" for place, p in zip(places, points, strict=True))
        parts.append(tag("polyline", points=path, fill="none", class_=f"line {style}"))
        taken = -100.0  # by the last label under the axis, so that close ones do not run into each other
        for place, p in zip(places, points, strict=True):
            tip = f"ε {p.epsilon:g}\n{tell(p.value, p.low, p.high, share)}"
            whisker = tag("line", x1=x(place), x2=x(place), y1=y(p.low), y2=y(p.high), class_=f"whisker {style}")
            area = tag("rect", x=x(place) - 12, y=top, width=24, height=bottom - top, class_="hover")
            parts.append(tag("g", area, whisker, mark(style, x(place), y(p.value)), class_="row", data_tip=tip))
            shown = f"{p.epsilon:g}"
            if x(place) - 3.5 * len(shown) >= taken + 4:
                parts.append(tag("text", shown, x=x(place), y=bottom + 18, class_="tick middle"))
                taken = x(place) + 3.5 * len(shown)
        parts.append(
            tag("text", "ε, on a logarithmic scale", x=(left + right) / 2, y=bottom + 36, class_="tick middle name")
        )
        if wide:
            beside = [y(points[-1].value), *(y(level.value) for level in levels)]
            for at, (beside_it, kind, dot) in zip(spread(beside, 17, top + 4, bottom), names, strict=True):
                parts.append(swatch(kind, right + 10, at, dot))
                parts.append(tag("text", cut(beside_it, 18), x=right + 34, y=at + 4, class_="name"))
        return frame("tradeoff", "Hit rate by epsilon", said, width, bottom + 42, parts)

    return both(draw, legend(names))
