"""What compression saves and what it costs: bytes up per round and per training, and HR@10 beside the best plain run.

    python -m benchmarks.compression [--seeds 8] [--only NAME ...] [--on validation] [--quick] [--json FILE]

MovieLens 100K; matrix factorisation by federated averaging, 100 customers a round. Every method runs the real loop with
the same seeds as the plain one: same cohorts, batches and initial values. Bytes in the clear are those of the arrays
that left the clients; `masked` is a round of the same plan under a real secure sum: 32-bit words of the masked vector,
and all bytes with keys and shares, which do not depend on the model. A secure sum changes nothing of the sum (tested:
packed digits come back exactly), so HR@10 is that of the same messages added in the clear. It is the mean over seeds
for each customer; differences come with a paired 95 % bootstrap interval over customers. Step sizes, rounds and
settings were chosen by trial runs on validation items (seeds 0 to 3; `--on validation --first 0` ranks these); the
table is of test items and seeds from 10 on. A file given by --json is also where the run goes on after it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from tacit.job.assess import ranking, validation_ranking
from tacit.job.task import Task, load, tasks
from tacit.job.training import private_of
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.count_sketch import CountSketch
from tacit.privacy.transforms.error_feedback import ErrorFeedback
from tacit.privacy.transforms.importance_sampling import ImportanceSampling
from tacit.privacy.transforms.low_bit import LowBit
from tacit.privacy.transforms.low_rank import LowRank
from tacit.privacy.transforms.random_k import RandomK
from tacit.privacy.transforms.top_k import TopK

DIM = 32
COHORT = 100
ROUNDS = 150
FIRST = 10  # seed of the table; those below chose the settings
NORM = 24.0  # of a secure sum's integers where nothing rounds to a grid


@dataclass(frozen=True, slots=True)
class Method:
    """One way to send updates, with its own best step."""

    protect: tuple[Transform, ...] = ()
    server_lr: float = 30.0  # of round 1; falls to nothing over the rounds
    rounds: int = ROUNDS
    dim: int = DIM


METHODS: dict[str, Method] = {
    "none": Method(),
    "20 columns, importance sampling + 4 bits": Method((ImportanceSampling(20, 3.47), LowBit(4, 4.0)), dim=20),
    "20 columns": Method(dim=20),
    "importance sampling + 4 bits": Method((ImportanceSampling(DIM, 5.54), LowBit(4, 4.0))),
    "low rank 5 + 4 bits": Method((LowRank(DIM, 5), LowBit(4, 4.0))),
    "5 columns, 4 bits": Method((LowBit(4, 6.0),), dim=5),
    "low rank 15 + 4 bits": Method((LowRank(DIM, 15), LowBit(4, 8.0))),
    "low rank 2": Method((LowRank(DIM, 2),)),
    "error feedback (low rank 5) + 4 bits": Method((ErrorFeedback(LowRank(DIM, 5)), LowBit(4, 8.0))),
    "4 bits": Method((LowBit(4, 12.0),)),
    "1 bit": Method((LowBit(1, 12.0),)),
    "random 1 in 16": Method((RandomK(16.0),)),
    "count sketch 16": Method((CountSketch(16.0),)),
    "error feedback (top 1 in 32), reveals items": Method((ErrorFeedback(TopK(32.0, reveals_support=True)),)),
}
HEADLINE = tuple(METHODS)[:3]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One method over all seeds."""

    name: str
    bytes_up: int  # per client and round
    masked: int | None  # bytes of the masked vector, per client and round
    secure: int | None  # all bytes up of a secure round, per client
    hits: Array  # (seeds, customers) HR@10
    cpu: float  # seconds per training


def plan_of(method: Method, seed: int) -> Plan:
    """The training of a method."""
    local = SGD(lr=0.5, epochs=4, batch_size=32)
    return Plan(
        name="compressed",
        data=MovieLens100K(),
        clients=ByCustomer(),
        model=MatrixFactorisation(dim=method.dim),
        algorithm=FedAvg(local=local, server_lr=method.server_lr, cooling=method.rounds),
        rounds=method.rounds,
        cohort=COHORT,
        protect=method.protect,
        seed=seed,
        simulation=True,
    )


def train(plan: Plan, task: Task, on: str = "test") -> tuple[Array, int]:
    """((customers,) HR@10 of every customer after the last round, bytes up per client and round)."""
    engine = InProcess({name: Worker(plan, part) for name, part in task.populations()})
    *_, done = run(plan, engine, task.train.schema)
    own = private_of(engine, engine.nodes(), plan.rounds)
    rank = ranking if on == "test" else validation_ranking
    return rank(plan.model, done.state.shared, own, task).hr, done.bytes_up


def masked(plan: Plan, task: Task) -> tuple[int, int]:
    """(bytes of a masked vector, all bytes up) per client, of one round of the same plan under a secure sum."""
    plan = replace(plan, rounds=1, secure_sum=SecAgg(), quantise_bound=NORM)
    engine = InProcess({name: Worker(plan, part, watched=True) for name, part in task.populations()})
    *_, done = run(plan, engine, task.train.schema)
    return next(part.nbytes for part in engine.witness(1) if part is not None), done.bytes_up


