"""CPU and wall time by round, of one process or of everything it started."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Clock:
    """Laps of CPU and wall seconds; what happens between `stop` and the next `start` is not counted."""

    cpu_now: Callable[[], float] = time.process_time
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    _cpu_start: float = 0.0
    _wall_start: float = 0.0

    def start(self) -> None:
        """Begin a lap."""
        self._wall_start = time.perf_counter()
        self._cpu_start = self.cpu_now()

    def stop(self) -> None:
        """End the lap."""
        self.cpu.append(self.cpu_now() - self._cpu_start)
        self.wall.append(time.perf_counter() - self._wall_start)


@dataclass(frozen=True, slots=True)
class ProcessFamily:
    """This process and every process that carries `marker` in the environment it was started with (Linux)."""

    marker: str

    def members(self) -> list[int]:
        """Process ids: this one first, then the marked ones."""
        found = [os.getpid()]
        needle = self.marker.encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    environment = (entry / "environ").read_bytes()
                except OSError:
                    continue
                if needle in environment:
                    found.append(int(entry.name))
        return found

    def cpu_seconds(self) -> float:
        """User and system time of all members and of the children that they have waited for."""
        ticks = 0
        for pid in self.members():
            try:
                line = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            # The fields after the name in brackets: utime, stime, cutime and cstime are the 12th to 15th of them.
            ticks += sum(int(value) for value in line.rpartition(")")[2].split()[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Sum of the peak resident memory of all members but this one (shared pages counted in each)."""
        total = 0
        for pid in self.members()[1:]:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return total / 1024


def peak_memory_mb() -> float:
    """Peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if os.uname().sysname == "Linux" else peak / 1024**2
