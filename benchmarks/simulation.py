"""`make bench`: tacit beside its peers on the same job, one core, one thread, CPU time; prints a table and writes JSON.

    python benchmarks/simulation.py --json .bench/simulation.json [--repeats 3] [--skip-flower]

Every system runs as a process of its own on the same core; systems take turns, repeat after repeat, so that a drift of
the machine's speed meets all alike. A ratio is the median over repeats of the ratio within a repeat, with the lowest
and highest beside it. Peers live in their own environment (benchmarks/peers/setup.sh).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".bench" / "results"
PEERS = ROOT / ".bench" / "peers" / "bin" / "python"
ONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
FLOWER = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"}

# (key, module, who runs it, job, further arguments, environment)
RUNS: list[tuple[str, str, str, str, list[str], dict[str, str]]] = [
    ("tacit fused mf", "benchmarks.tacit_run", "ours", "mf", ["--rounds", "7"], {"TACIT_TRAINER": "fused"}),
    ("tacit torch mf", "benchmarks.tacit_run", "ours", "mf", ["--rounds", "4"], {"TACIT_TRAINER": "stacked"}),
    ("tacit torch ncf", "benchmarks.tacit_run", "ours", "ncf", ["--rounds", "3"], {"TACIT_TRAINER": "stacked"}),
    ("tacit torch mlp", "benchmarks.tacit_run", "ours", "mlp", ["--rounds", "5"], {"TACIT_TRAINER": "stacked"}),
    ("pfl mf", "benchmarks.peers.pfl_run", "peers", "mf", ["--rounds", "2"], {"PFL_PYTORCH_DEVICE": "cpu"}),
    ("pfl ncf", "benchmarks.peers.pfl_run", "peers", "ncf", ["--rounds", "1"], {"PFL_PYTORCH_DEVICE": "cpu"}),
    ("pfl mlp", "benchmarks.peers.pfl_run", "peers", "mlp", ["--rounds", "2"], {"PFL_PYTORCH_DEVICE": "cpu"}),
    ("flower mf", "benchmarks.peers.flower_run", "peers", "mf", ["--rounds", "2", "--cohort", "94"], FLOWER),
    (
        "flower mf, 94 nodes",
        "benchmarks.peers.flower_run",
        "peers",
        "mf",
        ["--rounds", "2", "--cohort", "94", "--nodes", "94"],
        FLOWER,
    ),
]
RATIOS = {  # name -> (faster, slower, what must hold)
    "mf fused / pfl": ("tacit fused mf", "pfl mf", 100.0),
    "mf fused / flower": ("tacit fused mf", "flower mf", 500.0),
    "mf fused / flower, 94 nodes": ("tacit fused mf", "flower mf, 94 nodes", 500.0),
    "mf torch / pfl": ("tacit torch mf", "pfl mf", 15.0),
    "ncf torch / pfl": ("tacit torch ncf", "pfl ncf", 10.0),
    "mlp torch / pfl": ("tacit torch mlp", "pfl mlp", 30.0),
}


def one(key: str, module: str, who: str, job: str, extra: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run one system once and read its JSON object."""
    python = sys.executable if who == "ours" else str(PEERS)
    out = RESULTS / f"{key.replace(' ', '-').replace(',', '')}.json"
    command = [python, "-m", module, "--work", job, "--threads", "1", "--out", str(out), *extra]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **ONE, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{key} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    return {**json.loads(out.read_text()), "model_file": str(out.with_suffix(".model.npz"))}


def difference(ours: str, theirs: str) -> tuple[float, float]:
    """(largest absolute difference of two global models after two rounds, as a share of the largest movement)."""
    job = "mf" if "mf" in Path(ours).name else "ncf" if "ncf" in Path(ours).name else "mlp"
    from benchmarks.work_item import draw

    start = draw(job).shared  # type: ignore[arg-type]
    with np.load(ours) as a, np.load(theirs) as b:
        gap = max(float(np.abs(a[name] - b[name]).max()) for name in a.files)
        moved = max(float(np.abs(b[name] - start[name]).max()) for name in b.files)
    return gap, gap / moved


