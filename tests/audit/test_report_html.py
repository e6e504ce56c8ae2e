"""The report's page: self-contained, well formed, escaped, complete, and true to the report."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.audit.notebook import html
from tacit.audit.report_html import render
from tacit.audit.typeset import count, duration, epsilon, number, scientific, share, size
from tests.audit.example_report import example, tabular

REPORTS: tuple[Callable[[], dict[str, Any]], ...] = (example, tabular)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \"'&{{ 7191*7 }}]]>\x00\x1b\ud800"


def parsed(page: str) -> ElementTree.Element:
    assert page.startswith("<!doctype html>\n")
    return ElementTree.fromstring(page.removeprefix("<!doctype html>\n"))


def texts(node: ElementTree.Element) -> Iterator[str]:
    """What a reader of the page meets: text, tips, titles; no axis ticks, styles or scripts."""
    if node.tag in ("style", "script") or "tick" in node.get("class", "").split():
        return
    yield node.text or ""
    for name in ("data-tip", "title", "aria-label", "data-name"):
        yield node.get(name, "")
    for child in node:
        yield from texts(child)
        yield child.tail or ""


def headings(page: str) -> list[str]:
    return [node.text or "" for node in parsed(page).iter("h2")]


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value  # names are shown as well
        for part in value.values():
            yield from leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d[\d.,]*\d|\d", text))


@pytest.mark.parametrize("report", REPORTS)
def test_the_page_is_well_formed_and_every_id_is_its_own(report: Callable[[], dict[str, Any]]) -> None:
    ids = [node.get("id") for node in parsed(render(report())).iter() if node.get("id")]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("report", REPORTS)
def test_the_page_asks_nothing_of_any_network(report: Callable[[], dict[str, Any]]) -> None:
    page = render(report())
    assert not re.search(r"//|url\(|@import|\bsrc\b\s*=|\bhref\b|<link|<img|<iframe|fetch\(|XMLHttp|import\(", page)
    policy = next(n.get("content", "") for n in parsed(page).iter("meta") if n.get("http-equiv"))
    assert policy.startswith("default-src 'none';")


def test_the_policy_lets_only_our_own_script_run() -> None:
    root = parsed(render(example()))
    (script,) = root.iter("script")
    digest = base64.b64encode(hashlib.sha256((script.text or "").encode()).digest()).decode()
    policy = next(n.get("content", "") for n in root.iter("meta") if n.get("http-equiv"))
    assert f"script-src 'sha256-{digest}';" in policy
    assert not [name for node in root.iter() for name in node.attrib if name.startswith("on")]


def hostile(value: Any) -> Any:
    if isinstance(value, dict):
        known = set(leaves(example())) | set(leaves(tabular()))
        keep = value.keys() & {"federated", "curves", "groups", "data", "low", "high"} | (value.keys() & known)
        changed = {(key if key in keep else HOSTILE): hostile(part) for key, part in value.items()}
        return changed
    if isinstance(value, list):
        return [hostile(part) for part in value]
    return HOSTILE if isinstance(value, str) else value


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("show", [render, html])
def test_hostile_strings_stay_text(report: Callable[[], dict[str, Any]], show: Callable[[dict[str, Any]], str]) -> None:
    poisoned = hostile(report())
    poisoned["groups"] = {HOSTILE: [{"group": HOSTILE, "customers": 20, "hr@10": 0.5, "accuracy": 0.5}]}
    poisoned["curves"] = {HOSTILE: [{"round": 1, "bytes_up": 5}], "federated": [{"round": 1, "hr@10": 0.5}]}
    poisoned["beyond"] = {HOSTILE: {HOSTILE: 0.5}}
    poisoned[HOSTILE] = {"hr@10": 0.5, "accuracy": 0.5}
    page = show(poisoned)
    page.encode("utf-8")
    root = parsed(page) if show is render else ElementTree.fromstring(page)
    tags = {node.tag for node in root.iter()}
    assert "img" not in tags and sum(1 for _ in root.iter("script")) == (1 if show is render else 0)
    assert "alert(1)" in "".join(texts(root)) and "50337" not in "".join(texts(root))


SECTIONS = {  # key of the report -> headings that go with it
    "sent": (),
    "curves": ("Quality by round", "Traffic"),
    "groups": ("Quality by group",),
    "classification": ("Like or dislike",),
    "beyond": ("Beyond accuracy",),
    "budget": ("Budget",),
    "tradeoff": ("Quality by privacy",),
    "notes": ("Notes",),
}


@pytest.mark.parametrize("key", SECTIONS)
def test_what_the_report_lacks_is_absent(key: str) -> None:
    whole = headings(render(example()))
    for missing in ({}, None):
        part = {k: v for k, v in example().items() if k != key} if missing is None else example() | {key: missing}
        assert headings(render(part)) == [text for text in whole if text not in SECTIONS[key]]


def test_a_report_has_its_sections_in_this_order() -> None:
    assert headings(render(example())) == [
        "What left the house",
        "Quality by round",
        "Privacy spent",
        "Budget",
        "Quality by privacy",
        "Traffic",
        "Quality by group",
        "All metrics",
        "Like or dislike",
        "Beyond accuracy",
        "Notes",
        "Plan and proof",
    ]


def test_an_empty_report_is_a_page_without_sections() -> None:
    assert headings(render({})) == []
    assert ElementTree.fromstring(html({})).tag == "div"


def test_without_noise_nothing_speaks_of_epsilon_spent() -> None:
    page = render(tabular())
    assert "Privacy spent" not in headings(page)
    assert "No noise was added" in page and "No secure sum was used" in page


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("show", [render, html])
def test_every_number_shown_comes_from_the_report(
    report: Callable[[], dict[str, Any]], show: Callable[[dict[str, Any]], str]
) -> None:
    shown = report()
    memory = [shown["cost"]["peak_memory_mb"] * 1e6]
    allowed: set[str] = set()
    for leaf in [*leaves(shown), *memory]:
        if isinstance(leaf, str):
            allowed |= numbers(leaf)
        elif number(leaf) is not None:
            for say in (share, count, epsilon, scientific, size, duration, "{:g}".format):
                allowed |= numbers(say(leaf))
    page = show(shown)
    root = parsed(page) if show is render else ElementTree.fromstring(page)
    text = re.sub(r"@10|95\s%|F1", "", " ".join(texts(root)))
    found = numbers(text)
    assert len(found) > (25 if show is render else 8)
    assert found <= allowed, found - allowed


def test_the_budget_s_parts_and_the_curve_s_points_are_on_the_page_and_what_they_are_said() -> None:
    text = " ".join(texts(parsed(render(example()))))
    for words in ("spent by others", "spent by this run", "reserved by others", "left", "entries 17 to 33"):
        assert words in text
    assert "tacit budget history --holder bank-a --purpose recommendations --run 9f86d081884c" in text
    assert all(value in text for value in ("2.61", "3.22", "0.49", "5.38", "11.70"))
    assert all(value in text for value in ("0.462", "0.432–0.492", "0.601", "0.641", "0.401"))
    assert "per customer at δ = 2.3 × 10⁻⁶" in text and "An experiment on these rows" in text
    assert "It holds against whoever sees the model." in text


@pytest.mark.parametrize(
    "budget", [{}, {"epsilon": 0.0}, {"epsilon": 1.0, "left": 1.0}, {"epsilon": None}, [1.0], {"left": -1.0}]
)
def test_a_budget_without_its_parts_is_passed_over(budget: Any) -> None:
    page = render(example() | {"budget": budget})
    assert "Budget" not in headings(page)


def test_statements_of_several_units_and_trainings_stand_side_by_side() -> None:
    report = example()
    one = report["privacy"]
    other = {**one, "training": "second", "epsilon": 1.25}
    steps = {**one, "training": "steps", "unit": "example", "epsilon": 0.75, "noise_in": "each client's own steps"}
    report["privacy"] = {**one, "epsilon": 5.1214, "parts": [one, other], "other_units": [steps]}
    root = parsed(render(report))
    text = " ".join(texts(root))
    titles = [node.text for node in root.iter("h3")]
    assert titles[:4] == ["Together, per customer", "Training “private”", "Training “second”", "Training “steps”"]
    assert "and ε 0.75 per example" in text and "per customer and example" in text
    assert all(value in text for value in ("5.12", "3.87", "1.25", "0.75"))


def test_every_figure_of_the_report_is_on_the_page() -> None:
    report = example()
    text = " ".join(texts(parsed(render(report))))
    for name in ("federated", "private", "centralized", "popularity", "item_knn"):
        for metric in ("hr@10", "ndcg@10", "full.hr@10", "full.ndcg@10"):
            for part in (report[name][metric], report[name]["low"][metric], report[name]["high"][metric]):
                assert share(part) in text
    for rows in report["groups"].values():
        for row in rows:
            assert all(say in text for say in (row["group"], str(row["customers"]), share(row["hr@10"])))
    for row in report["curves"]["private"]:
        assert epsilon(row["epsilon"]) in text and share(row["hr@10"]) in text
    for said in ("ε 3.87", "2.3 × 10⁻⁶", "per customer", "add-or-remove-one", "112 clients", "37 dropped out"):
        assert said in text
    for said in ("63 entries", "every entry verified", "2 min 11 s", "684 kB up", "741 kB down", "612 MB", "1.074"):
        assert said in text
    assert "tacit audit verify 'runs/one two'" in text and 'name = "federated"' in text


def test_what_does_not_hold_is_said_aloud() -> None:
    report = example()
    report["ledger"]["verified"] = False
    report["secure_sum"]["exact"] = False
    report["privacy"]["simulation"] = True
    text = " ".join(texts(parsed(render(report))))
    for said in ("NOT verified", "sums NOT exact", "protects nobody", "that noise was simulated"):
        assert said in text
    assert "every entry verified" not in text and "sums exact" not in text
    report["secure_sum"]["exact"] = None
    assert "exactness not checked" in render(report)
    for absent in ("verified", "exact"):
        assert absent not in " ".join(texts(parsed(render({"ledger": {}, "secure_sum": {}}))))


def test_every_chart_has_a_title_a_description_and_a_table() -> None:
    root = parsed(render(example()))
    figures = list(root.iter("figure"))
    assert len(figures) == 8
    for figure in figures:
        charts = [svg for svg in figure.iter("svg") if svg.get("role") == "img"]
        assert len(charts) == 2  # wide and narrow
        for svg in charts:
            title, description = svg[0], svg[1]
            assert (title.tag, description.tag) == ("title", "desc") and title.text and description.text
            assert svg.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert len(list(figure.iter("table"))) == 1
    rounds = [len(list(figure.iter("tr"))) - 1 for figure in figures]
    assert rounds[:2] == [12, 12]


def test_curves_measured_elsewhere_say_so_and_end_in_the_tested_figure() -> None:
    report = example() | {"curves_on": "validation items"}
    text = " ".join(texts(parsed(render(report))))
    assert "measured on validation items" in text and "the finished model as it was tested" in text


def test_traffic_that_changes_from_round_to_round_is_drawn_by_round() -> None:
    report = example()
    steady = render(report)
    for row in report["curves"]["private"]:
        row["bytes_up"] += 1000 * row["round"]
    changing = render(report)
    assert "the same in every round" in steady and "the same in every round" not in changing
    assert "Round 7" in changing


def test_a_run_of_one_round_and_of_a_thousand_are_drawn() -> None:
    for rounds in (1, 2, 1000):
        root = parsed(render(example(rounds)))
        hits = [node for node in root.iter("g") if node.get("class") == "hit"]
        assert 0 < len(hits) <= 4 * 161
        assert len(list(next(root.iter("figure")).iter("tr"))) == rounds + 1


def test_values_beside_their_ends_read_like_flat_ones() -> None:
    flat = {"federated": {"hr@10": 0.5, "low": {"hr@10": 0.4}, "high": {"hr@10": 0.6}}}
    nested = {"federated": {"hr@10": {"value": 0.5, "low": 0.4, "high": 0.6}}}
    assert render(flat) == render(nested)


def test_many_models_share_the_page() -> None:
    report = example() | {
        f"a model with quite a long name, number {n}": arm for n, arm in enumerate([example()["private"]] * 6)
    }
    root = parsed(render(report))
    tiles = [node for node in root.iter("li") if "tile" in node.get("class", "").split()]
    assert len(tiles) == 6 + 4
    assert len(list(list(root.iter("table"))[-3].iter("tr"))) == 12


def test_a_report_read_back_from_its_file_gives_the_same_page() -> None:
    assert render(json.loads(json.dumps(example()))) == render(example())


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}),
    st.just([None, 3, "x", {}]), st.just({"low": 3, "round": "x"}), st.just(10**400),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*path, key))


PLACES = list(places(example(2)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=6))
def test_whatever_stands_in_a_report_a_page_comes_out(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    report = copy.deepcopy(example(2))
    for path, value in changes:
        part: Any = report
        try:
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    parsed(render(report))
    ElementTree.fromstring(html(report))


def test_the_notebook_fragment_shows_the_figures_without_a_script() -> None:
    fragment = html(example())
    root = ElementTree.fromstring(fragment)
    text = " ".join(texts(root))
    for said in ("MovieLens 100K", "943 customers", share(example()["federated"]["hr@10"]), "ε 3.87", "63 entries"):
        assert said in text
    assert {node.tag for node in root.iter()} <= {"div", "span", "strong", "table", "tr", "th", "td", "code"}
    assert "1 round" in html(tabular()) and "1 rounds" not in html(tabular())


@pytest.mark.parametrize(
    ("say", "value", "shown"),
    [
        (share, 0.66249, "0.662"),
        (share, -0.25, "−0.250"),
        (share, None, "–"),
        (share, math.nan, "–"),
        (count, 100_000, "100,000"),
        (count, 0.106, "0.106"),
        (count, True, "–"),
        (epsilon, 3.987, "3.99"),
        (epsilon, 1234.5, "1,234"),
        (scientific, 1e-5, "10⁻⁵"),
        (scientific, 2.3e-6, "2.3 × 10⁻⁶"),
        (scientific, 0, "0"),
        (scientific, None, "–"),
        (size, 215_304, "215 kB"),
        (size, 999, "999 B"),
        (size, 999_600, "1 MB"),
        (size, 3.2e15, "3,200 TB"),
        (duration, 8.44, "8.44 s"),
        (duration, 131.4, "2 min 11 s"),
        (duration, 7500, "2 h 5 min"),
        (duration, "x", "–"),
        (size, "x", "–"),
    ],
)
def test_numbers_are_set_as_a_reader_wants_them(say: Callable[[Any], str], value: Any, shown: str) -> None:
    assert say(value) == shown
