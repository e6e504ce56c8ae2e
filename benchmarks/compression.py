"""What compression saves and what it costs: bytes up per client and round, and HR@10 beside the uncompressed run.

    python -m benchmarks.compression [--seeds 5] [--rounds N] [--only NAME ...] [--json FILE]

MovieLens 100K; matrix factorisation by federated averaging, 100 customers a round. Every method runs the real loop with
the same seeds as the plain one: same cohorts, batches, negatives and initial values. Bytes are those of the arrays that
left the clients. HR@10 is the mean over seeds for each customer; its difference comes with a paired 95 % bootstrap
interval over customers. `masked` is a round of the same plan under a secure sum: 32-bit words of the masked vector, and
all bytes with keys and shares, which do not depend on the model.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Transform
from tacit.core.values import Array
from tacit.data.clients import ByCustomer
from tacit.data.movielens_100k import MovieLens100K
from tacit.evaluation.bootstrap import paired
from tacit.federation.engines.in_process import InProcess
from tacit.federation.run import run
from tacit.federation.worker import Worker
from tacit.job.assess import ranking
from tacit.job.task import Task, load, tasks
from tacit.job.training import private_of
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.count_sketch import CountSketch
from tacit.privacy.transforms.error_feedback import ErrorFeedback
from tacit.privacy.transforms.low_bit import LowBit
from tacit.privacy.transforms.low_rank import LowRank
from tacit.privacy.transforms.random_k import RandomK
from tacit.privacy.transforms.top_k import TopK

DIM = 32
COHORT = 100
SERVER_LR = 3.0
ROUNDS = 300
NORM = 24.0  # of the grid: about three times what a whole contribution of a busy customer measures
METHODS: dict[str, tuple[Transform, ...]] = {
    "none": (),
    "low rank 15 + 4 bits": (LowRank(DIM, 15), LowBit(4, NORM / 2.0)),
    "low rank 5 + 4 bits": (LowRank(DIM, 5), LowBit(4, NORM / 4.0)),
    "error feedback (low rank 5) + 4 bits": (ErrorFeedback(LowRank(DIM, 5)), LowBit(4, NORM / 2.0)),
    "low rank 2": (LowRank(DIM, 2),),
    "error feedback (low rank 2)": (ErrorFeedback(LowRank(DIM, 2)),),
    "8 bits": (LowBit(8, NORM),),
    "4 bits": (LowBit(4, NORM),),
    "1 bit": (LowBit(1, NORM),),
    "random 1 in 16": (RandomK(16.0),),
    "error feedback (random items 1 in 16)": (ErrorFeedback(RandomK(16.0, block=DIM)),),
    "count sketch 16": (CountSketch(16.0),),
    "error feedback (top 1 in 32), reveals items": (ErrorFeedback(TopK(32.0, reveals_support=True)),),
}
HEADLINE = ("none", "low rank 15 + 4 bits", "low rank 5 + 4 bits")


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One method over all seeds."""

    name: str
    bytes_up: int  # per client and round
    masked: int | None  # bytes of the masked vector, per client and round
    secure: int | None  # all bytes up of a secure round, per client
    hits: Array  # (customers,) HR@10, mean over seeds
    by_seed: tuple[float, ...]
    cpu: float  # seconds per training


def plan_of(protect: tuple[Transform, ...], seed: int, rounds: int) -> Plan:
    """The training that every method is measured on."""
    return Plan(
        name="compressed",
        data=MovieLens100K(),
        clients=ByCustomer(),
        model=MatrixFactorisation(dim=DIM),
        algorithm=FedAvg(local=SGD(lr=0.5, epochs=4, batch_size=32), server_lr=SERVER_LR),
        rounds=rounds,
        cohort=COHORT,
        protect=protect,
        seed=seed,
        simulation=True,
    )


