"""Charts as inline SVG: lines by round, dots with whiskers, bars. No script is needed to read them.

Every chart is drawn twice, for a wide column and for a phone; the page's style shows one. Colours are classes
(k1, k2, ... of the page's palette), and no two series of a chart differ by colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tacit.audit.svg import (
    NARROW,
    WIDE,
    Format,
    Scale,
    axis,
    cut,
    frame,
    grid,
    label,
    mark,
    rounds,
    scale,
    spread,
    swatch,
    tag,
)

MOST_MARKS = 8  # along one line, counted back from its end
LONGEST_NAME = 28  # letters beside a line
MOST_TIPS = 160  # rounds that answer to a pointer; the table under the chart has them all


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a round, with the ends of its interval where known."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """A line, and the final figure beside it."""

    name: str
    style: str  # colour class
    points: tuple[Point, ...]
    final: Point | None = None  # drawn in a column of its own, right of the last round; its x is not used


@dataclass(frozen=True, slots=True)
class Level:
    """A straight line to compare with."""

    name: str
    style: str
    value: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a chart of dots or bars."""

    name: str
    style: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""  # small, behind the name


def both(draw: Callable[[int], Markup], legend: str = "") -> Markup:
    """A chart for both widths; the narrow one has its legend above it."""
    return Markup('<div class="wide">{}</div><div class="narrow">{}{}</div>').format(draw(WIDE), legend, draw(NARROW))


