"""A plan's transforms at work: what clients encode, in order, and the server decodes, in reverse order."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Adaptive, Randomness, Remembering, Transform
from tacit.core.trees import seed_of
from tacit.core.values import Array, Params, Turn, Vector

TOLD = "#told/"  # before the public state of transforms, in requests and in the server's state
MEMORY = "#memory"  # what a client's transform remembers, among its private parameters


def turns(plan: Plan, round: int, size: int, clients: int, parties: int, told: tuple[Params, ...]) -> tuple[Turn, ...]:
    """What each transform of the plan is told in this round; `size` is the length of a contribution."""
    out = []
    for place, (transform, state) in enumerate(zip(plan.protect, told, strict=True)):
        turn = Turn(
            round=round,
            rounds=plan.rounds,
            size=size,
            clients=plan.cohort or clients,
            parties=parties,
            seed=seed_of("public", plan.digest(), round, place),
            told=state,
        )
        out.append(turn)
        size = transform.length(turn)
    return tuple(out)


def length(plan: Plan, turns: tuple[Turn, ...], size: int) -> int:
    """Values that leave a client for a contribution of `size`."""
    return plan.protect[-1].length(turns[-1]) if turns else size


def reach(plan: Plan, turns: tuple[Turn, ...]) -> float:
    """L2 norm that no encoded contribution exceeds; infinity if nothing bounds it."""
    found = math.inf
    for transform, turn in zip(plan.protect, turns, strict=True):
        found = transform.reach(found, turn)
    return found


def encode(
    plan: Plan, x: Vector, turns: tuple[Turn, ...], source: Randomness, memory: Array | None = None
) -> tuple[Vector, Array | None]:
    """(what leaves the client, what it remembers) of one client's contribution."""
    for transform, turn in zip(plan.protect, turns, strict=True):
        if isinstance(transform, Remembering):
            assert memory is not None
            x, memory = transform.encode_with(x, memory, turn, source)
        else:
            x = transform.encode(x, turn, source)
    return x, memory


def decode(plan: Plan, total: Vector, turns: tuple[Turn, ...], source: Randomness) -> tuple[Vector, tuple[Params, ...]]:
    """(the sum of contributions as far as it comes back, the transforms' public state of the next round)."""
    told = [turn.told for turn in turns]
    for place in reversed(range(len(turns))):
        transform = plan.protect[place]
        if isinstance(transform, Adaptive):
            told[place] = transform.follow(total, turns[place])
        total = transform.decode(total, turns[place], source)
    return total, tuple(told)


def start(plan: Plan) -> tuple[Params, ...]:
    """The transforms' public state before the first round."""
    return tuple(t.start() if isinstance(t, Adaptive) else {} for t in plan.protect)


def packed(told: tuple[Params, ...]) -> dict[str, Array]:
    """The public state of all transforms under flat names, as requests and checkpoints carry it."""
    return {f"{TOLD}{place}/{name}": np.asarray(v) for place, part in enumerate(told) for name, v in part.items()}


def unpacked(plan: Plan, arrays: Mapping[str, Array]) -> tuple[Params, ...]:
    """The public state in a request or a checkpoint; that of round 1 where there is none."""
    told = [dict(part) for part in start(plan)]
    for place, part in enumerate(told):
        for name in part:
            part[name] = arrays.get(f"{TOLD}{place}/{name}", part[name])
    return tuple(told)


def without(arrays: Mapping[str, Array]) -> Params:
    """A request's arrays but the transforms' part."""
    return {name: value for name, value in arrays.items() if not name.startswith(TOLD)}


def remembering(plan: Plan) -> Transform | None:
    """The transform that has a client remember something, if there is one."""
    return next((t for t in plan.protect if isinstance(t, Remembering)), None)
