"""What privacy costs in quality: one private training at several epsilons, each with several draws of its noise.

The sum before noise is computed once and noised often, which a run never does: nobody but a simulation holds it. What
comes out is what separate runs would give, without repeating the part of the work that the noise does not touch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Statistics
from tacit.core.trees import flatten, unflatten
from tacit.core.values import Array, Event, Params, PlanError
from tacit.data.interactions import Interactions
from tacit.evaluation.bootstrap import interval
from tacit.evaluation.recommendation import Ranking
from tacit.job.assess import ranking
from tacit.job.task import Task, ranking_task
from tacit.learning.centralised import Centralised
from tacit.learning.trainers.accumulate import add_statistics
from tacit.privacy.accountant import spent
from tacit.privacy.calibrate import calibrate
from tacit.privacy.randomness import simulated
from tacit.privacy.transforms.gaussian import Gaussian

EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0)


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """The curve of one training; figures are means over draws of the noise, intervals over customers."""

    training: str
    customers: int
    seeds: int
    delta: float
    points: tuple[dict[str, Any], ...]  # epsilon, hr@10, low, high, spread and runs over draws, ndcg@10, noise, ...
    levels: dict[str, float]  # HR@10 without noise, and of the references

    def report(self) -> dict[str, Any]:
        """As the key "tradeoff" of a report has it."""
        return {
            "training": self.training,
            "customers": self.customers,
            "seeds": self.seeds,
            "delta": self.delta,
            "unit": "customer",
            "neighbouring": "add-or-remove-one",
            "points": list(self.points),
            "levels": dict(self.levels),
        }


def private_training(plan: Plan, training: str = "") -> Plan:
    """The plan's training of this name, or its first one that this curve can be drawn of, with the plan's references.

    Raises:
        PlanError: there is none, or it is no sum over everybody with Gaussian noise and nothing else.
    """
    every = (plan, *plan.also)
    if training and training not in {each.name for each in every}:
        raise PlanError(f"there is no training {training!r}; there are: {', '.join(e.name for e in every)}")
    for each in every:
        if each.name == training or (not training and _why(each) is None):
            if (why := _why(each)) is not None:
                raise PlanError(f"no curve can be drawn of {each.name!r}: {why}")
            return replace(each, baselines=plan.baselines, also=())
    raise PlanError("no training of this plan is a sum over all customers protected by Gaussian noise and nothing else")


def _why(plan: Plan) -> str | None:
    if plan.data.gives != "interactions":
        return "its data are no interactions"
    if len(plan.protect) != 1 or not isinstance(plan.protect[0], Gaussian):
        return "it needs protect = one Gaussian and nothing else"
    if plan.cohort or plan.aggregator is not None:
        return "it needs everybody in every round, and a plain sum"
    if not isinstance(plan.algorithm.work(plan.model, 1), Statistics) or plan.algorithm.private(plan.model):
        return "it needs a model learned from sums, without private parameters"
    return None


def at_epsilon(plan: Plan, epsilon: float, clients: int) -> Plan:
    """The training with the least noise that keeps this epsilon."""
    (noise,) = plan.protect
    assert isinstance(noise, Gaussian)
    return calibrate(replace(plan, protect=(replace(noise, epsilon=epsilon, noise_multiplier=0.0),)), clients)


def tradeoff(
    plan: Plan, data: Interactions, epsilons: Sequence[float] = EPSILONS, seeds: int = 5
) -> Iterator[dict[str, Any] | Tradeoff]:
    """Yield each epsilon's point as it is known, and the whole curve at the end.

    Args:
        plan: a training that `private_training` accepts; its own epsilon is not used, its delta is.
        data: what it trains on; each customer's last item is held out, as in a run of the plan.
        epsilons: targets for the whole training, each met by calibrating its noise.
        seeds: draws of the noise for each.

    Raises:
        PlanError: no epsilon, or one that is not above 0, or no seed.
    """
    if not epsilons or min(epsilons) <= 0.0 or seeds < 1:
        raise PlanError(f"epsilons above 0 and at least one seed were needed, got {list(epsilons)} and {seeds}")
    if (why := _why(plan)) is not None:
        raise PlanError(f"no curve can be drawn of {plan.name!r}: {why}")
    gaussian = plan.protect[0]
    assert isinstance(gaussian, Gaussian)
    task = ranking_task(plan, data)
    state = plan.algorithm.init(plan.model, task.train.schema, plan.seed)
    first = _sum(plan, task, dict(state.shared), 1, gaussian.clip_norm)
    points = []
    for epsilon in sorted(set(epsilons)):
        ready = at_epsilon(plan, float(epsilon), len(task.train))
        found = [_ranked(ready, task, _trained(ready, task, first, seed)) for seed in range(seeds)]
        points.append(_point(float(epsilon), ready, found))
        yield points[-1]
    levels = {"no noise": float(_ranked(plan, task, _trained(plan, task, first, None)).hr.mean())}
    for baseline in plan.baselines:
        shared, own = Centralised(rounds=1).fit(baseline, task.train, plan.seed)
        levels[type(baseline).__name__] = float(ranking(baseline, shared, own, task).hr.mean())
    yield Tradeoff(plan.name, len(found[0].customers), seeds, gaussian.delta, tuple(points), levels)


def _sum(plan: Plan, task: Task, shared: Params, round: int, clip: float) -> Params:
    """Everybody's contributions, each bounded as a run bounds it, added."""
    work = plan.algorithm.work(plan.model, round)
    assert isinstance(work, Statistics)
    return add_statistics(work, shared, {}, task.train, np.arange(len(task.train)), clip)


def _trained(plan: Plan, task: Task, first: Params, seed: int | None) -> Params:
    """The shared parameters after all rounds; without noise where there is no seed."""
    gaussian = plan.protect[0]
    assert isinstance(gaussian, Gaussian)
    state = plan.algorithm.init(plan.model, task.train.schema, plan.seed)
    for number in range(1, plan.rounds + 1):
        total = first if number == 1 else _sum(plan, task, dict(state.shared), number, gaussian.clip_norm)
        if seed is not None:
            vector = flatten(total)
            noise = simulated(plan.seed, "tradeoff", gaussian.noise_multiplier, seed, number).normal(len(vector))
            total = unflatten(vector + gaussian.noise_multiplier * gaussian.clip_norm * noise, total)
        state = plan.algorithm.update(state, plan.model, total, float(len(task.train)), number)
    return state.shared


def _ranked(plan: Plan, task: Task, shared: Params) -> Ranking:
    return ranking(plan.model, shared, {}, task)


def _point(epsilon: float, plan: Plan, found: Sequence[Ranking]) -> dict[str, Any]:
    gaussian = plan.protect[0]
    assert isinstance(gaussian, Gaussian)
    each: Array = np.stack([one.hr for one in found])
    means = each.mean(axis=1)
    low, high = interval(each.mean(axis=0))
    cost = spent([Event("gaussian", gaussian.noise_multiplier, "all", 1.0)] * plan.rounds, gaussian.delta)
    return {
        "epsilon": epsilon,
        "spent": cost.epsilon,
        "noise_multiplier": gaussian.noise_multiplier,
        "hr@10": float(means.mean()),
        "low": low,
        "high": high,
        "spread": float(means.std(ddof=1)) if len(means) > 1 else 0.0,
        "runs": means.tolist(),
        "ndcg@10": float(np.mean([one.ndcg.mean() for one in found])),
        "full.hr@10": float(np.mean([one.full_hr.mean() for one in found])),
    }
