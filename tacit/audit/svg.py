"""Pieces of an inline SVG: elements with escaped contents, scales, axes, labels that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

WIDE, NARROW = 760, 350  # units of the view box, about one CSS pixel each
Scale = Callable[[float], float]  # a value -> a place in the view box
Format = Callable[[float], str]


def tag(name: str, *content: object, **attributes: object) -> Markup:
    """An element; contents and attribute values are escaped unless they are markup. `class_` and `x_y` become names."""
    parts = [Markup("<{}").format(name)]
    for key, value in attributes.items():
        shown = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
        parts.append(Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), shown))
    if not content:
        return Markup("").join([*parts, Markup("/>")])
    return Markup("").join([*parts, Markup(">"), *(escape(part) for part in content), Markup("</{}>").format(name)])


def frame(name: str, title: str, description: str, width: int, height: float, parts: Sequence[Markup]) -> Markup:
    """The svg element, which reads its title and description to those who do not see it."""
    one, two = f"{name}-{width}-title", f"{name}-{width}-description"
    head = [tag("title", title, id=one), tag("desc", description, id=two)]
    box = f"0 0 {width} {height:.0f}"
    return tag("svg", *head, *parts, viewBox=box, role="img", aria_labelledby=f"{one} {two}", class_="chart")


def scale(low: float, high: float, start: float, end: float) -> Scale:
    """A linear scale; a range of one value lies in the middle."""
    if high <= low:
        return lambda value: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)


def axis(values: Sequence[float], zero: bool = False, count: int = 5) -> tuple[float, float, list[float]]:
    """Ends and round ticks, about `count` of them, that hold all values."""
    low, high = min(values), max(values)
    if zero:
        low = min(low, 0.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(high) / 10 or 1.0
        low, high = (low if zero else low - margin), high + margin
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1.0, 2.0, 2.5, 5.0) if m * power >= raw), 10.0 * power)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return first * step, last * step, [place * step for place in range(first, last + 1)]


def grid(ticks: Sequence[float], y: Scale, left: float, right: float, say: Format) -> Markup:
    """Horizontal rules with their values at the left."""
    out = []
    for value in ticks:
        out.append(tag("line", x1=left, x2=right, y1=y(value), y2=y(value), class_="grid"))
        out.append(tag("text", say(value), x=left - 7, y=y(value) + 4, class_="tick end"))
    return Markup("").join(out)


def rounds(first: float, last: float, x: Scale, bottom: float, wide: bool) -> Markup:
    """Round numbers under a chart, whole ones only."""
    if last <= first:
        chosen = [first]
    else:
        chosen = [t for t in axis([first, last], count=8 if wide else 4)[2] if first <= t <= last and t == round(t)]
        step = chosen[1] - chosen[0] if len(chosen) > 1 else last - first
        if not chosen or chosen[0] - first >= step / 2:
            chosen.insert(0, first)
    out = [tag("text", f"{t:,.0f}", x=x(t), y=bottom + 18, class_="tick middle") for t in chosen]
    out.append(tag("text", "round", x=x((first + last) / 2), y=bottom + 36, class_="tick middle name"))
    return Markup("").join(out)


def spread(places: Sequence[float], gap: float, top: float, bottom: float) -> list[float]:
    """The places, moved apart as little as needed to keep `gap` between neighbours."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    out = list(places)
    floor = top
    for i in order:
        out[i] = max(places[i], floor)
        floor = out[i] + gap
    ceiling = bottom
    for i in reversed(order):
        out[i] = min(out[i], ceiling)
        ceiling = out[i] - gap
    return out


def mark(style: str, x: float, y: float, r: float = 4.5) -> Markup:
    """The point of a series: its shape tells it from others where colours do not (on paper, to the colour-blind)."""
    kind = f"dot {style}"
    corners: Sequence[tuple[float, float]]
    match style.split()[0]:
        case "k2" | "k5":
            half = r * 0.88
            return tag("rect", x=x - half, y=y - half, width=2 * half, height=2 * half, class_=kind)
        case "k3" | "k6":
            corners = ((x, y - 1.2 * r), (x + 1.1 * r, y + 0.8 * r), (x - 1.1 * r, y + 0.8 * r))
        case "k4" | "kl":
            corners = ((x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r), (x - 1.3 * r, y))
        case _:
            return tag("circle", cx=x, cy=y, r=r, class_=kind)
    return tag("polygon", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in corners), class_=kind)


def swatch(style: str, x: float, y: float, dot: bool) -> Markup:
    """A sample of a line, with the mark of a series that was measured round by round."""
    line = tag("line", x1=x, x2=x + 18, y1=y, y2=y, class_=f"line {style}" if dot else f"level {style}")
    return line + mark(style, x + 9, y, 3.6) if dot else line


def label(name: str, note: str, middle: float, letters: int) -> Markup:
    """The name at the left of a row, cut where there is no room; the whole name is in the row's tip and the table."""
    shown = cut(name, letters)
    rest = tag("tspan", note, dx=7, class_="soft") if note and len(shown) + len(note) + 2 <= letters else Markup("")
    return tag("text", shown, rest, x=0, y=middle + 4, class_="name")


def cut(name: str, letters: int) -> str:
    """A name of at most so many letters."""
    return name if len(name) <= letters else name[: letters - 1].rstrip() + "…"
