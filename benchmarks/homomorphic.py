"""What homomorphic sums cost beside the secure sum by masks: CPU in all, bytes, error, memory; prints one JSON object.

    python benchmarks/homomorphic.py [--quick] [--json FILE]

Ten parties sum 100,000 parameters. Every party runs its real code on the messages of the server; CPU by process time of
all processes that take part, one thread each, start-up of worker processes and compilation left out. OpenFHE and
TenSEAL are measured where they are installed (docs/homomorphic.md). Memory: three parties and a server sum 10M
parameters, each in a process of its own; the largest resident set of any.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tacit.core.values import PlanError, Reply, Request
from tacit.privacy.homomorphic import bfv, ckks, parameters, threshold, wire
from tacit.privacy.homomorphic.server import Server
from tacit.privacy.homomorphic.sum import ThresholdRLWE
from tacit.privacy.quantise import Quantiser
from tacit.privacy.randomness import secure
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.sum import SecAgg

PARTIES = 10


def drive(group: Any, round: int, vectors: dict[str, Any]) -> tuple[Any, int, int]:
    """One round: (the opened sum, bytes up, bytes down) of one party."""
    up = down = 0
    first = next(iter(vectors))
    group.server.start(round, list(vectors), len(vectors[first]))
    while (stage := group.server.stage) != "finish":
        for name, request in group.server.requests().items():
            reply = group.clients[name].answer(request, vectors[name] if stage == "masked" else None)
            group.server.receive(name, reply)
            if name == first:
                up += sum(array.nbytes for array in reply.arrays.values())
                down += sum(array.nbytes for array in request.arrays.values())
        group.server.close()
    found = group.server.finish()
    return (found[0] if isinstance(found, list) else found), up, down


def protocol(component: Any, x: Any, rounds: int = 3) -> dict[str, Any]:
    """A whole round of a plan's sum, quantising included; the first, with compilation, is not timed."""
    names, size = [f"party-{i}" for i in range(len(x))], x.shape[1]
    group, codec, seconds = component.parties(names), Quantiser(1.0, len(x)), []
    for number in range(rounds):
        began = time.process_time()
        vectors = {name: codec.encode(row, secure()) for name, row in zip(names, x, strict=True)}
        opened, up, down = drive(group, number + 1, vectors)
        found = codec.decode(opened.total, len(x))
        seconds.append(time.process_time() - began)
        exact = np.array_equal(opened.total, np.sum(list(vectors.values()), axis=0, dtype=np.uint32))
    return row(min(seconds[1:]), up / size, down / size, float(np.abs(found - x.sum(axis=0)).max()), exact)


def row(seconds: float, up: float, down: float, error: float, exact: bool | None) -> dict[str, Any]:
    return {
        "cpu_seconds_in_all": round(seconds, 3),
        "bytes_up_per_parameter": round(up, 2),
        "bytes_down_per_parameter": round(down, 2),
        "largest_error": float(f"{error:.2g}"),
        "exact_integers": exact,
    }


def scheme(x: Any) -> dict[str, float]:
    """CPU seconds of the scheme's steps for all parties, without the protocol around them."""
    parties, size = x.shape
    codec, source, spent = Quantiser(1.0, parties), secure(), dict.fromkeys(("keys", "encrypt", "add", "open"), 0.0)
    ring = parameters.choose(parties, size, 40.0)

    def timed(name: str, act: Callable[[], Any]) -> Any:
        began = time.process_time()
        out = act()
        spent[name] += time.process_time() - began
        return out

    pairs = [timed("keys", lambda: threshold.generate(ring, b"bench", source)) for _ in range(parties)]
    key = timed("keys", lambda: threshold.joint(ring, b"bench", [share for _, share in pairs]))
    total = threshold.zero(ring, size)
    for values in x:
        encoded = codec.encode(values, source)
        sent = timed("encrypt", lambda encoded=encoded: threshold.encrypt(key, encoded, source))
        timed("add", lambda sent=sent: threshold.add(total, sent))
    bits = parameters.smudging(ring, parties)
    parts = [timed("open", lambda s=s: threshold.partial(s, total.mask, size, bits, source)) for s, _ in pairs]
    timed("open", lambda: threshold.combine(total.body, parts))
    return {name: round(value, 4) for name, value in spent.items()}


def openfhe(x: Any, flooding: bool) -> dict[str, Any]:
    """Threshold BFV in a worker process for each role."""
    codec, size = Quantiser(1.0, len(x)), x.shape[1]
    with bfv.roles(len(x), flooding) as (members, server, _):

        def spent() -> float:
            return time.process_time() + sum(float(role.call("time")[0]) for role in (*members, server))

        began = spent()
        vectors = [codec.encode(values, secure()) for values in x]
        total = bfv.added(members, server, vectors)
        seconds = spent() - began
        exact = np.array_equal(total, np.sum(vectors, axis=0, dtype=np.uint32))
        sent = members[0].call("encrypt", vectors[0].tobytes())
        up = sum(map(len, sent)) + sum(map(len, members[0].call("partial", b"1", *sent)))
        error = float(np.abs(codec.decode(total, len(x)) - x.sum(axis=0)).max())
    return row(seconds, up / size, sum(map(len, sent)) / size, error, exact)