def main() -> None:
    """Entry point."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path, default=ROOT / ".bench" / "simulation.json")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--skip-flower", action="store_true")
    options.add_argument("--skip-scale", action="store_true")
    given = options.parse_args()
    if not PEERS.exists():
        raise SystemExit("the peers are not installed: bash benchmarks/peers/setup.sh")
    RESULTS.mkdir(parents=True, exist_ok=True)
    runs = [run for run in RUNS if not (given.skip_flower and run[0].startswith("flower"))]
    speed: dict[str, list[float]] = {run[0]: [] for run in runs}
    last: dict[str, dict[str, Any]] = {}
    for _ in range(given.repeats):
        for run in runs:
            last[run[0]] = one(*run)
            speed[run[0]].append(last[run[0]]["clients_per_cpu_second"])
            print(f"{run[0]:<24}{speed[run[0]][-1]:>12,.0f} clients per CPU second", file=sys.stderr)
    report: dict[str, Any] = {
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
        },
        "clients_per_cpu_second": {
            key: {"median": float(np.median(v)), "low": min(v), "high": max(v)} for key, v in speed.items()
        },
        "ratios": {},
        "equality": {},
    }
    for name, (fast, slow, bar) in RATIOS.items():
        if fast in speed and slow in speed:
            pairs = [a / b for a, b in zip(speed[fast], speed[slow], strict=True)]
            report["ratios"][name] = {
                "median": float(np.median(pairs)),
                "low": min(pairs),
                "high": max(pairs),
                "bar": bar,
            }
    for ours, peer in (("tacit fused mf", "pfl mf"), ("tacit torch mf", "pfl mf"), ("tacit torch ncf", "pfl ncf"),
                       ("tacit torch mlp", "pfl mlp")):  # fmt: skip
        gap, share = difference(last[ours]["model_file"], last[peer]["model_file"])
        report["equality"][f"{ours} - {peer}"] = {"max_abs": gap, "share_of_movement": share}
    if not given.skip_scale:
        for part in ("million", "items", "processes", "noise"):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.scale", part],
                cwd=ROOT, env={**os.environ, **ONE}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            report[part] = json.loads(done.stdout)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    rows = ["| system and job | clients per CPU second | lowest to highest |", "|---|---|---|"]
    for key, value in report["clients_per_cpu_second"].items():
        rows.append(f"| {key} | {value['median']:,.0f} | {value['low']:,.0f} to {value['high']:,.0f} |")
    rows += ["", "| ratio | median | lowest to highest | must be |", "|---|---|---|---|"]
    for key, value in report["ratios"].items():
        span = f"{value['low']:.2f} to {value['high']:.2f}"
        rows.append(f"| {key} | {value['median']:.2f} | {span} | >= {value['bar']:g} |")
    if "million" in report:
        m, i, p, n = report["million"], report["items"], report["processes"], report["noise"]
        rows += ["", "| scale | measured | must be |", "|---|---|---|"]
        rows.append(f"| one million customers, one round | {m['cpu_seconds']:.1f} CPU-s | <= 40 |")
        rows.append(f"| peak memory of that process | {m['peak_memory_gb']:.1f} GB | <= 8 |")
        for name, found, need in (
            ("cost per client, 100,000 items / 1,682", i, "<= 1.3"),
            ("two processes / one, wall time", p, ">= 1.7"),
            ("client-level noise / none, CPU time", n, "<= 1.3"),
        ):
            rows.append(f"| {name} | {found['ratio']:.2f} ({found['low']:.2f} to {found['high']:.2f}) | {need} |")
        rows.append(f"| item rows touched per client, 100,000 items / 1,682 | {i['distinct_items_ratio']:.2f} | |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
