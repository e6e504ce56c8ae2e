"""tacit: learn personalised models together while every row stays where it was born.

    import tacit

    plan = tacit.read_plan("plan.toml")        # or tacit.Plan(data=..., model=..., algorithm=...)
    result = tacit.run(plan, folder="runs/mine")
    result["federated"]["hr@10"]

Names are looked up when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Plan": "tacit.core.plan",
    "Population": "tacit.core.values",
    "Schema": "tacit.core.values",
    "TacitError": "tacit.core.values",
    "PlanError": "tacit.core.values",
    "DataError": "tacit.core.values",
    "Result": "tacit.job.result",
    "read_plan": "tacit.federation.vocabulary",
    "parse_plan": "tacit.federation.vocabulary",
    "run": "tacit.job.api",
    "resume": "tacit.job.api",
    "Drawing": "tacit.job.budget",
    "verify": "tacit.audit.verify",
}


def __getattr__(name: str) -> Any:
    """Public names, and every component that a plan may hold, by its class name."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if not name.startswith("_") and name[:1].isupper():
        from tacit.federation.vocabulary import vocabulary

        for kinds in vocabulary().values():
            if name in kinds:
                return kinds[name]
    raise AttributeError(f"module 'tacit' has no attribute {name!r}")


def __dir__() -> list[str]:
    from tacit.federation.vocabulary import vocabulary

    return sorted({*_HOME, "__version__", *(name for kinds in vocabulary().values() for name in kinds)})