def train(plan: Plan, task: Task) -> tuple[Array, int]:
    """((customers,) HR@10 of every customer after the last round, bytes up per client and round)."""
    engine = InProcess({name: Worker(plan, part) for name, part in task.populations()})
    *_, done = run(plan, engine, task.train.schema)
    own = private_of(engine, engine.nodes(), plan.rounds)
    return ranking(plan.model, done.state.shared, own, task).hr, done.bytes_up


def masked(plan: Plan, task: Task) -> tuple[int, int]:
    """(bytes of a masked vector, all bytes up) per client, of one round of the same plan under a secure sum."""
    plan = replace(plan, rounds=1, secure_sum=SecAgg(), quantise_bound=NORM)
    engine = InProcess({name: Worker(plan, part, watched=True) for name, part in task.populations()})
    *_, done = run(plan, engine, task.train.schema)
    return next(part.nbytes for part in engine.witness(1) if part is not None), done.bytes_up


def measure(name: str, task: Task, seeds: Sequence[int], rounds: int, secure: bool) -> Outcome:
    """One method over all seeds."""
    began = time.process_time()
    found = [train(plan_of(METHODS[name], seed, rounds), task) for seed in seeds]
    cpu = (time.process_time() - began) / len(seeds)
    hidden = masked(plan_of(METHODS[name], seeds[0], rounds), task) if secure else (None, None)
    hits = np.stack([hr for hr, _ in found])
    return Outcome(name, found[0][1], hidden[0], hidden[1], hits.mean(axis=0), tuple(hits.mean(axis=1).tolist()), cpu)


def row(outcome: Outcome, plain: Outcome) -> dict[str, object]:
    """What the table says of a method."""
    low, high = paired(outcome.hits, plain.hits) if outcome is not plain else (0.0, 0.0)
    return {
        "method": outcome.name,
        "bytes_up": outcome.bytes_up,
        "ratio": round(plain.bytes_up / outcome.bytes_up, 2),
        "masked_vector_bytes": outcome.masked,
        "masked_ratio": None
        if outcome.masked is None or plain.masked is None
        else round(plain.masked / outcome.masked, 2),
        "secure_bytes_up": outcome.secure,
        "hr@10": round(float(outcome.hits.mean()), 4),
        "difference": round(float((outcome.hits - plain.hits).mean()), 4),
        "interval": [round(low, 4), round(high, 4)],
        "by_seed": [round(a - b, 4) for a, b in zip(outcome.by_seed, plain.by_seed, strict=True)],
        "cpu_seconds": round(outcome.cpu, 1),
    }


def shown(line: dict[str, object]) -> str:
    """A row of the table."""
    masked_ratio = f"{line['masked_ratio']}x" if line["masked_ratio"] else "-"
    return (
        f"{line['method']!s:48}{line['bytes_up']:>8} {line['ratio']:>6}x {masked_ratio:>7} "
        f"{line['secure_bytes_up'] or '-':>8}  {line['hr@10']:.4f} {line['difference']:+.4f} {line['interval']} "
        f"{line['cpu_seconds']} s"
    )


def main() -> None:
    """Print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", default=list(HEADLINE), choices=list(METHODS), metavar="NAME")
    parser.add_argument("--all", action="store_true", help="every method: some hours")
    parser.add_argument("--no-masked", action="store_true", help="leave the secure round out")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    names = list(METHODS) if arguments.all else ["none", *(name for name in arguments.only if name != "none")]
    plan = plan_of((), 0, arguments.rounds)
    task = tasks(plan, load(plan, None))[0]
    print(
        "method, bytes up per client and round, ratio, ratio masked, all bytes masked, HR@10, difference, interval, CPU"
    )
    rows: list[dict[str, object]] = []
    plain: Outcome | None = None
    for name in names:
        outcome = measure(name, task, range(arguments.seeds), arguments.rounds, not arguments.no_masked)
        plain = plain or outcome
        rows.append(row(outcome, plain))
        print(shown(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"rounds": arguments.rounds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
