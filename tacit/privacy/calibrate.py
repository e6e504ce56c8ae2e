"""Replace a target epsilon in a plan by the noise multiplier that reaches it."""

from __future__ import annotations

from dataclasses import replace

from tacit.core.plan import Plan
from tacit.privacy.accountant import noise_multiplier
from tacit.privacy.transforms.gaussian import Gaussian


def sampling_of(plan: Plan, clients: int) -> tuple[str, float]:
    """How the plan draws its cohorts, as the accountant names it, and at which rate."""
    if plan.cohort == 0 or plan.cohort >= clients:
        return "all", 1.0
    return plan.sampling, plan.cohort / clients


def calibrate(plan: Plan, clients: int) -> Plan:
    """The plan with an explicit noise multiplier, for this many clients; unchanged where it has one already."""
    sampling, rate = sampling_of(plan, clients)
    protect = tuple(
        replace(t, noise_multiplier=noise_multiplier(t.epsilon, t.delta, plan.rounds, sampling, rate), epsilon=0.0)
        if isinstance(t, Gaussian) and t.noise_multiplier == 0.0
        else t
        for t in plan.protect
    )
    return replace(plan, protect=protect) if protect != plan.protect else plan
