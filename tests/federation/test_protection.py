"""Transforms that encode every client's own contribution: length, memory, and a public state that follows the sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from tacit.core.trees import flatten
from tacit.core.values import Event, Turn
from tacit.federation.run import run
from tacit.privacy import protection
from tacit.privacy.secure_sum.sum import SecAgg


@dataclass(frozen=True, slots=True)
class Every:
    """Sends every second value twice as large as told; keeps what it left out; tells the next round's factor."""

    bound: float | None = None
    noisy: bool = False
    per_client: bool = True
    lossy: bool = True

    def length(self, turn: Turn) -> int:
        return (turn.size + 1) // 2

    def reach(self, bound: float, turn: Turn) -> float:
        return 100.0

    def encode_with(self, x: Any, memory: Any, turn: Turn, source: Any) -> tuple[Any, Any]:
        whole = x + memory
        kept = whole.copy()
        kept[turn.round % 2 :: 2] = 0.0
        sent = np.zeros(self.length(turn))
        chosen = whole[turn.round % 2 :: 2]
        sent[: len(chosen)] = chosen * float(turn.told["factor"])
        return sent, kept

    def encode(self, x: Any, turn: Turn, source: Any) -> Any:
        return self.encode_with(x, np.zeros(len(x)), turn, source)[0]

    def decode(self, total: Any, turn: Turn, source: Any) -> Any:
        out = np.zeros(turn.size)
        places = out[turn.round % 2 :: 2]
        places[:] = total[: len(places)] / float(turn.told["factor"])
        return out

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        return None

    def start(self) -> dict[str, Any]:
        return {"factor": np.array(2.0)}

    def follow(self, total: Any, turn: Turn) -> dict[str, Any]:
        return {"factor": np.array(float(turn.told["factor"]) + 1.0)}


def trained(plan: Any, engine: Any, people: Any) -> list[Any]:
    return list(run(plan, engine, people.schema))


@pytest.mark.parametrize("secure", [None, SecAgg(minimum=3)], ids=["open", "secure"])
def test_clients_encode_their_own_and_the_server_decodes_the_sum(shop, make_plan, in_process, secure) -> None:
    """Round 1 moves the odd places as the plain plan does, and leaves the others where they were."""
    plan = make_plan(protect=(Every(),), secure_sum=secure, rounds=2)
    bare = replace(plan, protect=(), secure_sum=None)
    start = flatten(plan.algorithm.init(plan.model, shop.schema, plan.seed).shared)
    ours = [flatten(r.state.shared) for r in trained(plan, in_process(plan, shop, 4), shop)]
    plain = [flatten(r.state.shared) for r in trained(bare, in_process(bare, shop, 4), shop)]
    np.testing.assert_allclose(ours[0][1::2], plain[0][1::2], atol=1e-6)
    np.testing.assert_array_equal(ours[0][::2], start[::2])


def test_the_public_state_goes_on_from_round_to_round_and_is_in_the_checkpoint(shop, make_plan, in_process) -> None:
    plan = make_plan(protect=(Every(),), rounds=3)
    done = trained(plan, in_process(plan, shop, 4), shop)
    assert [float(protection.unpacked(plan, r.state.server)[0]["factor"]) for r in done] == [3.0, 4.0, 5.0]
    again = list(run(plan, in_process(plan, shop, 4), shop.schema))
    assert [flatten(a.state.shared).tolist() for a in again] == [flatten(b.state.shared).tolist() for b in done]


def test_what_a_client_remembers_is_its_own_and_never_sent(shop, make_plan, in_process, wire, tmp_path) -> None:
    plan = make_plan(protect=(Every(),), rounds=2)
    engine = wire(in_process(plan, shop, 4, tmp_path))
    trained(plan, engine, shop)
    kept = [part[protection.MEMORY] for part in engine.inner.private(2).values()]
    assert all(np.any(part) for part in kept)
    assert not np.array_equal(kept[0], engine.inner.private(1)["node-0"][protection.MEMORY])
    assert all(set(reply.arrays) <= {"sum"} for _, _, reply in engine.heard)