def legend(items: Sequence[tuple[str, str, bool]]) -> Markup:
    """A list of (name, style, whether it was measured point by point)."""
    drawn = [
        tag("li", tag("svg", swatch(style, 1, 6, dot), viewBox="0 0 20 12", aria_hidden="true"), text)
        for text, style, dot in items
    ]
    return tag("ul", *drawn, class_="legend")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Lines by round with shaded intervals, dashed levels, and a last column of final figures."""

    name: str  # id in the page
    title: str
    description: str
    series: tuple[Series, ...]
    levels: tuple[Level, ...] = ()
    say: Format  # a value in a tip
    tick: Format  # a value at the axis
    zero: bool = False  # whether the axis starts at 0
    final: str = "final"  # what the last column is called

    def svg(self) -> Markup:
        """Both drawings and their legend."""
        return both(self._draw, self._legend())

    def _draw(self, width: int) -> Markup:
        wide = width == WIDE
        finals = [s for s in self.series if s.final is not None]
        column = 26 + 13 * len(finals) if finals else 0
        left, right, top, bottom = 48, width - (128 if wide else 6) - column, 12, (292 if wide else 226)
        every = [p for s in self.series for p in (*s.points, s.final) if p is not None]
        values = [v for p in every for v in (p.y, p.low, p.high) if v is not None]
        low, high, ticks = axis([*values, *(level.value for level in self.levels)], self.zero)
        first, last = (pick(p.x for s in self.series for p in s.points) for pick in (min, max))
        x, y = scale(first, last, left + 8, right - 8), scale(low, high, bottom, top)
        parts = [grid(ticks, y, left, right + column, self.tick), rounds(first, last, x, bottom, wide)]
        beside: list[tuple[float, str, str, bool]] = []
        for level in self.levels:
            place = y(level.value)
            parts.append(tag("line", x1=left, x2=right + column, y1=place, y2=place, class_=f"level {level.style}"))
            beside.append((place, level.name, level.style, False))
        for one in self.series:
            parts.extend(_line(one, x, y))
            beside.append((y((one.final or one.points[-1]).y), one.name, one.style, True))
        if finals:
            parts.append(tag("line", x1=right + 6, x2=right + 6, y1=top, y2=bottom, class_="rule"))
            parts.append(tag("text", self.final, x=right + 6 + column / 2, y=bottom + 18, class_="tick middle"))
            for number, one in enumerate(finals):
                assert one.final is not None
                place = right + 6 + column / 2 + 13 * (number - (len(finals) - 1) / 2)
                parts.extend(_upright(one.final, place, y, one.style))
        parts.append(self._tips(x, y, left, right, top, bottom))
        if wide:
            places = spread([place for place, *_ in beside], 17, top + 4, bottom)
            for place, (_, text, style, dot) in zip(places, beside, strict=True):
                parts.append(swatch(style, right + column + 10, place, dot))
                parts.append(tag("text", cut(text, LONGEST_NAME), x=right + column + 34, y=place + 4, class_="name"))
        return frame(self.name, self.title, self.description, width, bottom + 42, parts)

    def _legend(self) -> Markup:
        items = [(s.name, s.style, True) for s in self.series] + [(v.name, v.style, False) for v in self.levels]
        return legend(items)

    def _tips(self, x: Scale, y: Scale, left: float, right: float, top: float, bottom: float) -> Markup:
        at: dict[float, list[tuple[Series, Point]]] = {}
        for one in self.series:
            for p in one.points:
                at.setdefault(p.x, []).append((one, p))
        every = sorted(at)
        chosen = every[:: 1 + len(every) // MOST_TIPS]
        out = []
        for number, value in enumerate(chosen):
            low = left if number == 0 else (x(chosen[number - 1]) + x(value)) / 2
            high = right if number == len(chosen) - 1 else (x(chosen[number + 1]) + x(value)) / 2
            marks = [tag("line", x1=x(value), x2=x(value), y1=top, y2=bottom, class_="guide")]
            marks += [mark(s.style, x(value), y(p.y)) for s, p in at[value]]
            text = "\n".join(
                [f"Round {value:,.0f}", *(f"{s.name}  {tell(p.y, p.low, p.high, self.say)}" for s, p in at[value])]
            )
            area = tag("rect", x=low, y=top, width=max(high - low, 1.0), height=bottom - top, class_="hover")
            out.append(tag("g", area, *marks, class_="hit", data_tip=text))
        return Markup("").join(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dots:
    """One dot with its whisker for each row, on a common scale, with a dashed line to compare with."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    ends: tuple[float, float]  # of the scale
    say: Format
    level: Level | None = None

    def svg(self) -> Markup:
        """Both drawings."""
        return both(self._draw)

    def _draw(self, width: int) -> Markup:
        wide, pitch, top = width == WIDE, 27, 6
        left, right = (196, width - 150) if wide else (138, width - 48)
        bottom = top + pitch * len(self.rows)
        x = scale(*self.ends, left, right)
        parts = []
        for value in axis(self.ends, count=6 if wide else 3)[2]:
            if self.ends[0] <= value <= self.ends[1]:
                parts.append(tag("line", x1=x(value), x2=x(value), y1=top, y2=bottom, class_="grid"))
                parts.append(tag("text", f"{value:.3g}", x=x(value), y=bottom + 17, class_="tick middle"))
        if self.level is not None:
            place = x(self.level.value)
            parts.append(tag("line", x1=place, x2=place, y1=top, y2=bottom, class_=f"level {self.level.style}"))
        for number, row in enumerate(self.rows):
            middle = top + pitch * (number + 0.5)
            body = [_hover(middle, pitch, width), label(row.name, row.note, middle, 28 if wide else 20)]
            if row.low is not None and row.high is not None:
                body.append(
                    tag("line", x1=x(row.low), x2=x(row.high), y1=middle, y2=middle, class_=f"whisker {row.style}")
                )
                if wide:
                    ends = f"{self.say(row.low)}–{self.say(row.high)}"
                    body.append(tag("text", ends, x=right + 58, y=middle + 4, class_="value soft"))
            body.append(mark(row.style, x(row.value), middle))
            body.append(tag("text", self.say(row.value), x=right + 10, y=middle + 4, class_="value"))
            parts.append(tag("g", *body, class_="row", data_tip=_row_tip(row, self.say)))
        return frame(self.name, self.title, self.description, width, bottom + 24, parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """One bar from zero for each row, its value at its end."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    say: Format

    def svg(self) -> Markup:
        """Both drawings."""
        return both(self._draw)

    def _draw(self, width: int) -> Markup:
        wide, pitch, top = width == WIDE, 27, 4
        left, right = (196, width - 90) if wide else (138, width - 64)
        x = scale(0.0, max(row.value for row in self.rows) or 1.0, left, right)
        parts = [tag("line", x1=left, x2=left, y1=top, y2=top + pitch * len(self.rows), class_="rule")]
        for number, row in enumerate(self.rows):
            middle = top + pitch * (number + 0.5)
            bar = tag("rect", x=left, y=middle - 6, width=x(row.value) - left, height=12, class_=f"bar {row.style}")
            text = tag("text", self.say(row.value), x=x(row.value) + 8, y=middle + 4, class_="value")
            name = label(row.name, row.note, middle, 28 if wide else 20)
            tip = _row_tip(row, self.say)
            parts.append(tag("g", _hover(middle, pitch, width), name, bar, text, class_="row", data_tip=tip))
        return frame(self.name, self.title, self.description, width, top + pitch * len(self.rows) + 6, parts)


def strip(row: Row, ends: tuple[float, float], width: int = 160) -> Markup:
    """A dot and whisker on a bare rule: the picture in a tile, on the scale that its neighbours share."""
    x = scale(*ends, 5.0, width - 5.0)
    parts = [tag("line", x1=0, x2=width, y1=7, y2=7, class_="rule")]
    if row.low is not None and row.high is not None:
        parts.append(tag("line", x1=x(row.low), x2=x(row.high), y1=7, y2=7, class_=f"whisker {row.style}"))
    parts.append(mark(row.style, x(row.value), 7.0))
    return tag(
        "svg", *parts, viewBox=f"0 0 {width} 14", preserveAspectRatio="xMinYMid", class_="strip", aria_hidden="true"
    )


def reach(rows: Sequence[Row], extra: Sequence[float] = ()) -> tuple[float, float]:
    """The common ends of a scale for rows with their whiskers, with a margin."""
    values = [v for row in rows for v in (row.value, row.low, row.high) if v is not None] + list(extra)
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05
    return low - margin, high + margin


def tell(value: float, low: float | None, high: float | None, say: Format) -> str:
    """A value with its interval: 0.642 (0.612–0.671)."""
    return say(value) if low is None or high is None else f"{say(value)} ({say(low)}–{say(high)})"


def _line(one: Series, x: Scale, y: Scale) -> list[Markup]:
    out, many = [], len(one.points) > 1
    ends = [(x(p.x), y(p.low), y(p.high)) for p in one.points if p.low is not None and p.high is not None]
    if many and len(ends) > 1:
        edge = [f"{a:.1f},{high:.1f}" for a, _, high in ends] + [f"{a:.1f},{low:.1f}" for a, low, _ in reversed(ends)]
        out.append(tag("path", d=f"M{'L'.join(edge)}Z", class_=f"band {one.style}"))
    if many:
        path = "L".join(f"{x(p.x):.1f},{y(p.y):.1f}" for p in one.points)
        out.append(tag("path", d=f"M{path}", class_=f"line {one.style}"))
    elif one.final is None:
        out.extend(_upright(one.points[0], x(one.points[0].x), y, one.style))
    out.extend(mark(one.style, x(p.x), y(p.y), 3.6) for p in one.points[:: -max(1, -(-len(one.points) // MOST_MARKS))])
    return out


def _upright(point: Point, place: float, y: Scale, style: str) -> list[Markup]:
    out = []
    if point.low is not None and point.high is not None:
        out.append(tag("line", x1=place, x2=place, y1=y(point.low), y2=y(point.high), class_=f"whisker {style}"))
    return [*out, mark(style, place, y(point.y))]


def _hover(middle: float, pitch: float, width: int) -> Markup:
    return tag("rect", x=0, y=middle - pitch / 2, width=width, height=pitch, class_="hover")


def _row_tip(row: Row, say: Format) -> str:
    note = f" ({row.note})" if row.note else ""
    return f"{row.name}{note}\n{tell(row.value, row.low, row.high, say)}"
