"""A checkpoint is whole or absent, comes back as it was written, and never comes back damaged."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tacit.core.values import DataError, Event, Round, State
from tacit.job.checkpoint import Checkpoint, load, save


def point(number=3, best=True, scale=1.0):
    arrays = {"items": np.arange(12, dtype=np.float32).reshape(4, 3) * scale, "bias": np.float32(0.5)}
    state = State(arrays, {"moment": np.ones((4, 3))})
    events = (Event("gaussian", 1.25, "poisson", 0.1),)
    done = Round(number, state, 40, 38, 2, events, 1000, 2000, 0.125, "ab" * 32)
    records = [{"number": n, "update": "cd" * 32, "hr@10": 0.1 * n, "seconds": 0.1} for n in range(1, number + 1)]
    return Checkpoint(
        done, records, State({"items": np.zeros((0, 0), np.float32)}, {"user": np.ones(2)}) if best else None
    )


@pytest.mark.parametrize("best", [True, False])
def test_a_checkpoint_comes_back_as_it_was_written(tmp_path, best):
    path, written = tmp_path / "deep" / "server.safetensors", point(best=best)
    save(path, written)
    read = load(path)
    assert read.records == written.records
    for name in ("number", "cohort", "clients", "dropped", "events", "bytes_up", "bytes_down", "seconds", "sum_digest"):
        assert getattr(read.round, name) == getattr(written.round, name)
    for one, other in ((read.round.state, written.round.state), *([(read.best, written.best)] if best else [])):
        for part in ("shared", "server"):
            mine, theirs = getattr(one, part), getattr(other, part)
            assert mine.keys() == theirs.keys()
            for name in mine:
                assert np.array_equal(mine[name], theirs[name])
                assert mine[name].dtype == np.asarray(theirs[name]).dtype
    assert (read.best is None) == (not best)


def test_no_checkpoint_is_no_error(tmp_path):
    assert load(tmp_path / "server.safetensors") is None


@pytest.mark.parametrize("damage", ["empty", "torn", "garbage", "a bit of the model", "a bit of the records"])
def test_a_damaged_checkpoint_is_refused_in_words(tmp_path, damage):
    path = tmp_path / "server.safetensors"
    save(path, point())
    whole = bytearray(path.read_bytes())
    if damage == "a bit of the model":
        whole[-3] ^= 4
    elif damage == "a bit of the records":
        place = whole.index(b"cohort")
        digits = whole.index(b"40", place)
        whole[digits] ^= 1
    broken = {"empty": b"", "torn": bytes(whole[:-7]), "garbage": b"\x01" * 99}.get(damage, bytes(whole))
    path.write_bytes(broken)
    with pytest.raises(DataError, match=r"server\.safetensors is damaged: the run cannot resume from it"):
        load(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_while_writing_leaves_the_old_checkpoint(tmp_path, monkeypatch, step):
    path = tmp_path / "server.safetensors"
    save(path, point(1))

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, crash)
    with pytest.raises(KeyboardInterrupt):
        save(path, point(2))
    monkeypatch.undo()
    assert load(path).round.number == 1
    save(path, point(2))
    assert load(path).round.number == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["server.safetensors"]
