"""Replace a target epsilon in a plan by the noise multiplier that reaches it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tacit.core.plan import Plan
from tacit.core.values import Event, PlanError, Turn
from tacit.privacy.accountant import GAUSSIAN, least_noise, noise_multiplier
from tacit.privacy.participation import blocks, expected
from tacit.privacy.unit import calibrated_steps


def sampling_of(plan: Plan, clients: int) -> tuple[str, float]:
    """How the plan draws its cohorts, as the accountant names it, and at which rate.

    Cohorts that take turns hide nobody by chance: "all", and the mechanism is told of its turn's separation.
    """
    if plan.cohort == 0 or plan.cohort >= clients or plan.sampling == "cyclic":
        return "all", 1.0
    return plan.sampling, plan.cohort / clients


def calibrate(plan: Plan, clients: int) -> Plan:
    """The plan with an explicit noise multiplier, for this many clients; unchanged where it has one already.

    Every mechanism is asked what each round costs, so schedules and correlated noise come out as they are accounted.

    Raises:
        PlanError: no noise keeps the target.
    """
    plan = calibrated_steps(plan)
    sampling, rate = sampling_of(plan, clients)
    protect = []
    for transform in plan.protect:
        if transform.noisy and getattr(transform, "noise_multiplier", 1.0) == 0.0:
            transform = _calibrated(transform, plan, clients, sampling, rate)
        protect.append(transform)
    return replace(plan, protect=tuple(protect)) if tuple(protect) != plan.protect else plan


def _calibrated(transform: Any, plan: Plan, clients: int, sampling: str, rate: float) -> Any:
    """The mechanism with the least noise that keeps its epsilon over all rounds."""
    build = partial(replace, transform, epsilon=0.0)
    turns = [
        Turn(round=round, rounds=plan.rounds, clients=expected(plan, clients), separation=blocks(plan, clients))
        for round in range(1, plan.rounds + 1)
    ]

    def events(noise: float) -> list[Event]:
        mechanism = build(noise_multiplier=noise)
        found = (mechanism.event(sampling, rate, turn) for turn in turns)
        return [event for event in found if event is not None]

    epsilon, delta = transform.epsilon, transform.delta
    first = events(1.0)
    try:
        if all(event.mechanism == GAUSSIAN and event.sampling == "all" for event in first):
            noise = one_gaussian(epsilon, delta, first)
        elif len(set(first)) == 1:  # every round alike: often a closed form
            one = first[0]
            alone = noise_multiplier(epsilon, delta, len(first), one.sampling, one.sampling_rate, one.mechanism)
            noise = alone / one.noise_multiplier
        else:
            guess = noise_multiplier(epsilon, delta, len(first), first[0].sampling, first[0].sampling_rate)
            noise = least_noise(epsilon, delta, events, guess)
    except ValueError as error:
        raise PlanError(f"{transform!r}: {error}") from None
    return build(noise_multiplier=noise)


def one_gaussian(epsilon: float, delta: float, events: Sequence[Event]) -> float:
    """What the multipliers of Gaussian events without sampling are to be multiplied by: together they are one Gaussian.

    Raises:
        ValueError: no multiplier below 10^5 is enough.
    """
    together = math.sqrt(math.fsum(event.noise_multiplier**-2 for event in events))
    return together * noise_multiplier(epsilon, delta, 1, "all", 1.0)
