"""The job as a function: what notebooks and scripts call."""

from __future__ import annotations

from pathlib import Path

from tacit.core.plan import Plan
from tacit.core.values import PlanError
from tacit.federation.vocabulary import read_plan
from tacit.job.budget import Drawing
from tacit.job.result import Result
from tacit.job.run import run_job


def run(
    plan: Plan,
    folder: str | Path,
    data: str | Path | None = None,
    processes: int = 0,
    budget: Drawing | None = None,
) -> Result:
    """Run a plan, or go on with the unfinished run of the same plan in `folder`.

    Args:
        plan: what to train and compare.
        folder: the run folder: plan, rounds, report, model, ledger. Made if it is not there.
        data: a folder that holds data sets; $TACIT_DATA, ./data and the cache folder are looked into anyway.
        processes: 0 = in this process; else a Ray actor for each node (extra `[ray]`).
        budget: whose budget every round is drawn from, before data are touched (docs/budget.md).

    Raises:
        TacitError: the plan, the data or the folder cannot be used; the message says why.
    """
    for step in run_job(plan, Path(folder), None if data is None else Path(data), processes, budget):
        if isinstance(step, Result):
            return step
    raise AssertionError("a job ends with its result")


def resume(folder: str | Path, data: str | Path | None = None, processes: int = 0) -> Result:
    """Go on with the run in a folder.

    Raises:
        PlanError: there is no run in it.
    """
    path = Path(folder) / "plan.toml"
    if not path.exists():
        raise PlanError(f"{folder} holds no run: there is no plan.toml in it")
    return run(read_plan(path), folder, data, processes)
