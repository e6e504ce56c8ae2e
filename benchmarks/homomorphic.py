"""What homomorphic sums cost beside the secure sum by masks: CPU in all, bytes, error, memory; prints one JSON object.

    python benchmarks/homomorphic.py [--quick] [--json FILE] [--no-memory] [--only NAME]

Ten parties sum the same 100,000 parameters by each of them, as a plan would: whole rounds, quantising and fresh keys
included, every party and the server by its real code. CPU seconds of all processes that take part (user and system),
one thread each; start-up of worker processes and compilation, which a run pays once, are left out and printed apart.
OpenFHE and TenSEAL are measured where they are installed (docs/homomorphic.md). Memory: three parties and a server sum
10M parameters, each in a process of its own; the largest resident set of any.
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
from tacit.privacy.homomorphic import ckks, parameters, threshold, wire
from tacit.privacy.homomorphic.bfv_sum import ThresholdBFV
from tacit.privacy.homomorphic.ckks_sum import SharedKeyCKKS
from tacit.privacy.homomorphic.sum import ThresholdRLWE
from tacit.privacy.quantise import Quantiser
from tacit.privacy.randomness import secure
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.sum import SecAgg

PARTIES = 10


def workers(group: Any) -> list[Any]:
    """Worker processes of OpenFHE, if there are any."""
    return [role for each in (group.server, *group.clients.values()) if (role := getattr(each, "_role", None))]


def drive(group: Any, round: int, vectors: dict[str, Any]) -> tuple[Any, int, int]:
    """One round: (the opened sum, bytes up, bytes down) of one party."""
    up = down = 0
    last = max(vectors)  # not the leader of a round
    group.server.start(round, list(vectors), len(vectors[last]))
    while (stage := group.server.stage) != "finish":
        for name, request in group.server.requests().items():
            reply = group.clients[name].answer(request, vectors[name] if stage == "masked" else None)
            group.server.receive(name, reply)
            if name == last:
                up += sum(array.nbytes for array in reply.arrays.values())
                down += sum(array.nbytes for array in request.arrays.values())
        group.server.close()
    found = group.server.finish()
    return (found[0] if isinstance(found, list) else found), up, down


def protocol(component: Any, x: Any, rounds: int = 3) -> dict[str, Any]:
    """Whole rounds of a plan's sum, the quickest told; the first, with compilation, is not timed."""
    names, size = [f"party-{i}" for i in range(len(x))], x.shape[1]
    group, codec, seconds = component.parties(names), Quantiser(1.0, len(x)), []
    roles = workers(group)
    began_workers = sum(role.seconds() for role in roles)
    for number in range(rounds):
        before = sum(role.seconds() for role in roles)
        began = time.process_time()
        vectors = {name: codec.encode(row, secure()) for name, row in zip(names, x, strict=True)}
        opened, up, down = drive(group, number + 1, vectors)
        found = codec.decode(opened.total, len(x))
        seconds.append(time.process_time() - began + sum(role.seconds() for role in roles) - before)
        exact = np.array_equal(opened.total, np.sum(list(vectors.values()), axis=0, dtype=np.uint32))
    out = row(min(seconds[1:]), up / size, down / size, float(np.abs(found - x.sum(axis=0)).max()), exact)
    for role in roles:
        role.close()
    return out | ({"start_cpu_seconds_of_workers": round(began_workers, 3)} if roles else {})


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


def approximate(x: Any) -> dict[str, Any]:
    """What CKKS itself is off by, real numbers and no rounding: `SharedKeyCKKS` rounds it away."""
    first = ckks.Key()
    keys = [first, *(ckks.Key(first.secret()) for _ in range(len(x) - 1))]
    found, exact = ckks.added(keys, ckks.Adder(), list(x)), x.sum(axis=0)
    worst = float(np.abs(found - exact).max())
    return {"largest_error": float(f"{worst:.2g}"), "relative": float(f"{worst / np.abs(exact).max():.2g}")}


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


def party(pipe: Any, folder: Path, component: Any, name: str, key: bytes, trusted: dict[str, bytes], size: int) -> None:
    """One party: is told stages, finds requests in its folder, leaves replies there."""
    client = component.client(name, Identity.load(key), b"memory", trusted)
    while (stage := pipe.recv_bytes().decode()) != "finish":
        vector = np.full(size, ord(name), np.uint32) if stage == "masked" else None
        arrays = got(folder / name / stage)
        reply = client.answer(Request(wire.KIND + stage, 1, arrays), vector)
        del arrays, vector
        put(folder / name / f"{stage}-reply", reply.arrays)
        del reply
        pipe.send_bytes(b"done")
    pipe.send_bytes(f"{peak()} {worker_peak(client)}".encode())


