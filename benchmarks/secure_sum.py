"""What the secure sum costs: client and server CPU, bytes, exactness, share of a round; prints one JSON object.

    python benchmarks/secure_sum.py [--quick] [--only NAME ...] [--json FILE]

Every client runs its real code on the messages of the server; CPU by time.process_time, one process, one thread. "first
round" includes what is done once per run: key agreement with, and a signature check of, every neighbour. `thousand` is
1,000 clients of whom every third vanishes just before its upload, with 10 % colluding; it takes some ten minutes.
`share` sets the client's CPU beside a round of 5 local epochs over 10,000 rows on a perceptron of a million parameters.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tacit.core.values import Population, Schema
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.learning.trainers.choice import FASTEST
from tacit.models.multilayer_perceptron import MultilayerPerceptron
from tacit.privacy.quantise import Quantiser
from tacit.privacy.randomness import secure
from tacit.privacy.secure_sum import keys
from tacit.privacy.secure_sum.sum import SecAgg


def measure(component: SecAgg, clients: int, size: int, dropped: float, rounds: int) -> dict[str, object]:
    names = [f"client/{i}" for i in range(clients)]
    parties = component.parties(names)
    k, t = component.shape(clients)
    random = np.random.default_rng(0)
    vectors = random.integers(0, 2**32, (8, size), dtype=np.uint32)
    report: dict[str, object] = {"clients": clients, "neighbours": k, "threshold": t, "parameters": size}
    report |= {"rounds": rounds, "colluding": component.colluding, "against": component.against}
    exact, own, served = True, {}, 0.0
    first_own: list[float] = []
    up = down = 0
    gone = set(names[:: round(1 / dropped)] if dropped else [])  # vanish before they upload: the dearest moment
    all_rounds: list[float] = []
    for number in range(rounds):
        own, served = dict.fromkeys(names, 0.0), 0.0
        up, down, began = 0, 0, time.process_time()
        server = parties.server
        server.start(number, names, size)
        while (stage := server.stage) != "finish":
            requests = server.requests()
            served += time.process_time() - began
            for name, request in requests.items():
                if name in gone and stage == "masked":
                    continue
                vector = vectors[int(name[7:]) % 8]
                keys.check_key.cache_clear()  # as if every client ran in a process of its own
                began = time.process_time()
                reply = parties.clients[name].answer(request, vector)
                own[name] += time.process_time() - began
                if name == names[1]:
                    up += sum(array.nbytes for array in reply.arrays.values())
                    down += sum(array.nbytes for array in request.arrays.values())
                began = time.process_time()
                server.receive(name, reply)
                served += time.process_time() - began
            began = time.process_time()
            server.close()
        opened = server.finish()
        served += time.process_time() - began
        if not number:
            first_own = [own[name] for name in opened.survivors]
        else:
            all_rounds.append(statistics.median(own[name] for name in opened.survivors))
        expected = np.zeros(size, np.uint32)
        for name in opened.survivors:
            expected += vectors[int(name[7:]) % 8]
        exact = exact and bool(np.array_equal(expected, opened.total))
        report["dropped"] = len(opened.dropped)
    stayed = [own[name] for name in names if name not in gone]
    return report | {
        "exact": exact,
        "client_ms_median": round(1e3 * statistics.median(stayed), 2),
        "client_ms_max": round(1e3 * max(stayed), 2),
        "client_ms_median_by_round": [round(1e3 * value, 2) for value in all_rounds],
        "client_ms_median_first_round": round(1e3 * statistics.median(first_own), 2),
        "server_s": round(served, 3),
        "bytes_up": up,
        "bytes_down": down,
        "vector_bytes_per_parameter": 4 if exact else None,
        "bytes_up_per_parameter": round(up / size, 4),
    }


def learned(batch: int, rows: int = 10_000, features: int = 100, hidden: int = 9803) -> dict[str, object]:
    """CPU seconds of a client's local work, by the fastest trainer: 5 epochs, three times."""
    model, schema = MultilayerPerceptron(hidden=hidden), Schema("tabular", features=features)
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, features)).astype(np.float32)
    fields = {"x": x, "y": (random.random(rows) < 0.5).astype(np.float32)}
    population = Population(schema, np.array([0, rows]), fields)
    algorithm = FedAvg(SGD(lr=0.01, epochs=5, batch_size=batch))
    work = algorithm.work(model, 1)
    shared = algorithm.init(model, schema, 0).shared
    found: dict[str, list[float]] = {}
    for trainer in (one for one in FASTEST if one.refuses(work) is None):
        for _ in range(3):
            began = time.process_time()
            trainer.total(work, shared, {}, population, np.array([0]), 0, None)
            found.setdefault(type(trainer).__name__, []).append(time.process_time() - began)
    best = min(found, key=lambda name: statistics.median(found[name]))
    size = sum(int(np.size(value)) for name, value in shared.items() if name not in model.constants)
    return {
        "trainer": best,
        "batch": batch,
        "parameters": size,
        "seconds": statistics.median(found[best]),
        "all": found[best],
    }


def share(size: int) -> dict[str, object]:
    """The secure sum's share of a client's CPU in such a round: rounding to integers and every message."""
    local = min((learned(batch) for batch in (64, 256)), key=lambda one: float(str(one["seconds"])))
    seconds = float(str(local["seconds"]))
    report: dict[str, object] = {"local_work": local}
    values = np.random.default_rng(0).normal(size=size) * 0.01
    for clients in (10, 100):
        codec, spent = Quantiser(1.0, clients), []
        for _ in range(6):  # the first compiles
            began = time.process_time()
            codec.encode(values, secure())
            spent.append(time.process_time() - began)
        summed = measure(SecAgg(minimum=3), clients, size, 0.1, 4)
        rounding = statistics.median(spent[1:])
        cost = rounding + 1e-3 * float(str(summed["client_ms_median"]))
        report[f"clients_{clients}"] = {
            "rounding_ms": round(1e3 * rounding, 2),
            "messages_ms": summed["client_ms_median"],
            "messages_ms_by_round": summed["client_ms_median_by_round"],
            "share_percent": round(100 * cost / (cost + seconds), 2),
        }
    return report


def main() -> None:
    """Print, and with --json also write, what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the parameters")
    parser.add_argument("--only", nargs="+", help="of what is measured")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    size = 1_000_000 // (10 if arguments.quick else 1)
    third = SecAgg(dropout=1 / 3, colluding=0.1)
    cases: dict[str, Callable[[], dict[str, object]]] = {
        "complete_graph": partial(measure, SecAgg(), 100, size, 0.1, 3),
        "neighbours_36": partial(measure, SecAgg(neighbours=36), 100, size, 0.1, 3),
        "semi_honest": partial(measure, SecAgg(against="semi-honest"), 100, size, 0.1, 3),
        "demo_943": partial(measure, SecAgg(), 943, 107_648 * size // 1_000_000, 0.1, 3),
        "malicious_943": partial(measure, SecAgg(against="malicious"), 943, 107_648 * size // 1_000_000, 0.1, 3),
        "share": partial(share, size),
        "thousand": partial(measure, third, 1000, size, 1 / 3, 2),
    }
    report = {name: run() for name, run in cases.items() if not arguments.only or name in arguments.only}
    print(json.dumps(report, indent=2))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
