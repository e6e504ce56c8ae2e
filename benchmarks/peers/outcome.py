"""What a runner hands back: one JSON object and the global model after two rounds."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.peers.clock import Clock, peak_memory_mb
from benchmarks.peers.command import Command
from benchmarks.work_item import WorkItem


def save_model(path: Path, parameters: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Write the global parameters under their names in the job, for `compare`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, allow_pickle=False, **{name: np.asarray(value, np.float32) for name, value in parameters.items()})


def report(
    command: Command,
    work: WorkItem,
    clock: Clock,
    system: str,
    version: str,
    libraries: Mapping[str, str],
    children_mb: float = 0.0,
) -> None:
    """Write and print the JSON object; the first lap of the clock is given apart and enters no rate."""
    cpu, wall = clock.cpu[1:], clock.wall[1:]
    outcome = {
        "system": system,
        "version": version,
        "work": command.work,
        "clients_per_cpu_second": round(command.cohort * len(cpu) / sum(cpu), 2),
        "clients_per_wall_second": round(command.cohort * len(wall) / sum(wall), 2),
        "rounds_timed": len(cpu),
        "cpu_seconds": [round(value, 4) for value in cpu],
        "wall_seconds": [round(value, 4) for value in wall],
        "first_round": {"cpu_seconds": round(clock.cpu[0], 4), "wall_seconds": round(clock.wall[0], 4)},
        "clients": work.clients,
        "cohort": command.cohort,
        "threads": command.threads,
        "core": command.core,
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "peak_memory_children_mb": round(children_mb, 1),
        "job": work.digest(),
        "model": str(command.model),
        "python": platform.python_version(),
        "libraries": dict(libraries),
    }
    text = json.dumps(outcome, indent=2)
    command.out.parent.mkdir(parents=True, exist_ok=True)
    command.out.write_text(text + "\n")
    sys.stdout.write(text + "\n")
