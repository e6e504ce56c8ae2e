"""Scales, axes and labels of the charts."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.audit.charts import Lines, Point, Series
from tacit.audit.svg import axis, cut, mark, scale, spread, tag

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8)


@given(VALUES, st.booleans(), st.integers(3, 8))
def test_an_axis_holds_all_values_between_evenly_spaced_ticks(values: list[float], zero: bool, count: int) -> None:
    low, high, ticks = axis(values, zero, count)
    room = 1e-6 * max(1.0, abs(low), abs(high))
    assert low <= min(values) + room and high >= max(values) - room
    assert not zero or low <= 0.0
    assert 2 <= len(ticks) <= 2 * count + 3 and (ticks[0], ticks[-1]) == (low, high)
    steps = [b - a for a, b in pairwise(ticks)]
    assert max(steps) - min(steps) <= 1e-6 * max(1.0, *map(abs, ticks))


def test_ticks_are_round_numbers() -> None:
    assert axis([0.21, 0.68])[2] == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert axis([0.3, 3.99], zero=True)[2] == pytest.approx([0, 1, 2, 3, 4])
    assert axis([5.0])[2] == pytest.approx([4.4, 4.6, 4.8, 5.0, 5.2, 5.4, 5.6])


def test_a_scale_is_linear_and_a_single_value_lies_in_the_middle() -> None:
    place = scale(0.0, 10.0, 100.0, 200.0)
    assert [place(v) for v in (0, 5, 10)] == [100, 150, 200]
    assert scale(3.0, 3.0, 0.0, 50.0)(3.0) == 25.0


@given(st.lists(st.floats(10, 290), min_size=1, max_size=12))
def test_labels_keep_their_distance_and_their_order(places: list[float]) -> None:
    out = spread(places, 17.0, 10.0, 290.0)
    ordered = sorted(out)
    assert all(b - a >= 17.0 - 1e-9 for a, b in pairwise(ordered))
    assert [out[i] for i in sorted(range(len(places)), key=lambda i: places[i])] == ordered
    assert ordered[-1] <= 290.0 + 1e-9 and ordered[0] >= 10.0 - 1e-9  # 12 labels of 17 fit into 280


def test_a_value_stands_at_its_height() -> None:
    chart = Lines(
        name="c",
        title="t",
        description="d",
        series=(Series("one", "k1", (Point(1, 0.0), Point(2, 1.0), Point(3, 0.5))),),
        say=str,
        tick=str,
    )
    root = ElementTree.fromstring(f"<div>{chart.svg()}</div>")
    wide = next(svg for svg in root.iter("svg") if svg.get("class") == "chart")
    dots = [n for n in wide if n.tag == "circle" and n.get("class") == "dot k1"][:3]  # a fourth is in the label
    xs, ys = ([float(n.get(key, "")) for n in dots] for key in ("cx", "cy"))
    assert sorted(xs) == pytest.approx([xs[-1], (xs[0] + xs[-1]) / 2, xs[0]], abs=0.11)
    at = dict(zip(xs, ys, strict=True))
    first, middle, last = (at[x] for x in sorted(xs))
    assert first == 292 and middle == 12 and last == 152  # bottom, top and half way


def test_series_differ_by_shape_and_not_by_colour_alone() -> None:
    shapes = {style: mark(style, 10.0, 10.0).split()[0] for style in ("k1", "k2", "k3")}
    assert len(set(shapes.values())) == 3
    assert mark("k3", 10.0, 10.0) != mark("k4", 10.0, 10.0).replace("k4", "k3")


def test_a_tag_escapes_names_are_cut_and_attributes_are_short() -> None:
    assert str(tag("text", "<b>&", x=1.0, text_anchor="end")) == '<text x="1" text-anchor="end">&lt;b&gt;&amp;</text>'
    assert str(tag("rect", class_='"x"')) == '<rect class="&#34;x&#34;"/>'
    assert cut("a long name", 6) == "a lon…" and cut("short", 5) == "short"