def worker_peak(owner: Any) -> int:
    """Kilobytes at most of a worker process; 0 without one."""
    if (role := getattr(owner, "_role", None)) is None:
        return 0
    lines = Path(f"/proc/{role._process.pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def serve(pipe: Any, folder: Path, component: Any, pipes: dict[str, Any], trusted: dict[str, bytes], size: int) -> None:
    server = component.server(b"memory", trusted)
    server.start(1, sorted(trusted), size)
    while (stage := server.stage) != "finish":
        for name, request in server.requests().items():
            put(folder / name / stage, request.arrays)
        del request
        for name in sorted(trusted):
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
    pipe.send_bytes(f"{peak()} {worker_peak(server)}".encode())


def memory(component: Any, size: int) -> dict[str, Any]:
    """Largest resident sets, MB, of a party, the server and, where there are any, worker processes."""
    context = multiprocessing.get_context("spawn")
    identities = {name: Identity.generate() for name in "abc"}
    trusted = {name: identity.public for name, identity in identities.items()}
    with tempfile.TemporaryDirectory() as scratch:
        folder, pipes, processes = Path(scratch), {}, []
        for name, identity in identities.items():
            pipes[name], theirs = context.Pipe()
            given = (theirs, folder, component, name, identity.save(), trusted, size)
            processes.append(context.Process(target=party, args=given))
        mine, theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(theirs, folder, component, pipes, trusted, size)))
        for process in processes:
            process.start()
        found = [[int(each) for each in mine.recv_bytes().split()]]
        for pipe in pipes.values():
            pipe.send_bytes(b"finish")
            found.append([int(each) for each in pipe.recv_bytes().split()])
        for process in processes:
            process.join()
    out = {"parameters": size, "server_peak_mb": found[0][0] // 1024}
    out["party_peak_mb"] = max(each for each, _ in found[1:]) // 1024
    if any(each for _, each in found):
        out["worker_peak_mb"] = max(each for _, each in found) // 1024
    return out


def table(report: dict[str, Any]) -> str:
    memory = report.get("memory", {})
    lines = [
        "| sum | CPU s, all parties and server | bytes up per parameter | bytes down | largest error | peak MB, 10M |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in report["sums"].items():
        if "absent" in found:
            lines.append(f"| {name} | absent | | | | |")
            continue
        error = ("integers exact; rounding " if found["exact_integers"] else "") + f"{found['largest_error']:g}"
        up, down = found["bytes_up_per_parameter"], found["bytes_down_per_parameter"]
        peaks = [value for key, value in memory.get(name, {}).items() if key.endswith("_mb")]
        lines.append(f"| {name} | {found['cpu_seconds_in_all']} | {up} | {down} | {error} | {max(peaks, default='')} |")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="a tenth of the parameters")
    options.add_argument("--no-memory", action="store_true", help="leave the sum of 10M parameters out")
    options.add_argument("--only", default="", help="sums whose name holds this")
    options.add_argument("--json", type=Path, help="write the report there too")
    given = options.parse_args()
    scale = 10 if given.quick else 1
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (PARTIES, 100_000 // scale))
    components = {
        "SecAgg (masks)": SecAgg(minimum=3),
        "ThresholdRLWE": ThresholdRLWE(),
        "ThresholdRLWE, `audit`": ThresholdRLWE(audit=True),
        "ThresholdBFV (OpenFHE)": ThresholdBFV(),
        "ThresholdBFV, `flooding = false`": ThresholdBFV(flooding=False),
        "SharedKeyCKKS (TenSEAL)": SharedKeyCKKS(),
    }
    components = {name: each for name, each in components.items() if given.only in name}
    report: dict[str, Any] = {"parties": PARTIES, "parameters": x.shape[1]}
    report["sums"] = {name: missing(lambda each=each: protocol(each, x)) for name, each in components.items()}
    report["ckks_without_rounding"] = missing(lambda: approximate(x))
    report["threshold_rlwe_steps_cpu_seconds"] = scheme(x)
    if not given.no_memory:
        large = 10_000_000 // scale
        chosen = {n: each for n, each in components.items() if "audit" not in n and "absent" not in report["sums"][n]}
        report["memory"] = {name: memory(each, large) for name, each in chosen.items() if "SecAgg" not in name}
    text = json.dumps(report, indent=2)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    print(table(report), file=sys.stderr)


if __name__ == "__main__":
    main()
