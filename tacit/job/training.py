"""One training of a plan on one split: rounds under the ledger, a checkpoint after each, the chosen model at the
end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Recommender, Shared
from tacit.core.trees import flatten
from tacit.core.values import DataError, Event, Params, Population, Round, State
from tacit.evaluation.validation import best_round
from tacit.federation.engines.in_process import InProcess
from tacit.federation.engines.ray_pool import RayPool
from tacit.federation.secure import digest as sum_digest
from tacit.federation.worker import Worker
from tacit.job import checkpoint
from tacit.job.assess import ranking, validation_ranking
from tacit.job.budget import Meter, metered
from tacit.job.checkpoint import Checkpoint
from tacit.job.task import Task
from tacit.privacy.accountant import Spent, spent
from tacit.privacy.budget.account import Entry
from tacit.privacy.unit import EXAMPLE, noisy_steps, unit_of


@dataclass(frozen=True, slots=True)
class Trained:
    """The model that a training keeps."""

    shared: Params
    own: Params  # private parameters of all clients, stacked; simulation's view, to measure with
    records: list[dict[str, Any]]
    round: int  # the round whose model was kept
    spent: Spent | None


@dataclass(frozen=True, slots=True)
class Step:
    """A finished round, for whoever shows progress."""

    training: str
    rounds: int
    record: Mapping[str, Any]
    charges: tuple[Entry, ...] = ()  # what the round drew from a budget, stored before it began


def split_nodes(task: Task, parts: int) -> dict[str, Population]:
    """Every node's rows; a single node is cut into `parts` where the engine has several processes."""
    nodes = dict(task.populations())
    if len(nodes) > 1 or parts < 2:
        return nodes
    ((name, whole),) = nodes.items()
    out = {}
    for number, index in enumerate(np.array_split(np.arange(len(whole)), min(parts, len(whole)))):
        part = whole.take(index)
        out[f"{name}-{number + 1}"] = Population(part.schema, part.offsets, part.fields, int(index[0]))
    return out


def engine_of(plan: Plan, nodes: Mapping[str, Population], store: Path, processes: int) -> AbstractContextManager[Any]:
    """The in-process engine, or a Ray actor for each node."""
    build: dict[str, Callable[[], Worker]] = {
        name: partial(Worker, plan, part, store / name, watched=True) for name, part in nodes.items()
    }
    if processes:
        return RayPool(build)
    return nullcontext(InProcess({name: make() for name, make in build.items()}))


def train(
    plan: Plan, task: Task, folder: Path, processes: int = 0, meter: Meter | None = None, watched: bool = True
) -> Iterator[Step | Trained]:
    """Yield a Step after each round, then the Trained model. Resumes from the checkpoint in `folder`, if there is one.

    Rounds are measured on validation items if `watched`: not where a choice by these is paid for.

    Raises:
        DataError: the checkpoint belongs to another plan, or is damaged.
    """
    name = "-".join(part for part in (plan.name, task.name) if part)
    place = folder / "state" / name
    path = place / "server.safetensors"
    point = checkpoint.load(path)
    if point is not None and point.records and point.records[0]["plan"] != plan.digest():
        raise DataError(f"the run in this folder began with another plan for {name!r}: choose another run folder")
    nodes = split_nodes(task, processes)
    with engine_of(plan, nodes, place / "clients", processes) as engine:
        for step in _rounds(plan, task, engine, name, path, point, meter, watched):
            point = step[1]
            yield step[0]
        assert point is not None
        kept = _kept(plan, point.records)
        last = kept == point.round.number
        if last or point.best is None:
            shared, own = point.round.state.shared, private_of(engine, nodes, point.round.number)
        else:
            shared, own = point.best.shared, point.best.server
        yield Trained(shared, own, point.records, kept, _spent(plan, point.records))


def private_of(engine: Any, nodes: Iterable[str], round: int) -> Params:
    """All clients' private parameters in the order of the clients: simulation's view, nothing that a server gets."""
    parts = engine.private(round)
    names = sorted({name for part in parts.values() for name in part if not name.startswith("#")})
    return {name: np.concatenate([parts[node][name] for node in nodes]) for name in names}


