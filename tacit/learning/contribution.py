"""What one client's contribution looks like: names and shapes, before anybody has sent one."""

from __future__ import annotations

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import LocalWork, Statistics
from tacit.core.values import Params, Population, Schema
from tacit.learning.local_sgd import ROWS, LocalSGD


def template(work: LocalWork | Statistics, shared: Params, own: Params, schema: Schema) -> Params:
    """Zeros shaped as a contribution: the sum over no clients, float64. `own` is stacked over no clients: (0, ...)."""
    if isinstance(work, Statistics):
        return work.sums(shared, own, nobody(schema))[0]
    zeros = {name: np.zeros(value.shape) for name, value in shared.items() if name not in work.model.constants}
    if isinstance(work, LocalSGD) and work.weighting == "rows":
        zeros[ROWS] = np.zeros(())
    return zeros


def nobody(schema: Schema) -> Population:
    """A population without clients."""
    if schema.kind == "tabular":
        fields = {"x": np.zeros((0, schema.features), np.float32), "y": np.zeros(0, np.float32)}
    else:
        fields = {"item": np.zeros(0, np.int32), "rating": np.zeros(0, np.float32), "time": np.zeros(0, np.int64)}
    return Population(schema, np.zeros(1, np.int64), fields)


def contribution_like(plan: Plan, shared: Params, schema: Schema, round: int) -> Params:
    """Zeros shaped as one contribution of this round of a plan."""
    init = plan.model.init(schema, plan.seed)
    own = {name: np.zeros((0, *np.shape(init[name])), np.float32) for name in plan.algorithm.private(plan.model)}
    return template(plan.algorithm.work(plan.model, round), shared, own, schema)
