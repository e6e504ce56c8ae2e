"""The command line that every runner shares: what to run, on one core, with the threads it was told."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.work_item import NAMES, JobName, WorkItem, ensure

THREAD_SWITCHES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Command:
    """One run: a job, how many clients take part per round, and how many rounds are timed after the first.

    `nodes` is for a system whose simulated nodes are something apart from the job's clients (Flower).
    """

    work: JobName
    cohort: int
    rounds: int
    threads: int
    core: int
    nodes: int
    out: Path
    data: Path
    model: Path

    def load(self) -> WorkItem:
        """Read the job's file."""
        return WorkItem.load(self.data)


def parse(description: str, environment: Mapping[str, str]) -> Command:
    """Read the arguments, write the job's file if it is missing, pin this process and what it starts to one core.

    Thread counts and the switches in `environment` are read by libraries while they are imported. Where they are not
    set as they must be, this process starts itself anew with them; a caller who sets them saves that second.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", choices=NAMES, required=True)
    parser.add_argument("--cohort", type=int, default=0, help="clients per round (default: all)")
    parser.add_argument("--rounds", type=int, default=2, help="timed rounds, after one that is not timed")
    parser.add_argument("--threads", type=int, default=1, help="threads of the tensor library")
    parser.add_argument("--core", type=int, default=-1, help="core to pin to (default: the last one allowed)")
    parser.add_argument("--nodes", type=int, default=0, help="simulated nodes, Flower only (default: one per client)")
    parser.add_argument("--out", type=Path, required=True, help="file for the JSON object, also printed")
    parser.add_argument("--data", type=Path, help="job file (default: .bench/work/WORK-VERSION.npz, drawn if missing)")
    parser.add_argument("--model", type=Path, help="file for the model after two rounds (default: beside --out)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1: the model is saved after two rounds and the first is not timed")
    wanted = {name: str(options.threads) for name in THREAD_SWITCHES} | dict(environment)
    core = options.core
    if hasattr(os, "sched_setaffinity"):
        core = core if core >= 0 else max(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {core})
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})
    data = (options.data or ensure(options.work, Path(".bench/work"))).resolve()
    clients = WorkItem.load(data).clients
    if not 0 <= options.cohort <= clients:
        parser.error(f"--cohort must be between 1 and {clients}, the clients of this job; 0 or none for all")
    return Command(
        work=options.work,
        cohort=options.cohort or clients,
        rounds=options.rounds,
        threads=options.threads,
        core=core,
        nodes=options.nodes or clients,
        out=options.out.resolve(),
        data=data,
        model=(options.model or options.out.with_suffix(".model.npz")).resolve(),
    )
