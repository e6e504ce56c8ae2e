"""One round of factorisation at scale: a million customers, a hundred thousand items, two processes; and noise.

    python -m benchmarks.scale million | items | processes | noise     prints one JSON object

Customers have 21 to 737 positives as in the work item; four negatives each are drawn inside the round from the seed, as
the product does it, so that a customer's memory is its own rows and its vector.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

import numpy as np

from benchmarks.tacit_run import initial, model_of, population
from benchmarks.work_item import _positives_per_client, draw
from tacit.core.trees import flatten, unflatten
from tacit.core.values import Array, Population, Schema
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.learning.trainers.fused import Fused
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.privacy import grid_noise
from tacit.privacy.randomness import secure

MODEL = MatrixFactorisation(dim=32)
ALGORITHM = FedAvg(local=SGD(lr=0.5, batch_size=64))


def customers(count: int, items: int, seed: int = 0) -> Population:
    """A generated population: 10,000 histories, long-tailed over items, repeated to any number of customers."""
    random = np.random.default_rng(seed)
    base = min(count, 10_000)
    sizes = _positives_per_client(random, base)
    weight = 1.0 / np.arange(1, items + 1) ** 0.8
    edges = np.cumsum(weight / weight.sum())
    parts = []
    for size in sizes:
        found = np.unique(np.searchsorted(edges, random.random(4 * size)))
        parts.append(random.permutation(found)[:size].astype(np.int32))
    lengths = np.array([len(part) for part in parts])
    repeat = -(-count // base)
    offsets = np.concatenate([[0], np.cumsum(np.tile(lengths, repeat)[:count])]).astype(np.int64)
    item = np.tile(np.concatenate(parts), repeat)[: offsets[-1]]
    return Population(Schema("interactions", items=items), offsets, {"item": item})


def round_seconds(people: Population, repeats: int, cohort: Array | None = None) -> float:
    """Median CPU seconds of one round over a cohort, the first (compiling) not counted."""
    init = MODEL.init(people.schema, 0)
    own = {"user": np.repeat(init["user"][None], len(people), axis=0)}
    chosen = np.arange(len(people)) if cohort is None else cohort
    work = ALGORITHM.work(MODEL, 1)
    Fused().total(work, {"items": init["items"]}, own, people, chosen[:10], 0, None)
    seconds = []
    for number in range(repeats):
        began = time.process_time()
        Fused().total(work, {"items": init["items"]}, own, people, chosen, number, None)
        seconds.append(time.process_time() - began)
    return float(np.median(seconds))


def million() -> dict[str, float]:
    """One round of a million customers, and what the process held at its peak."""
    people = customers(1_000_000, 1682)
    seconds = round_seconds(people, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"customers": len(people), "rows": int(people.offsets[-1]), "cpu_seconds": seconds, "peak_memory_gb": peak}


def items() -> dict[str, float]:
    """CPU per customer with 1,682 and with 100,000 items: same numbers of rows, measured in turn."""
    count = 20_000
    small, large = customers(count, 1682), customers(count, 100_000)
    pairs = [
        (round_seconds(small, 1) / small.offsets[-1], round_seconds(large, 1) / large.offsets[-1]) for _ in range(5)
    ]
    ratios = sorted(b / a for a, b in pairs)
    per_row = 1e6 * float(np.median([a for a, _ in pairs])), 1e6 * float(np.median([b for _, b in pairs]))
    return {
        "customers": count,
        "us_per_row_1682_items": per_row[0],
        "us_per_row_100000_items": per_row[1],
        "distinct_items_ratio": _distinct(large) / _distinct(small),
        "ratio": ratios[2],
        "low": ratios[0],
        "high": ratios[-1],
    }


def _distinct(people: Population) -> float:
    """Item rows that a round touches per example, the first thousand customers' (positives and four negatives each)."""
    random, touched = np.random.default_rng(0), 0
    for c in range(1000):
        mine = people.fields["item"][people.offsets[c] : people.offsets[c + 1]]
        touched += len(np.union1d(mine, random.integers(0, people.schema.items, 4 * len(mine))))
    return touched / (5 * float(people.offsets[1000]))


def noise() -> dict[str, float]:
    """CPU of the work item's round with clipping and client-level noise over without, measured in turn."""
    work = draw("mf")
    people, model = population(work), model_of("mf")
    state, own = initial(work, model, people)
    local = FedAvg(local=SGD(lr=work.learning_rate, batch_size=work.batch, shuffle=False)).work(model, 1)
    everyone = np.arange(work.clients)

    def seconds(clip: float | None) -> float:
        began = time.process_time()
        total = Fused().total(local, state.shared, {n: v.copy() for n, v in own.items()}, people, everyone, 0, clip)
        if clip is not None:
            unflatten(grid_noise.noisy(flatten(total), clip, 1.0, secure()), total)
        return time.process_time() - began

    seconds(None), seconds(0.01)
    ratios = sorted(_ratio_of_medians([(seconds(None), seconds(0.01)) for _ in range(7)]) for _ in range(7))
    return {"clients": work.clients, "ratio": ratios[3], "low": ratios[0], "high": ratios[-1]}


def _ratio_of_medians(pairs: list[tuple[float, float]]) -> float:
    return float(np.median([b for _, b in pairs]) / np.median([a for a, _ in pairs]))


def half(count: int) -> None:
    """Several rounds of one process's share, on the core it is pinned to; prints wall seconds of the best."""
    people = customers(count, 1682)
    sys.stdin.readline()  # both processes begin together
    best = min(_wall(people) for _ in range(7))
    print(best)


def _wall(people: Population) -> float:
    began = time.perf_counter()
    round_seconds(people, 1)
    return time.perf_counter() - began


def processes() -> dict[str, float]:
    """Wall time of one process with all customers against two processes with half each, on two cores."""
    count = 100_000
    cores = sorted(os.sched_getaffinity(0))[:2]
    ratios, alone, pair = [], [], []
    for _ in range(3):
        alone.append(max(_spawn(count, cores[:1])))
        pair.append(max(_spawn(count // 2, cores)))
        ratios.append(alone[-1] / pair[-1])
    ratios.sort()
    return {
        "customers": count,
        "seconds_one_process": float(np.median(alone)),
        "seconds_two_processes": float(np.median(pair)),
        "ratio": ratios[1],
        "low": ratios[0],
        "high": ratios[2],
        "cores": len(cores),
    }


def _spawn(count: int, cores: list[int]) -> list[float]:
    code = f"import os;os.sched_setaffinity(0,{{core}});from benchmarks.scale import half;half({count})"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code.replace("core", str(core))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for core in cores
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return [float(process.communicate()[0]) for process in running]


if __name__ == "__main__":
    print(json.dumps({"million": million, "items": items, "processes": processes, "noise": noise}[sys.argv[1]]()))