def tenseal(x: Any) -> dict[str, Any]:
    """CKKS under a key that parties share."""
    first = ckks.Party()
    parties = [first, *(ckks.Party(first.secret()) for _ in range(len(x) - 1))]
    server = ckks.Server(first.public())
    began = time.process_time()
    found = ckks.added(parties, server, list(x))
    seconds = time.process_time() - began
    up = sum(map(len, first.encrypt(x[0], len(x))))
    return row(seconds, up / x.shape[1], up / x.shape[1], float(np.abs(found - x.sum(axis=0)).max()), None)


def missing(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return measure()
    except PlanError as why:
        return {"absent": str(why)}


# --- memory: every role in a process of its own, messages as files ----------------------------------------------------


def put(folder: Path, arrays: Any) -> None:
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def got(folder: Path) -> dict[str, Any]:
    return {path.stem: np.load(path) for path in folder.iterdir()}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def party(pipe: Any, folder: Path, name: str, key: bytes, trusted: dict[str, bytes], size: int) -> None:
    """One party: is told stages, finds requests in its folder, leaves replies there."""
    client = ThresholdRLWE().client(name, Identity.load(key), b"memory", trusted)
    while (stage := pipe.recv_bytes().decode()) != "finish":
        vector = np.full(size, ord(name), np.uint32) if stage == "masked" else None
        arrays = got(folder / name / stage)
        reply = client.answer(Request(wire.KIND + stage, 1, arrays), vector)
        put(folder / name / f"{stage}-reply", reply.arrays)
        del arrays, reply, vector
        pipe.send_bytes(b"done")
    pipe.send_bytes(str(peak()).encode())


def serve(pipe: Any, folder: Path, pipes: dict[str, Any], trusted: dict[str, bytes], size: int) -> None:
    server = Server(ThresholdRLWE(), b"memory", trusted)
    server.start(1, sorted(trusted), size)
    while (stage := server.stage) != "finish":
        for name, request in server.requests().items():
            put(folder / name / stage, request.arrays)
            pipes[name].send_bytes(stage.encode())
            pipes[name].recv_bytes()
            arrays = got(folder / name / f"{stage}-reply")
            server.receive(name, Reply(arrays))
            del arrays
            for path in [*(folder / name).glob("*/*")]:
                path.unlink()
        server.close()
    total = server.finish()[0].total
    assert np.all(total == sum(map(ord, trusted))), "the sum is wrong"
    pipe.send_bytes(str(peak()).encode())


def memory(size: int) -> dict[str, Any]:
    """Largest resident set of a party and of the server, MB."""
    context = multiprocessing.get_context("spawn")
    identities = {name: Identity.generate() for name in "abc"}
    trusted = {name: identity.public for name, identity in identities.items()}
    with tempfile.TemporaryDirectory() as scratch:
        folder, pipes, processes = Path(scratch), {}, []
        for name, identity in identities.items():
            pipes[name], theirs = context.Pipe()
            given = (theirs, folder, name, identity.save(), trusted, size)
            processes.append(context.Process(target=party, args=given))
        mine, theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(theirs, folder, pipes, trusted, size)))
        for process in processes:
            process.start()
        server = int(mine.recv_bytes())
        largest = 0
        for pipe in pipes.values():
            pipe.send_bytes(b"finish")
            largest = max(largest, int(pipe.recv_bytes()))
        for process in processes:
            process.join()
    return {"parameters": size, "party_peak_mb": largest // 1024, "server_peak_mb": server // 1024}


def table(report: dict[str, Any]) -> str:
    lines = [
        "| sum | CPU s, all parties | bytes up / parameter | bytes down | largest error |",
        "|---|---|---|---|---|",
    ]
    for name, found in report["sums"].items():
        if "absent" in found:
            lines.append(f"| {name} | absent | | | |")
            continue
        error = f"{found['largest_error']:g}" + (" (rounding; integers exact)" if found["exact_integers"] else "")
        up, down = found["bytes_up_per_parameter"], found["bytes_down_per_parameter"]
        lines.append(f"| {name} | {found['cpu_seconds_in_all']} | {up} | {down} | {error} |")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="a tenth of the parameters")
    options.add_argument("--json", type=Path, help="write the report there too")
    given = options.parse_args()
    scale = 10 if given.quick else 1
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (PARTIES, 100_000 // scale))
    sums = {
        "SecAgg (masks)": protocol(SecAgg(minimum=3), x),
        "ThresholdRLWE": protocol(ThresholdRLWE(), x),
        "ThresholdRLWE, audit": protocol(ThresholdRLWE(audit=True), x),
        "OpenFHE BFV, noise flooding": missing(lambda: openfhe(x, True)),
        "OpenFHE BFV, fixed noise": missing(lambda: openfhe(x, False)),
        "TenSEAL CKKS, one shared key": missing(lambda: tenseal(x)),
    }
    report = {
        "parties": PARTIES,
        "parameters": x.shape[1],
        "sums": sums,
        "threshold_rlwe_steps_cpu_seconds": scheme(x),
        "memory": memory(10_000_000 // scale),
    }
    text = json.dumps(report, indent=2)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    print(table(report), file=sys.stderr)


if __name__ == "__main__":
    main()
