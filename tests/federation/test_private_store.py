"""A node's own disk: private parameters as of each round, whatever the server does in between."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tacit.core.values import DataError
from tacit.federation.private_store import PrivateStore
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.item_item import ItemItem


def played(store, rounds, first=1):
    """Each round adds 1 to every value."""
    for round in range(first, rounds + 1):
        store.begin(round)
        store.own["user"] += 1.0
        store.commit(round)
    return store


@pytest.fixture
def store(make_plan, shop, tmp_path):
    return lambda folder=tmp_path / "node": PrivateStore(make_plan(), shop, folder)


def test_parameters_begin_as_the_model_says_for_every_client(store, shop, make_plan):
    plan = make_plan()
    own = store().own["user"]
    assert own.shape == (len(shop), 4)
    assert np.array_equal(own[7], plan.model.init(shop.schema, plan.seed)["user"])


def test_a_new_process_goes_on_after_the_last_committed_round(store):
    before = played(store(), 3).own["user"]
    again = store()
    again.begin(4)
    assert np.array_equal(again.own["user"], before)


def test_a_server_that_lost_the_newest_round_may_ask_for_it_once_more(store):
    first = played(store(), 2).own["user"].copy()
    played(store(), 3, first=3)
    again = store()
    again.begin(3)
    assert np.array_equal(again.own["user"], first)


def test_a_round_that_was_begun_and_not_committed_leaves_no_trace(store):
    node = played(store(), 2)
    before = node.own["user"].copy()
    node.begin(3)
    node.own["user"] += 99.0
    again = store()
    again.begin(3)
    assert np.array_equal(again.own["user"], before)


def test_a_node_that_is_not_asked_in_the_first_round_after_a_crash_keeps_its_parameters(store):
    before = played(store(), 3).own["user"].copy()
    again = store()  # as after a crash: nothing in memory
    again.commit(4)  # a round in whose cohort none of its clients was
    assert np.array_equal(again.own["user"], before)
    assert np.array_equal(store().after(4)["user"], before)


def test_a_round_that_lost_its_first_attempt_is_committed_without_it(store):
    node = played(store(), 3)
    before = store().after(2)["user"]
    again = store()
    again.commit(3)  # the server began round 3 anew, without this node's clients
    assert np.array_equal(again.own["user"], before)
    assert not np.array_equal(node.own["user"], before)


def test_parameters_can_be_looked_up_after_the_newest_two_rounds(store):
    node = played(store(), 5)
    initial = store().own["user"]
    for held in (node, store()):
        np.testing.assert_array_equal(held.after(5)["user"], node.own["user"])
        np.testing.assert_array_equal(held.after(0)["user"], initial)
    np.testing.assert_allclose(store().after(4)["user"], node.own["user"] - 1.0, rtol=1e-6)
    with pytest.raises(DataError, match="round 2 are missing"):
        store().after(2)


def test_only_the_newest_two_rounds_stay_on_disk(store, tmp_path):
    played(store(), 5)
    assert sorted(path.name for path in (tmp_path / "node").iterdir()) == [
        "round-000004.safetensors",
        "round-000005.safetensors",
    ]


@pytest.mark.parametrize("damage", ["empty", "torn", "garbage", "a bit", "gone"])
def test_a_damaged_store_is_refused_in_words(store, tmp_path, damage):
    played(store(), 3)
    path = tmp_path / "node" / "round-000003.safetensors"
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        flipped = bytearray(whole)
        flipped[-5] ^= 1
        path.write_bytes({"empty": b"", "torn": whole[:-9], "garbage": b"\x07" * 64, "a bit": bytes(flipped)}[damage])
    with pytest.raises(DataError, match=r"round 3 are missing or damaged.*another run folder"):
        store().begin(4)


def test_the_store_of_another_model_is_refused(make_plan, shop, tmp_path):
    played(PrivateStore(make_plan(), shop, tmp_path), 1)
    other = PrivateStore(make_plan(), shop.take(range(5)), tmp_path)
    with pytest.raises(DataError, match="other clients or another model"):
        other.begin(2)


def test_without_a_disk_a_round_that_is_not_in_memory_is_refused(make_plan, shop):
    node = played(PrivateStore(make_plan(), shop, None), 2)
    node.begin(3)
    with pytest.raises(DataError, match="keeps none on disk"):
        node.begin(5)


def test_a_model_without_private_parameters_may_begin_anywhere_and_writes_nothing(make_plan, shop, tmp_path):
    store = PrivateStore(make_plan(model=ItemItem(), algorithm=SumOfStatistics()), shop, tmp_path / "node")
    store.begin(7)
    store.commit(7)
    assert dict(store.own) == {} == dict(store.after(7))
    assert not (tmp_path / "node").exists()


def test_the_disk_has_the_parameters_before_the_round_counts(store, monkeypatch):
    order = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("sync"), sync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b))[1])
    played(store(), 1)
    assert order == ["sync", "replace"]
