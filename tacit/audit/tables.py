"""The report's tables: every figure in print, for those who want numbers and for readers that speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tacit.audit.arms import METRICS, Arm, Figure, arm_name, figures_of
from tacit.audit.typeset import NONE, count, number, share, span

Cell = tuple[str, str]  # (figure, small print under it)


@dataclass(frozen=True, slots=True)
class Table:
    """Column heads with what they mean, and rows that begin with a name."""

    corner: str  # what the rows are
    head: tuple[Cell, ...]  # (name, explanation)
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    note: str = ""


def _cell(figure: Figure | None) -> Cell:
    return (NONE, "") if figure is None else (share(figure.value), span(figure.low, figure.high))


def _of(named: Sequence[tuple[str, Mapping[str, Figure]]], note: str = "") -> Table | None:
    shown = [metric for metric in METRICS if any(metric in figures for _, figures in named)]
    if not shown:
        return None
    rows = tuple((name, tuple(_cell(figures.get(metric)) for metric in shown)) for name, figures in named)
    return Table("Model", tuple(METRICS[metric] for metric in shown), rows, note)


def metrics_table(found: Sequence[Arm], report: Mapping[str, Any]) -> Table | None:
    """Every metric of every arm with its interval."""
    return _of([(arm.name, arm.figures) for arm in found], _majority([report.get(arm.key) for arm in found]))


def classification_table(report: Mapping[str, Any]) -> Table | None:
    """Like or dislike, federated beside centralised; with its protocol and threshold."""
    part = report.get("classification")
    if not isinstance(part, Mapping):
        return None
    named = [(arm_name(key), figures_of(value)) for key, value in part.items() if isinstance(value, Mapping)]
    words = [text for text in (part.get("protocol"),) if isinstance(text, str)]
    if (threshold := number(part.get("threshold"))) is not None:
        words.append(f"Called positive from a probability of {threshold:g}.")
    words.append(_majority(list(part.values())))
    sentences = (text[0].upper() + text[1:].removesuffix(".") + "." for text in words if text)
    return _of(named, " ".join(sentences))


def _majority(parts: Sequence[Any]) -> str:
    values = [number(part.get("majority")) for part in parts if isinstance(part, Mapping)]
    value = next((v for v in values if v is not None), None)
    return "" if value is None else f"Always giving the commoner label would be right in {share(value)} of rows."


_BEYOND = {
    "coverage": ("Coverage", "share of the catalogue that is recommended to somebody"),
    "gini": ("Gini", "0 where all items are recommended alike, near 1 where few take it all"),
    "diversity": ("Diversity", "how unlike the items of one list are"),
    "novelty": ("Novelty", "bits of surprise at an average recommended item"),
}


def beyond_table(report: Mapping[str, Any]) -> Table | None:
    """Coverage, concentration, diversity and novelty of what is recommended."""
    part = report.get("beyond")
    rows = {k: v for k, v in part.items() if isinstance(v, Mapping)} if isinstance(part, Mapping) else {}
    keys = list(dict.fromkeys(key for row in rows.values() for key, value in row.items() if number(value) is not None))
    if not keys:
        return None
    head = tuple(_BEYOND.get(key.split("@")[0], (key.replace("_", " "), "")) for key in keys)
    named = tuple((arm_name(name), tuple(_beyond(row, key) for key in keys)) for name, row in rows.items())
    return Table("Model", head, named)


def _beyond(row: Mapping[str, Any], key: str) -> Cell:
    low, high = (part.get(key) if isinstance(part := row.get(end), Mapping) else None for end in ("low", "high"))
    return share(row.get(key)), span(low, high)


def plain(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of finished strings; the first of each row is its name."""
    cells = tuple((row[0], tuple((text, "") for text in row[1:])) for row in rows)
    return Table(head[0], tuple((name, "") for name in head[1:]), cells)


def group_rows(rows: Sequence[Mapping[str, Any]], metric: str) -> list[list[str]]:
    """Group, customers, figure, interval."""
    return [
        [str(r.get("group", "")), count(r.get("customers")), share(r.get(metric)), span(r.get("low"), r.get("high"))]
        for r in rows
    ]
