"""The fastest trainer that serves a plan's work, unless the plan names one."""

from __future__ import annotations

from tacit.core.plan import Plan
from tacit.core.protocols import LocalWork, Statistics, Trainer
from tacit.learning.trainers.fused import Fused
from tacit.learning.trainers.loop import Loop
from tacit.learning.trainers.stacked import Stacked

FASTEST: tuple[Trainer, ...] = (Fused(), Stacked(), Loop())


def trainer_of(plan: Plan, work: LocalWork | Statistics) -> Trainer:
    """The plan's trainer, or the first of fused, stacked and loop that does not refuse the work."""
    if plan.trainer is not None:
        return plan.trainer
    return next(trainer for trainer in FASTEST if trainer.refuses(work) is None)
