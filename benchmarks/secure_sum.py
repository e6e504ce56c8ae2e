"""What the secure sum costs: client and server CPU, bytes, exactness; prints one JSON object.

    python benchmarks/secure_sum.py [--quick]

Every client runs its real code on the messages of the server; CPU by time.process_time, one process, one thread. "first
round" includes what is done once per run: key agreement with, and a signature check of, every neighbour.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from tacit.privacy.secure_sum import keys, wire
from tacit.privacy.secure_sum.sum import SecAgg


def measure(component: SecAgg, clients: int, size: int, dropped: float, rounds: int) -> dict[str, object]:
    names = [f"client/{i}" for i in range(clients)]
    parties = component.parties(names)
    k, t = component.shape(clients)
    random = np.random.default_rng(0)
    vectors = random.integers(0, 2**32, (8, size), dtype=np.uint32)
    report: dict[str, object] = {"clients": clients, "neighbours": k, "threshold": t, "parameters": size}
    exact, own, served = True, {}, 0.0
    first_own: list[float] = []
    up = down = 0
    gone = set(names[:: round(1 / dropped)] if dropped else [])  # vanish before they upload: the dearest moment
    for number in range(rounds):
        own, served = dict.fromkeys(names, 0.0), 0.0
        up, down, began = 0, 0, time.process_time()
        server = parties.server
        server.start(number, names, size)
        for stage in wire.STAGES:
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
        "client_ms_median_first_round": round(1e3 * statistics.median(first_own), 2),
        "server_s": round(served, 3),
        "bytes_up": up,
        "bytes_down": down,
        "vector_bytes_per_parameter": 4 if exact else None,
        "bytes_up_per_parameter": round(up / size, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the parameters")
    scale = 10 if parser.parse_args().quick else 1
    report = {
        "complete_graph": measure(SecAgg(), 100, 1_000_000 // scale, 0.1, 3),
        "neighbours_36": measure(SecAgg(neighbours=36), 100, 1_000_000 // scale, 0.1, 3),
        "demo_943": measure(SecAgg(), 943, 107_648 // scale, 0.1, 3),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
