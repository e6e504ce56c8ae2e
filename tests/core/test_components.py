"""Laws of every component of every folder: a new file is tested without being listed here."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tacit.cli
from tacit.core.plan import Plan
from tacit.core.toml import dumps
from tacit.federation.vocabulary import parse_plan, read_plan, vocabulary

ROOT = Path(tacit.cli.__file__).parents[2]
BUILT_IN = sorted((Path(tacit.cli.__file__).parent / "plans").glob("*.toml"))
FOUND = [(field, cls) for field, kinds in vocabulary().items() for cls in kinds.values()]
EVERY = pytest.mark.parametrize(("field", "cls"), FOUND, ids=[f"{field}-{cls.__name__}" for field, cls in FOUND])


def varied(cls: type[Any]) -> list[Any]:
    """Values of a component that differ from its default in one field, as far as it allows them."""
    out = []
    for item in dataclasses.fields(cls):
        old = getattr(cls(), item.name)
        others: list[Any] = []
        if isinstance(old, bool):
            others = [not old]
        elif isinstance(old, int):
            others = [old + 1, old + 7]
        elif isinstance(old, float):
            others = [old + 0.1, old / 3.0, 1e-7, 123456789.125]
        elif isinstance(old, str) and item.name not in ("weighting",):
            others = ["plain", "with \"quotes\", 'both', \\ and ü\n"]
        for new in others:
            try:
                out.append(dataclasses.replace(cls(), **{item.name: new}))
            except ValueError:
                continue
    return out


def test_every_kind_of_component_is_found() -> None:
    assert all(kinds for kinds in vocabulary().values())
    assert len({cls for _, cls in FOUND}) >= 30


@EVERY
def test_a_component_is_a_frozen_value_without_a_dictionary_of_its_own(field: str, cls: type[Any]) -> None:
    component = cls()
    assert dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert not hasattr(component, "__dict__"), "slots=True is missing"
    for item in dataclasses.fields(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(component, item.name, None)


@EVERY
def test_equal_components_look_and_hash_alike_and_show_no_memory_address(field: str, cls: type[Any]) -> None:
    for one, other in zip([cls(), *varied(cls)], [cls(), *varied(cls)], strict=True):
        assert one == other and one is not other
        assert repr(one) == repr(other) and hash(one) == hash(other)
        assert " at 0x" not in repr(one) and repr(one).startswith(f"{cls.__name__}(")


@EVERY
def test_components_that_differ_in_a_field_are_not_equal_and_do_not_look_alike(field: str, cls: type[Any]) -> None:
    values = [cls(), *varied(cls)]
    assert len(set(values)) == len({repr(value) for value in values})


@EVERY
def test_a_plan_with_this_component_comes_back_from_toml(field: str, cls: type[Any], plan_around: Any) -> None:
    plan = plan_around(field, cls())
    read = parse_plan(plan.toml())
    assert read == plan
    assert read.toml() == plan.toml() and read.digest() == plan.digest() and repr(read) == repr(plan)


@EVERY
def test_any_value_of_a_field_comes_back_from_toml(field: str, cls: type[Any], plan_around: Any) -> None:
    for component in varied(cls):
        try:
            plan = plan_around(field, component)
        except AssertionError:
            continue  # contradicts every plan: another test's business
        assert parse_plan(plan.toml()) == plan


@EVERY
def test_a_whole_number_where_a_float_is_meant_gives_the_same_digest(
    field: str, cls: type[Any], plan_around: Any
) -> None:
    floats = [item.name for item in dataclasses.fields(cls) if isinstance(getattr(cls(), item.name), float)]
    whole = {name: int(getattr(cls(), name)) for name in floats if getattr(cls(), name).is_integer()}
    one, other = plan_around(field, cls()), plan_around(field, dataclasses.replace(cls(), **whole))
    assert one == other
    assert one.digest() == other.digest() == parse_plan(other.toml()).digest()


@pytest.mark.parametrize("path", BUILT_IN, ids=[path.stem for path in BUILT_IN])
def test_a_built_in_plan_comes_back_from_its_own_toml_as_it_was(path: Path) -> None:
    plan = read_plan(path)
    assert parse_plan(plan.toml()) == plan
    assert parse_plan(plan.toml()).toml() == plan.toml()


def test_digests_are_the_same_in_every_process(plan_around: Any) -> None:
    """Another process with another hash seed reads the same TOML and computes the same digests and reprs."""
    plans: list[Plan] = [read_plan(path) for path in BUILT_IN]
    plans += [plan_around(field, cls()) for field, cls in FOUND]
    code = (
        "import json, sys\n"
        "from tacit.core.trees import seed_of\n"
        "from tacit.federation.vocabulary import parse_plan\n"
        "plans = [parse_plan(text) for text in json.load(sys.stdin)]\n"
        "print(json.dumps([[p.digest() for p in plans], [repr(p) for p in plans], seed_of('a', 1, 2.5)]))\n"
    )
    for seed in ("1", "4242"):
        if os.environ.get("PYTHONHASHSEED") == seed:
            continue
        answer = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps([dumps(plan) for plan in plans]),
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        digests, reprs, seeded = json.loads(answer.stdout)
        assert digests == [plan.digest() for plan in plans]
        assert reprs == [repr(plan) for plan in plans]
        from tacit.core.trees import seed_of

        assert seeded == seed_of("a", 1, 2.5)
        break
