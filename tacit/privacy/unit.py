"""Whose presence a plan hides: a customer, an institution, or a single example that its client protects itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeVar, runtime_checkable

from tacit.core.plan import Plan
from tacit.core.values import Event, PlanError

EXAMPLE, CUSTOMER, INSTITUTION = "example", "customer", "institution"
A = TypeVar("A")


@runtime_checkable
class NoisySteps(Protocol):
    """Settings of local work that adds noise of its own to each client's steps (`learning.dp_sgd.DPSGD`)."""

    @property
    def noise_multiplier(self) -> float: ...  # noqa: D102  0 = to be found, from epsilon
    @property
    def epsilon(self) -> float: ...  # noqa: D102  target for the whole training
    @property
    def delta(self) -> float: ...  # noqa: D102
    def events(self, rounds: int) -> list[Event]: ...  # noqa: D102  what rounds cost each client's examples
    def for_epsilon(self, epsilon: float, delta: float, rounds: int) -> float: ...  # noqa: D102  a noise multiplier


def noisy_steps(plan: Plan) -> NoisySteps | None:
    """What each client protects its own examples by, before anything leaves it; None where it does not."""
    return _steps(plan.algorithm)


def unit_of(plan: Plan) -> str:
    """Whom the plan's statement of privacy speaks of: by its noise on the sum, else by its clients' own."""
    if plan.noise is None:
        return EXAMPLE
    if named := getattr(plan.noise, "unit", None):
        return str(named)
    return CUSTOMER if plan.data.gives == "interactions" else str(getattr(plan.clients, "unit", INSTITUTION))


def calibrated_steps(plan: Plan) -> Plan:
    """The plan with the least noise in its clients' steps that keeps their target epsilon; else as it is.

    Raises:
        PlanError: no noise keeps the target.
    """
    steps = noisy_steps(plan)
    if steps is None or steps.noise_multiplier > 0.0:
        return plan
    try:
        found = steps.for_epsilon(steps.epsilon, steps.delta, plan.rounds)
    except ValueError as error:
        raise PlanError(f"{steps!r}: {error}") from None
    changed: Any = replace(steps, noise_multiplier=found, epsilon=0.0)  # type: ignore[type-var]
    return replace(plan, algorithm=_with(plan.algorithm, changed))


def _steps(algorithm: Any) -> NoisySteps | None:
    if (inner := getattr(algorithm, "inner", None)) is not None:
        return _steps(inner)
    local = getattr(algorithm, "local", None)
    return local if isinstance(local, NoisySteps) else None


def _with(algorithm: Any, local: NoisySteps) -> Any:
    if (inner := getattr(algorithm, "inner", None)) is not None:
        return replace(algorithm, inner=_with(inner, local))
    return replace(algorithm, local=local)