def measure(name: str, method: Method, task: Task, seeds: Sequence[int], args: Any, kept: dict[str, Any]) -> Outcome:
    """One method over all seeds; trainings that are kept from a run before are not done again."""
    for seed in seeds:
        key = f"{name}|{method!r}|{args.on}|{seed}"
        if key in kept:
            continue
        began = time.process_time()
        hits, sent = train(plan_of(method, seed), task, args.on)
        kept[key] = {"hits": hits.tolist(), "bytes_up": sent, "cpu": time.process_time() - began}
        print(f"{name}, seed {seed}: HR@10 {hits.mean():.4f}, {kept[key]['cpu']:.0f} s", file=sys.stderr, flush=True)
        keep(args.json, kept)
    key = f"{name}|{method!r}|masked"
    if not args.no_masked and key not in kept:
        kept[key] = masked(plan_of(method, seeds[0]), task)
        keep(args.json, kept)
    found = [kept[f"{name}|{method!r}|{args.on}|{seed}"] for seed in seeds]
    words, secure = kept.get(key, (None, None))
    hits = np.array([each["hits"] for each in found])
    return Outcome(name, found[0]["bytes_up"], words, secure, hits, float(np.mean([each["cpu"] for each in found])))


def beside(json_file: Path) -> Path:
    """Where finished trainings are kept."""
    return json_file.with_suffix(".kept.json")


def keep(json_file: Path | None, kept: dict[str, Any]) -> None:
    """Store finished trainings, so that a stopped run goes on."""
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        beside(json_file).write_text(json.dumps(kept) + "\n")


def row(outcome: Outcome, method: Method, plain: Outcome, usual: Method) -> dict[str, object]:
    """What the table says of a method."""
    mine, theirs = outcome.hits.mean(axis=0), plain.hits.mean(axis=0)
    low, high = paired(mine, theirs) if outcome is not plain else (0.0, 0.0)
    masked_ratio = plain.masked / outcome.masked if plain.masked and outcome.masked else None
    return {
        "method": outcome.name,
        "rounds": method.rounds,
        "bytes_up": outcome.bytes_up,
        "ratio": round(plain.bytes_up / outcome.bytes_up, 2),
        "training_ratio": round(plain.bytes_up * usual.rounds / (outcome.bytes_up * method.rounds), 2),
        "masked_vector_bytes": outcome.masked,
        "masked_ratio": round(masked_ratio, 2) if masked_ratio else None,
        "masked_training_bytes": outcome.masked * method.rounds if outcome.masked is not None else None,
        "masked_training_ratio": round(masked_ratio * usual.rounds / method.rounds, 2) if masked_ratio else None,
        "secure_bytes_up": outcome.secure,
        "hr@10": round(float(mine.mean()), 4),
        "difference": round(float((mine - theirs).mean()), 4),
        "interval": [round(low, 4), round(high, 4)],
        "by_seed": [round(float(d), 4) for d in outcome.hits.mean(axis=1) - plain.hits.mean(axis=1)],
        "cpu_seconds": round(outcome.cpu, 1),
    }


def shown(line: dict[str, object]) -> str:
    """A row of the table."""
    masked_ratio = f"{line['masked_ratio']}x" if line["masked_ratio"] else "-"
    whole = f"{line['masked_training_ratio']}x" if line["masked_training_ratio"] else "-"
    return (
        f"{line['method']!s:44}{line['rounds']:>6} {line['bytes_up']:>8} {line['ratio']:>6}x "
        f"{line['masked_vector_bytes'] or '-':>8} {masked_ratio:>7} {whole:>7} {line['secure_bytes_up'] or '-':>8}  "
        f"{line['hr@10']:.4f} {line['difference']:+.4f} {line['interval']} {line['by_seed']} {line['cpu_seconds']} s"
    )


def main() -> None:
    """Print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first", type=int, default=FIRST, help="the first seed")
    parser.add_argument("--rounds", type=int, help="of every method, in place of its own")
    parser.add_argument("--only", nargs="*", default=list(HEADLINE), choices=list(METHODS), metavar="NAME")
    parser.add_argument("--all", action="store_true", help="every method: about an hour")
    parser.add_argument("--on", choices=("test", "validation"), default="test", help="held-out items to rank")
    parser.add_argument("--no-masked", action="store_true", help="leave the secure round out")
    parser.add_argument("--quick", action="store_true", help="one seed, 20 rounds: shows bytes, not quality")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.rounds = 1, args.rounds or 20
    names = list(METHODS) if args.all else ["none", *(name for name in args.only if name != "none")]
    seeds = range(args.first, args.first + args.seeds)
    chosen = {name: replace(METHODS[name], rounds=args.rounds or METHODS[name].rounds) for name in names}
    plan = plan_of(chosen["none"], 0)
    task = tasks(plan, load(plan, None))[0]
    kept: dict[str, Any] = {}
    if args.json and beside(args.json).exists():
        kept = json.loads(beside(args.json).read_text())
    print(
        "method, rounds, bytes up per client and round, ratio, masked vector, ratio, ratio of whole trainings, "
        f"all bytes masked, HR@10 ({args.on} items), difference, interval, difference by seed, CPU"
    )
    rows: list[dict[str, object]] = []
    plain: Outcome | None = None
    for name in names:
        outcome = measure(name, chosen[name], task, seeds, args, kept)
        plain = plain or outcome
        rows.append(row(outcome, chosen[name], plain, chosen["none"]))
        print(shown(rows[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"seeds": list(seeds), "on": args.on, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
