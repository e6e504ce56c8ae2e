"""What a ledger entry may say, and what it may not."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.audit.entry import KINDS, checked, from_line, identity, to_line, versions
from tacit.core.values import VerificationError

DIGEST = "ab" * 32
GOOD: dict[str, dict[str, Any]] = {
    "plan": {"plan": DIGEST, "name": "federated", "versions": versions()},
    "round": {
        "training": "private",
        "number": 3,
        "plan": DIGEST,
        "cohort": 100,
        "clients": 97,
        "dropped": 3,
        "update": DIGEST,
        "epsilon": 1.25,
        "delta": 1e-5,
        "unit": "customer",
        "neighbouring": "add-or-remove-one",
    },
    "charge": {
        "training": "private",
        "number": 3,
        "attempt": 2,
        "holder": "bank-a",
        "purpose": "recommendations",
        "events": [{"mechanism": "gaussian", "noise_multiplier": 1.5, "sampling": "all", "count": 1}],
    },
    "file": {"path": "rounds.jsonl", "sha256": DIGEST, "lines": ["ab" * 8]},
    "result": {"report": DIGEST, "page": DIGEST, "model": DIGEST},
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_of_each_kind_comes_back_from_its_line(kind: str) -> None:
    entry = {"kind": kind, **GOOD[kind]}
    assert from_line(to_line(checked(entry))) == entry


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_is_not_declared_is_refused_and_not_repeated_in_the_message(kind: str) -> None:
    with pytest.raises(VerificationError, match="'email'") as caught:
        checked({"kind": kind, **GOOD[kind], "email": "ada@example.org"})
    assert "ada" not in str(caught.value)
    with pytest.raises(VerificationError) as caught:
        checked({"kind": kind, **GOOD[kind], "Ada Lovelace 1815": 1})
    assert "Ada" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("plan", "plan", "ab"),
        ("plan", "plan", DIGEST.upper()),
        ("plan", "name", "two\nlines"),
        ("plan", "versions", {"torch": "2.13 for Ada"}),
        ("plan", "versions", {"torch": 2}),
        ("round", "number", 0),
        ("round", "number", 1.0),
        ("round", "clients", -1),
        ("round", "clients", True),
        ("round", "clients", [17, 21]),
        ("round", "epsilon", math.nan),
        ("round", "epsilon", math.inf),
        ("round", "epsilon", None),
        ("round", "unit", "Ada Lovelace"),
        ("round", "update", b"raw"),
        ("charge", "attempt", "2"),
        ("charge", "events", [{"mechanism": "Ada Lovelace"}]),
        ("charge", "events", [{"Ada Lovelace": 1}]),
        ("charge", "events", [{"count": -1}]),
        ("charge", "events", {"count": 1}),
        ("file", "path", "../secrets"),
        ("file", "path", "/etc/passwd"),
        ("file", "path", ".hidden"),
        ("file", "lines", ["Ada"]),
        ("result", "model", None),
    ],
)
def test_an_ill_formed_value_is_refused_by_the_name_of_its_field(kind: str, field: str, value: Any) -> None:
    with pytest.raises(VerificationError, match=field if value != 0 else "from 1") as caught:
        checked({"kind": kind, **GOOD[kind], field: value})
    assert "Ada" not in str(caught.value)


def test_an_epsilon_without_its_unit_is_no_statement() -> None:
    half = {key: value for key, value in GOOD["round"].items() if key != "unit"}
    with pytest.raises(VerificationError, match="lacks unit"):
        checked({"kind": "round", **half})
    none = {k: v for k, v in GOOD["round"].items() if k not in ("epsilon", "delta", "unit", "neighbouring")}
    assert "epsilon" not in checked({"kind": "round", **none})


def test_a_missing_field_and_an_unknown_kind_are_named() -> None:
    with pytest.raises(VerificationError, match="'sha256'"):
        checked({"kind": "file", "path": "a"})
    for kind in ("person", None, 3, ["round"]):
        with pytest.raises(VerificationError, match="plan, round, charge, file, result"):
            checked({"kind": kind})


def test_there_is_one_spelling_of_an_entry() -> None:
    line = to_line(checked({"kind": "round", **GOOD["round"]}))
    assert line == to_line(checked(dict(reversed([("kind", "round"), *GOOD["round"].items()]))))
    for other in (line.replace(b",", b", "), line + b" ", line[:-1] + b',"clients":97}', b"[" * 100000, b"3", b"\xff"):
        with pytest.raises(VerificationError):
            from_line(other)


def test_a_whole_number_and_the_same_float_give_the_same_line() -> None:
    lines = {to_line(checked({"kind": "round", **GOOD["round"], "epsilon": value})) for value in (2, 2.0)}
    assert len(lines) == 1


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8), max_size=4))
def test_anything_else_is_refused_as_a_verification_error(fields: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        checked({"kind": "result", **fields})


def test_an_entry_is_known_by_what_it_is_about() -> None:
    assert [identity({"kind": kind, **GOOD[kind]}) for kind in KINDS] == [
        *("plan", "private/3", "private/3/2", "rounds.jsonl", "result")
    ]


def test_versions_name_what_computes() -> None:
    assert {"python", "numpy", "torch", "cryptography"} <= set(versions())
