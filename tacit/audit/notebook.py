"""A report in a notebook cell: a small fragment of HTML, in the notebook's own colours, without scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from tacit.audit.arms import arms, headline
from tacit.audit.report_html import assurance_tiles, facts, finding
from tacit.audit.svg import tag
from tacit.audit.tables import metrics_table
from tacit.audit.typeset import clean

_QUIET = "opacity: .7; font-size: 90%"
_CELL = (
    "text-align: right; padding: 3px 0 3px 18px; border: 0; white-space: nowrap; vertical-align: top; background: none"
)
_NAME = "text-align: left; padding: 3px 0; border: 0; font-weight: 400; vertical-align: top; background: none"
_TABLE = "border-collapse: collapse; color: inherit; font-size: inherit; font-variant-numeric: tabular-nums"
_HEAD = "border-bottom: 1px solid currentColor"


def html(report: Mapping[str, Any]) -> str:
    """What Jupyter shows of a result, for `_repr_html_`: the finding, the metrics, privacy, ledger and cost."""
    report = clean(report)
    found = arms(report)
    data = report.get("data")
    name = data.get("name") if isinstance(data, Mapping) else None
    parts = [tag("strong", name if isinstance(name, str) and name else "Federated run")]
    words = " · ".join(_counted(label, text) for label, text in facts(report) if label != "Trainer")
    if words:
        parts.append(tag("span", f"  {words}", style=_QUIET))
    if text := finding(report, found, headline(found)):
        parts.append(tag("div", text, style="margin: 6px 0 8px; max-width: 46em"))
    if (table := metrics_table(found, report)) is not None:
        head = [tag("th", "", style=f"{_NAME}; {_HEAD}")]
        head += [tag("th", title, title=meaning, style=f"{_CELL}; {_HEAD}") for title, meaning in table.head]
        rows = [tag("tr", *head)]
        for arm, cells in table.rows:
            drawn = [
                tag("td", figure, *([tag("div", small, style=_QUIET)] if small else []), style=_CELL)
                for figure, small in cells
            ]
            rows.append(tag("tr", tag("th", arm, scope="row", style=_NAME), *drawn))
        parts.append(tag("table", *rows, style=_TABLE))
    for tile in assurance_tiles(report):
        small = [*(text for text in tile.small if text), *([tile.alarm] if tile.alarm else [])]
        parts.append(tag("div", f"{tile.label}: {', '.join([tile.figure, *small])}", style="margin-top: 4px"))
    folder = report.get("run_folder")
    if isinstance(folder, str) and folder:
        parts.append(tag("div", "Report: ", tag("code", f"{folder}/report.html"), style=f"margin-top: 4px; {_QUIET}"))
    return str(tag("div", Markup("").join(parts), style="line-height: 1.4"))


def _counted(label: str, text: str) -> str:
    if label == "Data":
        return text
    return f"{text} {label.lower().removesuffix('s') if text == '1' else label.lower()}"
