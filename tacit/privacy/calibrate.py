"""Replace a target epsilon in a plan by the noise multiplier that reaches it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from tacit.core.plan import Plan
from tacit.core.values import Event, PlanError, Turn
from tacit.privacy.accountant import least_noise, noise_multiplier


def sampling_of(plan: Plan, clients: int) -> tuple[str, float]:
    """How the plan draws its cohorts, as the accountant names it, and at which rate."""
    if plan.cohort == 0 or plan.cohort >= clients:
        return "all", 1.0
    return plan.sampling, plan.cohort / clients


def calibrate(plan: Plan, clients: int) -> Plan:
    """The plan with an explicit noise multiplier, for this many clients; unchanged where it has one already.

    Every mechanism is asked what each round costs, so schedules and correlated noise come out as they are accounted.

    Raises:
        PlanError: no noise keeps the target, or examples that are to be protected are not clipped.
    """
    for transform in plan.protect:
        clip = getattr(plan.algorithm, "example_clip", None)
        if getattr(transform, "unit", None) == "example" and (clip is None or clip > transform.clip_norm):  # type: ignore[attr-defined]
            raise PlanError(
                f"{transform!r} protects single examples, so the algorithm must clip each of them to clip_norm: "
                f"{plan.algorithm!r} clips them to {clip}. Use ExampleSGD, or examples = 0 to protect clients."
            )
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
        Turn(round=round, rounds=plan.rounds, clients=plan.cohort or clients) for round in range(1, plan.rounds + 1)
    ]

    def events(noise: float) -> list[Event]:
        mechanism = build(noise_multiplier=noise)
        found = (mechanism.event(sampling, rate, turn) for turn in turns)
        return [event for event in found if event is not None]

    epsilon, delta = transform.epsilon, transform.delta
    first = events(1.0)
    try:
        if len(set(first)) == 1:  # every round alike: often a closed form
            one = first[0]
            alone = noise_multiplier(epsilon, delta, len(first), one.sampling, one.sampling_rate, one.mechanism)
            noise = alone / one.noise_multiplier
        else:
            guess = noise_multiplier(epsilon, delta, len(first), first[0].sampling, first[0].sampling_rate)
            noise = least_noise(epsilon, delta, events, guess)
    except ValueError as error:
        raise PlanError(f"{transform!r}: {error}") from None
    return build(noise_multiplier=noise)
