"""What a plan will spend, said before any data are read: epsilon, delta and unit of each of its trainings."""

from __future__ import annotations

from typing import Any

from tacit.core.plan import Plan
from tacit.job.training import spent_on_examples
from tacit.privacy import protection
from tacit.privacy.accountant import Spent, spent
from tacit.privacy.calibrate import calibrate
from tacit.privacy.unit import noisy_steps, unit_of


def promises(plan: Plan) -> list[str]:
    """One line for each training and each unit that it protects, and one for a choice among them. They add up.

    Raises:
        PlanError: no noise keeps a target.
    """
    out = [f"{each.name}: {line}" for each in (plan, *plan.also) for line in _lines(each)]
    out += [
        f"{each.name}: quality at {len(each.tradeoff)} epsilons is an experiment on the rows, which no epsilon covers"
        for each in (plan, *plan.also)
        if each.tradeoff
    ]
    if plan.choose is not None:
        cost = spent([plan.choose.event()], 0.0, unit_of(plan.candidates[0]))
        out.append(f"the choice among {', '.join(each.name for each in plan.candidates)}: {_said(cost)}")
    return out


def _lines(plan: Plan) -> list[str]:
    out = []
    noise: Any = plan.noise
    if noise is not None:
        where = "each client's contribution" if noise.bound is None else "the sum"  # local noise has no bound
        out.append(f"{_noise(plan, noise)}, by noise in {where}")
    if noisy_steps(plan) is not None:
        ready = calibrate(plan, max(plan.cohort, 1))
        cost = spent_on_examples(ready, plan.rounds)
        assert cost is not None
        out.append(f"{_said(cost)}, by noise in each client's own steps")
    return out or ["no noise, so that no epsilon can be stated"]


def _noise(plan: Plan, noise: Any) -> str:
    unit, target = unit_of(plan), float(getattr(noise, "epsilon", 0.0))
    if target > 0.0 and noise.noise_multiplier == 0.0:
        return f"epsilon {target:g} at delta {noise.delta:g} per {unit} at most"
    if plan.cohort:  # what a cohort costs depends on the share that it is of all clients
        return (
            f"an epsilon per {unit} that depends on the number of clients: `tacit privacy calibrate --noise-multiplier "
            f"{noise.noise_multiplier:g} --rounds {plan.rounds} --sampling (cohort / clients)`"
        )
    told, events = protection.start(plan), []
    for number in range(1, plan.rounds + 1):
        turns = protection.turns(plan, number, 0, 1, 1, told)
        events += [t.event("all", 1.0, turn) for t, turn in zip(plan.protect, turns, strict=True)]
    return _said(spent([event for event in events if event is not None], noise.delta, unit))


def _said(cost: Spent) -> str:
    return f"epsilon {cost.epsilon:.3g} at delta {cost.delta:g} per {cost.unit} ({cost.neighbouring})"