def _rounds(
    plan: Plan,
    task: Task,
    engine: Any,
    name: str,
    path: Path,
    point: Checkpoint | None,
    meter: Meter | None = None,
    watched: bool = True,
) -> Iterator[tuple[Step, Checkpoint]]:
    records = [] if point is None else list(point.records)
    best = None if point is None else point.best
    for number in range(len(records)):  # said again after a resume, so that ledger and progress can catch up
        assert point is not None
        yield Step(name, plan.rounds, records[number]), point
    after = None if point is None else point.round
    for done, charges in metered(meter, plan, name, engine, task.train.schema, after):
        record = _record(plan, name, done, records)
        if done.sum_digest:
            record["exact"] = done.clients == 0 or _exact(engine, done)
        if watched or not plan.validation:
            record |= _validation(plan, task, done, engine)
        records.append(record)
        if plan.select == "best" and _kept(plan, records) == done.number:
            best = State(done.state.shared, private_of(engine, engine.nodes(), done.number))
        point = Checkpoint(done, records, best)
        checkpoint.save(path, point)
        yield Step(name, plan.rounds, record, charges), point


def _record(plan: Plan, name: str, done: Round, before: list[dict[str, Any]]) -> dict[str, Any]:
    """A round in numbers: what goes to rounds.jsonl, and (less the seconds) to the ledger."""
    record = {"training": name, "plan": plan.digest()} | checkpoint.asdict_round(done)
    update = hashlib.sha256(flatten(done.state.shared, np.float32).tobytes()).hexdigest()
    record["update"] = update
    if plan.noise is not None and not isinstance(plan.noise, Shared):  # of a sum that has no noise yet: guesses could
        record["sum_digest"] = ""  # be tried on it
    if done.events and plan.sampling == "poisson":  # the size of a Poisson cohort is not public: not even here
        record |= {"cohort": plan.cohort, "clients": plan.cohort, "dropped": 0}
    if (cost := _spent(plan, [*before, record])) is not None:
        record |= {"epsilon": cost.epsilon, "delta": cost.delta, "unit": cost.unit, "neighbouring": cost.neighbouring}
    return record


def _spent(plan: Plan, records: list[dict[str, Any]]) -> Spent | None:
    noise: Any = plan.noise
    if noise is None:
        return spent_on_examples(plan, len(records))
    events = [Event(**event) for record in records for event in record["events"]]
    return spent(events, noise.delta, unit_of(plan))


def spent_on_examples(plan: Plan, rounds: int) -> Spent | None:
    """What these rounds cost the examples of a client that took part in all; None where no client protects its own."""
    steps = noisy_steps(plan)
    return None if steps is None else spent(steps.events(rounds), steps.delta, EXAMPLE)


def _validation(plan: Plan, task: Task, done: Round, engine: Any) -> dict[str, float]:
    """Hit rate on validation items, measured from outside; noise-protected plans never act on it."""
    held = task.validation if plan.validation else task.test
    if not isinstance(plan.model, Recommender) or task.test_rows is not None or not np.any(held >= 0):
        return {}
    own = private_of(engine, engine.nodes(), done.number)
    watch = validation_ranking if plan.validation else ranking
    result = watch(plan.model, done.state.shared, own, task)
    summary = result.summary(draws=200)
    return {"hr@10": summary["hr@10"], "low": summary["low"]["hr@10"], "high": summary["high"]["hr@10"]}


def _exact(engine: Any, done: Round) -> bool:
    """Whether the secure sum opened just the plain sum of the integers that went in: seen from outside."""
    total = np.zeros(0, np.uint32)
    for part in engine.witness(done.number):
        if part is not None:
            total = part if len(total) == 0 else total + part
    return sum_digest(total) == done.sum_digest


def _kept(plan: Plan, records: list[dict[str, Any]]) -> int:
    """The round whose model is kept: the last, or the best on validation."""
    if plan.select == "last" or "hr@10" not in records[0]:
        return int(records[-1]["number"])
    return best_round([(int(r["number"]), float(r["hr@10"])) for r in records])
