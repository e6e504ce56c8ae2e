"""Where a plan's random values come from: the operating system, or its seed under `simulation`."""

from __future__ import annotations

from tacit.core.plan import Plan
from tacit.privacy.randomness import Stream, secure, simulated


def stream(plan: Plan, purpose: str, *parts: int) -> Stream:
    """A stream of its own for each purpose, round and client."""
    return simulated(plan.seed, purpose, *parts) if plan.simulation else secure()
