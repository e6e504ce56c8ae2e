"""Components of every kind, found by walking their folders, and plans that hold them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest

from tacit.core.plan import Plan
from tacit.core.values import PlanError
from tacit.federation.vocabulary import vocabulary


def build(**changes: Any) -> Plan:
    """A sound plan, but for `changes`."""
    kinds = vocabulary()
    parts = {
        "data": kinds["data"]["Storefront"](),
        "clients": kinds["clients"]["ByCustomer"](),
        "model": kinds["model"]["MatrixFactorisation"](),
        "algorithm": kinds["algorithm"]["FedAvg"](),
    }
    return Plan(**(parts | changes))


def around(field: str, component: Any) -> Plan:
    """The first sound plan that holds this component, or a component that holds it.

    Raises:
        AssertionError: no plan may hold it.
    """
    if field not in Plan.__dataclass_fields__:  # a part of a part: `local` of an algorithm, `first` of a model
        for outer, kinds in vocabulary().items():
            for cls in kinds.values():
                if outer in Plan.__dataclass_fields__ and field in cls.__dataclass_fields__:
                    return around(outer, cls(**{field: component}))
    if field == "choose":  # one of several trainings with noise
        one = build(protect=(vocabulary()["protect"]["Gaussian"](),))
        return replace(one, also=(replace(one, name="other", rounds=3),), choose=component)
    many = field in ("baselines", "protect")
    chosen = [{field: (component,) if many else component}]
    if field == "protect":  # a mechanism may want a bound before it, or a secure sum around it
        kinds = vocabulary()
        chosen += [{field: (kinds["protect"]["Clip"](), component)}]
        chosen += [{**chosen[0], "secure_sum": kinds["secure_sum"]["SecAgg"]()}]
    for changes in chosen:
        for parts in sound():
            try:
                return build(**(parts | changes))
            except PlanError:
                continue
    raise AssertionError(f"no plan may hold {component!r}")


@lru_cache(maxsize=1)
def sound() -> list[dict[str, Any]]:
    """Data, model and algorithm that do not contradict each other: every combination."""
    kinds = vocabulary()
    found = []
    for data, model, algorithm in itertools.product(*(kinds[kind].values() for kind in ("data", "model", "algorithm"))):
        try:
            build(data=data(), model=model(), algorithm=algorithm())
        except PlanError:
            continue
        found.append({"data": data(), "model": model(), "algorithm": algorithm()})
    return found


@pytest.fixture(scope="session")
def plan() -> Any:
    """Builds a sound plan, with changes."""
    return build


@pytest.fixture(scope="session")
def plan_around() -> Any:
    """Builds a sound plan that holds a component."""
    return around
