"""The report's part on what privacy costs: quality by epsilon, with intervals over customers."""

from __future__ import annotations

import html
from collections.abc import Mapping
from importlib.resources import files
from math import log2
from typing import Any

from markupsafe import Markup

from tacit.audit.panels import Panel
from tacit.audit.svg import WIDE, axis, frame, grid, mark, scale, tag
from tacit.audit.tables import Table, plain
from tacit.audit.typeset import number, share, span


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
    levels = {str(k): float(v) for k, v in given.items() if number(v) is not None} if isinstance(given, Mapping) else {}
    rows = [
        [f"{p['epsilon']:g}", share(p["hr@10"]), span(p["low"], p["high"]), f"{p.get('spread', 0.0):.3f}"]
        for p in points
    ]
    rows += [[name, share(value), "", ""] for name, value in levels.items()]
    head = ["Epsilon", "HR@10", "95\u00a0% interval", "Standard deviation over noise"]
    caption = (
        f"Means over {part.get('seeds', '?')} draws of the noise; whiskers are over {part.get('customers', '?')} "
        f"customers. Delta {part.get('delta', '?')} per customer."
    )
    return Panel("Quality by privacy", caption, _chart(points, levels), plain(head, rows))


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


def _chart(points: list[Mapping[str, Any]], levels: Mapping[str, float]) -> Markup:
    """Points with whiskers over a logarithmic axis of epsilon, dashed levels."""
    left, right, top, bottom = 48, WIDE - 150, 12, 292
    values = [float(p[key]) for p in points for key in ("hr@10", "low", "high")]
    low, high, ticks = axis([*values, *levels.values()])
    places = [log2(float(p["epsilon"])) for p in points]
    spread = max(places) - min(places) or 1.0
    x, y = scale(min(places), min(places) + spread, left + 16, right - 16), scale(low, high, bottom, top)
    parts = [grid(ticks, y, left, right, share)]
    for name, value in levels.items():
        parts.append(tag("line", x1=left, x2=right, y1=y(value), y2=y(value), class_="level kp"))
        parts.append(tag("text", name, x=right + 8, y=y(value) + 4, class_="name"))
    path = " ".join(f"{x(place):.1f},{y(float(p['hr@10'])):.1f}" for place, p in zip(places, points, strict=True))
    parts.append(tag("polyline", points=path, fill="none", class_="line k1"))
    for place, p in zip(places, points, strict=True):
        parts.append(tag("line", x1=x(place), x2=x(place), y1=y(p["low"]), y2=y(p["high"]), class_="whisker k1"))
        parts.append(mark("k1", x(place), y(p["hr@10"])))
        parts.append(tag("text", f"{p['epsilon']:g}", x=x(place), y=bottom + 18, class_="tick middle"))
    parts.append(tag("text", "epsilon", x=(left + right) / 2, y=bottom + 36, class_="tick middle name"))
    said = "; ".join(f"epsilon {p['epsilon']:g}: {share(p['hr@10'])}" for p in points)
    return frame("tradeoff", "Hit rate by epsilon", said, WIDE, bottom + 42, parts)
