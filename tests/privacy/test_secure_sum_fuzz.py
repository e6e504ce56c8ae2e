"""Messages that nobody who keeps to the protocol would send: refused by name, or harmless; never a raw error, no hang.

Run as a program it is a coverage-guided fuzzer (atheris): python tests/privacy/test_secure_sum_fuzz.py -runs=20000
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import ProtocolError, Reply, Request
from tacit.privacy.secure_sum import wire
from tacit.privacy.secure_sum.opened import SecureSumAborted
from tacit.privacy.secure_sum.sum import SecAgg

Pick = Callable[[int], int]  # a whole number from 0 to n - 1
SIZE, NAMES = 6, [f"node/{i}" for i in range(6)]
SHAPES: list[tuple[int, ...]] = [(), (0,), (1,), (5, 1), (1, 5), (2, 2, 2)]
TYPES = ["<u4", "<i8", "<f4", "<f8", "?", "<c16", "S3", "O"]
ODD: list[Any] = [None, 0, -1, 2**70, 1.5, float("nan"), float("inf"), "", "text", b"\xff\x00", [], [[1], [2, 3]], {}]


def damaged(value: Any, pick: Pick) -> Any:
    """An array that differs from `value` in its bits, length, shape or type; or no array at all."""
    kind = pick(8)
    array = np.array(value)
    if kind == 0 and array.size:  # one flipped bit
        raw = bytearray(array.tobytes())
        raw[pick(len(raw))] ^= 1 << pick(8)
        return np.frombuffer(bytes(raw), array.dtype).reshape(array.shape)
    if kind == 1 and array.size:  # some bytes replaced
        raw = bytearray(array.tobytes())
        for _ in range(1 + pick(8)):
            raw[pick(len(raw))] = pick(256)
        return np.frombuffer(bytes(raw), array.dtype).reshape(array.shape)
    if kind == 2 and array.ndim:  # shorter or longer
        return array[: pick(len(array) + 1)] if pick(2) else np.concatenate([array, array[: 1 + pick(3)]])
    if kind == 3 and array.ndim and len(array) > 1:  # rows in another order, or one twice
        return array[[pick(len(array)) for _ in range(len(array))]]
    if kind == 4:
        return np.zeros(SHAPES[pick(len(SHAPES))], array.dtype)
    if kind == 5:
        return np.zeros(array.shape, TYPES[pick(len(TYPES))])
    if kind == 6:
        return np.full(array.shape, [np.nan, np.inf, -np.inf][pick(3)])
    return ODD[pick(len(ODD))]


def mangled(arrays: Any, pick: Pick) -> dict[str, Any]:
    """Named arrays of a message, one of them damaged, left out, swapped with another or put in beside."""
    out, names = dict(arrays), sorted(arrays)
    if not names or pick(12) == 0:
        return out | {["masked", "names", "shares", "#model/x", ""][pick(5)]: damaged(np.zeros(3, np.uint8), pick)}
    one, other = names[pick(len(names))], names[pick(len(names))]
    match pick(8):
        case 0:
            del out[one]
        case 1:
            out[one], out[other] = out[other], out[one]
        case _:
            out[one] = damaged(out[one], pick)
    return out


class Scene:
    """Six parties of which one uploads nothing, at some stage of a round; what arrives next may be anything."""

    def __init__(self, against: str, stage: str, seed: int) -> None:
        self.rules = SecAgg(minimum=3, against=against)
        self.parties = self.rules.parties(NAMES, source=np.random.default_rng(seed))
        self.vectors = {name: np.arange(SIZE, dtype=np.uint32) + i for i, name in enumerate(NAMES)}
        self.parties.server.start(3, NAMES, SIZE)
        while self.parties.server.stage != stage:
            self.step()
        self.requests = self.parties.server.requests()

    def step(self) -> None:
        """One stage as the protocol has it; whoever refuses is silent."""
        server = self.parties.server
        for name, request in server.requests().items():
            if server.stage == "masked" and name == NAMES[5]:
                continue
            try:
                server.receive(name, self.parties.clients[name].answer(request, self.vectors[name]))
            except ProtocolError:
                continue
        server.close()

    def rest(self) -> Any:
        """The round to its end."""
        while self.parties.server.stage != "finish":
            self.step()
        return self.parties.server.finish()

    def client_hears(self, pick: Pick) -> bool:
        """Whether a mangled request was answered."""
        names = sorted(self.requests)
        name = names[pick(len(names))]
        asked = self.requests[names[pick(len(names))] if pick(6) == 0 else name]
        number: Any = [3, 3, 3, 3, 3, 2, 4, -1, 2**63, 2**70, "3", 3.0, True, None][pick(14)]
        stages: list[Any] = [asked.kind] * 6 + [wire.KIND + s for s in wire.STAGES] + ["train", "", 7]
        request = Request(stages[pick(len(stages))], number, mangled(asked.arrays, pick))
        if (request.kind, request.round) == (asked.kind, asked.round) and asked is self.requests[name]:
            arrays = {k: v for k, v in request.arrays.items() if k in asked.arrays}
            if same(arrays, asked.arrays):
                return False  # as it should be, and something beside it that nobody reads
        client = self.parties.clients[name]
        client.answer(request, self.vectors[name])
        return True

    def server_hears(self, pick: Pick) -> bool:
        """Whether a mangled reply was taken."""
        server = self.parties.server
        names = sorted(self.requests)
        name = names[pick(len(names))]
        sender = ["node/99", "", NAMES[0]][pick(3)] if pick(8) == 0 else name
        server.receive(sender, Reply(mangled(honest(self.rules.against, server.stage)[name].arrays, pick)))
        return True


@lru_cache(maxsize=16)
def honest(against: str, stage: str) -> dict[str, Reply]:
    """What the clients of a scene would answer: seeded parties repeat themselves."""
    scene = Scene(against, stage, 1)
    return {n: scene.parties.clients[n].answer(q, scene.vectors[n]) for n, q in scene.requests.items()}


def same(one: Any, other: Any) -> bool:
    """Whether two sets of arrays are equal bit for bit."""
    return one.keys() == other.keys() and all(
        isinstance(v, np.ndarray) and v.dtype == other[k].dtype and v.shape == other[k].shape
        and v.tobytes() == other[k].tobytes()
        for k, v in one.items()
    )  # fmt: skip


def ending(scene: Scene, touched: bool) -> None:
    """The round comes to its end: exactly where nothing that was mangled was taken, else in whatever way has a name."""
    try:
        opened = scene.rest()
    except SecureSumAborted:
        assert touched
        return
    expected = np.sum([scene.vectors[name] for name in opened.survivors], axis=0, dtype=np.uint32)
    assert touched or (np.array_equal(opened.total, expected) and set(opened.survivors) == set(NAMES[:5]))


STAGES = [(against, stage) for against in ("malicious", "semi-honest") for stage in SecAgg(against=against).stages]


@pytest.mark.parametrize("listener", ["client", "server"])
def test_ten_thousand_fuzzed_messages_are_refused_by_name_and_the_round_survives(listener: str) -> None:
    """5,000 for each end, seed 0. What is refused changes nothing: the round that it interrupted ends exactly."""
    chance, sent, refused = random.Random(0), 0, 0
    while sent < 5000:
        for against, stage in STAGES:
            scene, taken = Scene(against, stage, 1), 0
            hear = scene.client_hears if listener == "client" else scene.server_hears
            for _ in range(120):
                sent += 1
                try:
                    taken += hear(chance.randrange)
                except ProtocolError as error:
                    assert str(error)
                    refused += 1
                if taken > 3:
                    break
            ending(scene, taken > 0)
    assert refused > 2500


@given(st.sampled_from(STAGES), st.booleans(), st.lists(st.integers(0, 2**31), max_size=24))
@settings(max_examples=40, deadline=None)
def test_any_one_mangled_message_is_refused_by_name_or_leaves_a_round_that_ends(
    where: tuple[str, str], to_client: bool, numbers: list[int]
) -> None:
    scene, rest = Scene(*where, 1), list(numbers)
    try:
        touched = (scene.client_hears if to_client else scene.server_hears)(
            lambda n: (rest.pop() if rest else 0) % n
        )  # fmt: skip
    except ProtocolError:
        touched = False
    ending(scene, touched)


@pytest.mark.slow
def test_a_coverage_guided_fuzzer_finds_no_raw_error() -> None:
    """Two minutes, or 20,000 rounds of up to six mangled messages each."""
    if importlib.util.find_spec("atheris") is None:
        if os.environ.get("CI") == "1":
            pytest.fail("atheris is missing: install the extra `dev`")
        pytest.skip("atheris is not installed (Linux wheels only): the random fuzzer above runs everywhere")
    program = [sys.executable, str(Path(__file__)), "-runs=20000", "-max_total_time=120", "-seed=1", "-max_len=256"]
    program.append("-len_control=0")  # long cases from the start: a short one chooses zeros for the rest
    done = subprocess.run(program, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "DONE" in done.stderr


def fuzz() -> None:
    """Coverage-guided: the bytes of a case are the choices; a raw error or a round without an end is a finding."""
    import atheris

    def one(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)

        def pick(n: int) -> int:
            return int(provider.ConsumeIntInRange(0, n - 1))

        scene, touched = Scene(*STAGES[pick(len(STAGES))], 1), False
        for _ in range(6):
            try:
                touched |= (scene.client_hears if pick(2) else scene.server_hears)(pick)
            except ProtocolError:
                continue
        ending(scene, touched)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    import atheris

    for known in [name for name in sys.modules if name.startswith("tacit.privacy.secure_sum")]:
        del sys.modules[known]  # to be read once more, with counters in it
    with atheris.instrument_imports(include=["tacit.privacy.secure_sum", "fuzzed"]):
        spec = importlib.util.spec_from_file_location("fuzzed", __file__)
        assert spec is not None and spec.loader is not None
        fuzzed = importlib.util.module_from_spec(spec)
        sys.modules["fuzzed"] = fuzzed
        spec.loader.exec_module(fuzzed)
    fuzzed.fuzz()
