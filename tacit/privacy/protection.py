"""A plan's transforms at work: what clients encode, in order, and the server decodes, in reverse order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Adaptive, Correlated, Randomness, Remembering, Transform
from tacit.core.trees import seed_of
from tacit.core.values import Array, Params, Turn, Vector
from tacit.privacy.participation import blocks, expected

TOLD = "#told/"  # before the public state of transforms, in requests and in the server's state
HIDDEN = "#hidden/"  # before what transforms keep from everybody, in the server's state only
MEMORY = "#memory"  # what a client's transform remembers, among its private parameters


def turns(plan: Plan, round: int, size: int, clients: int, parties: int, told: tuple[Params, ...]) -> tuple[Turn, ...]:
    """What each transform of the plan is told in this round; `size` is the length of a contribution."""
    out = []
    for place, (transform, state) in enumerate(zip(plan.protect, told, strict=True)):
        turn = Turn(
            round=round,
            rounds=plan.rounds,
            size=size,
            clients=expected(plan, clients),
            parties=parties,
            seed=seed_of("public", plan.digest(), round, place),
            told=state,
            separation=blocks(plan, clients),
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
        if _remembers(type(transform)):
            assert memory is not None and isinstance(transform, Remembering)
            x, memory = transform.encode_with(x, memory, turn, source)
        else:
            x = transform.encode(x, turn, source)
    return x, memory


def decode(
    plan: Plan, total: Vector, turns: tuple[Turn, ...], source: Randomness, hidden: Mapping[str, Array]
) -> tuple[Vector, tuple[Params, ...], dict[str, Array]]:
    """(the sum of contributions as far as it comes back, the public state of the next round, the hidden state).

    `hidden` and what it becomes stand under the flat names in which the server's state and its checkpoints hold them.
    """
    told, keeps = [turn.told for turn in turns], dict[str, Array]()
    for place in reversed(range(len(turns))):
        transform, came = plan.protect[place], total
        if isinstance(transform, Correlated):
            mine = f"{HIDDEN}{place}/"
            kept = {name.removeprefix(mine): value for name, value in hidden.items() if name.startswith(mine)}
            total, after = transform.decode_with(total, kept, turns[place], source)
            keeps |= {f"{mine}{name}": value for name, value in after.items()}
        else:
            total = transform.decode(total, turns[place], source)
        if isinstance(transform, Adaptive):  # its next state is public: it follows what has its noise
            told[place] = transform.follow(total if transform.noisy else came, turns[place])
    return total, tuple(told), keeps


@lru_cache(maxsize=64)
def _remembers(kind: type) -> bool:
    """Whether transforms of this class have clients remember something: asked once, not for every client."""
    return issubclass(kind, Remembering)


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
