"""Seconds and memory of this process, as values that subtract."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent: `Cost.now() - before` is the cost of what lies between.

    Peak memory is of the whole life of the process (the kernel keeps no other), so a difference keeps the later peak.
    """

    seconds: float = 0.0  # wall clock
    cpu_seconds: float = 0.0  # user and system time of all threads of this process, without child processes
    peak_memory_mb: float = 0.0  # largest resident set so far, in 10^6 bytes

    @staticmethod
    def now() -> Cost:
        """A reading of the clocks; only differences of `seconds` and `cpu_seconds` have a meaning."""
        return Cost(time.perf_counter(), time.process_time(), peak_memory_mb())

    def __sub__(self, before: Cost) -> Cost:
        return Cost(self.seconds - before.seconds, self.cpu_seconds - before.cpu_seconds, self.peak_memory_mb)

    def __add__(self, other: Cost) -> Cost:
        peak = max(self.peak_memory_mb, other.peak_memory_mb)
        return Cost(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds, peak)

    def summary(self) -> dict[str, float]:
        """The three figures by name."""
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak_memory_mb": self.peak_memory_mb}


def peak_memory_mb() -> float:
    """Largest resident set of this process so far, in 10^6 bytes; NaN on Windows, which has no getrusage.

    On Linux a process started by a larger one may report that one's size: the kernel keeps the peak over exec.
    """
    if sys.platform == "win32":
        return math.nan
    import resource  # absent on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
