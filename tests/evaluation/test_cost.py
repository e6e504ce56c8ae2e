from __future__ import annotations

import time

import numpy as np

from tacit.evaluation.cost import Cost, peak_memory_mb


def test_a_cost_counts_waiting_on_the_wall_clock_only_and_work_on_both():
    before = Cost.now()
    time.sleep(0.2)
    waited = Cost.now() - before
    assert waited.seconds >= 0.2
    assert waited.cpu_seconds < 0.15
    before = Cost.now()
    while time.process_time() - before.cpu_seconds < 0.1:
        pass
    worked = Cost.now() - before
    assert worked.cpu_seconds >= 0.1
    assert worked.seconds > 0.0


def test_peak_memory_holds_what_was_touched_and_never_falls():
    before = peak_memory_mb()
    block = np.ones(100_000_000, dtype=np.uint8)
    held = peak_memory_mb()
    assert held >= max(before, 100.0)
    assert held < 1e6  # megabytes, not bytes
    del block
    assert peak_memory_mb() >= held
    assert set((Cost.now() - Cost()).summary()) == {"seconds", "cpu_seconds", "peak_memory_mb"}
