"""The components that a plan file may name: every public dataclass of the folders, found by walking them."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import is_dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from tacit import aggregation, data, learning, models, privacy
from tacit.core.order import compresses
from tacit.core.plan import Plan
from tacit.core.toml import loads
from tacit.core.values import PlanError
from tacit.learning import trainers
from tacit.privacy import homomorphic, secure_sum, transforms


def components(package: ModuleType, *needed: str) -> dict[str, type]:
    """Class name -> frozen dataclass of a package's own modules that has all the `needed` attributes."""
    found: dict[str, type] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
            if (
                own
                and isinstance(value, type)
                and is_dataclass(value)
                and all(hasattr(value, attribute) for attribute in needed)
            ):
                found[name] = value
    return found


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, dict[str, type]]:
    """Field of a plan -> kind -> class."""
    algorithms = components(learning, "refuses", "update")
    protections = components(transforms, "encode", "decode")
    return {
        "data": components(data, "gives", "load"),
        "clients": components(data, "nodes", "owners"),
        "model": components(models, "serves", "init"),
        "baselines": components(models, "serves", "init"),
        "algorithm": algorithms,
        "inner": algorithms,
        "first": components(models, "statistics", "scores"),
        "second": components(models, "statistics", "scores"),
        "local": components(learning, "work", "lr"),
        "protect": protections,
        "compress": {name: cls for name, cls in protections.items() if compresses(cls())},
        "aggregator": components(aggregation, "sees"),
        "secure_sum": components(secure_sum, "minimum", "server") | components(homomorphic, "minimum", "server"),
        "trainer": components(trainers, "total"),
        "choose": components(privacy, "pick", "event"),
    }


def read_plan(path: str | Path) -> Plan:
    """A plan from a TOML file.

    Raises:
        PlanError: no such file, not TOML, unknown keys or kinds (the nearest is named), or a contradiction.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PlanError(f"there is no plan file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"plan file {path} cannot be read: {error}") from None
    return parse_plan(text, str(path))


def parse_plan(text: str, where: str = "plan") -> Plan:
    """A plan from TOML text; errors begin with `where`."""
    return loads(text, Plan, vocabulary(), where)
