"""Laws of the splits: no row is lost or doubled, and what is asked about is never learned from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import DataError
from tacit.data.interactions import HeldOut, Interactions
from tacit.data.split import folds, holdout, leave_one_out, population, temporal
from tacit.data.tabular import Tabular

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=60, unique=True)


def interactions(rows, times=None, held_out=None, order_known=None) -> Interactions:
    customer, item = np.array(rows, np.int32).T
    return Interactions(
        name="drawn",
        customer=customer.copy(),
        item=item.copy(),
        rating=np.arange(len(rows), dtype=np.float32),  # unlike in every row, so that rows can be told apart
        time=None if times is None else np.array(times, np.int64),
        customers=7,
        items=10,
        held_out=held_out,
        order_known=times is not None if order_known is None else order_known,
    )


def content(*populations):
    """How often each (customer, item, rating) stands in the populations."""
    rows = Counter()
    for people in populations:
        for customer in range(len(people)):
            own = people.rows(customer)
            rows.update(zip([customer] * len(own["item"]), own["item"].tolist(), own["rating"].tolist(), strict=True))
    return rows


def everything(data):
    return Counter(zip(data.customer.tolist(), data.item.tolist(), data.rating.tolist(), strict=True))


@st.composite
def drawn(draw):
    rows = draw(pairs)
    kind = draw(st.sampled_from(["times", "file order", "unknown"]))
    times = draw(st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows))) if kind == "times" else None
    held = None
    if draw(st.booleans()):
        test = np.full(7, -1, np.int32)
        for customer, item in rows:  # the last that is drawn wins
            if draw(st.booleans()):
                test[customer] = item
        held = HeldOut(test, None)
    return interactions(rows, times, held, order_known=kind != "unknown")


@given(drawn(), st.integers(0, 3))
@settings(max_examples=60)
def test_leave_one_out_loses_and_doubles_no_row(data, seed):
    split = leave_one_out(data, seed)
    kept = content(split.train)
    assert max(kept.values(), default=1) == 1
    left = everything(data) - kept
    held = Counter()
    for customer in range(data.customers):
        held.update((customer, int(item)) for item in (split.test[customer], split.validation[customer]) if item >= 0)
    assert Counter((customer, item) for customer, item, _ in left.elements()) == held
    assert sum(kept.values()) + sum(held.values()) == len(data)


@given(drawn())
@settings(max_examples=60)
def test_held_out_items_are_never_trained_on_and_scarce_rows_are_kept(data):
    split = leave_one_out(data)
    sizes = np.bincount(data.customer, minlength=7)
    for customer in range(7):
        items = split.train.rows(customer)["item"].tolist()
        assert split.test[customer] not in items
        assert split.validation[customer] not in items
        assert split.validation[customer] == -1 or split.validation[customer] != split.test[customer]
        if sizes[customer] < 3:
            assert split.validation[customer] == -1
        if sizes[customer] < 2:
            assert split.test[customer] == -1
        if sizes[customer] >= 2:
            assert len(items) >= 1
            published = data.held_out.test[customer] if data.held_out is not None else split.test[customer]
            assert split.test[customer] == published
        if sizes[customer] >= 3:
            assert split.validation[customer] >= 0


@given(drawn())
@settings(max_examples=60)
def test_the_last_by_time_is_held_out_and_ties_go_by_the_file(data):
    if not data.order_known or data.held_out is not None:
        return
    split = leave_one_out(data)
    for customer in range(7):
        rows = np.flatnonzero(data.customer == customer)
        times = rows * 0 if data.time is None else data.time[rows]
        ordered = [int(data.item[row]) for _, row in sorted(zip(times.tolist(), rows.tolist(), strict=True))]
        if len(ordered) >= 2:
            assert split.test[customer] == ordered[-1]
        if len(ordered) >= 3:
            assert split.validation[customer] == ordered[-2]
            assert split.train.rows(customer)["item"].tolist() == ordered[:-2]


@given(drawn(), st.floats(0.01, 0.99))
@settings(max_examples=60)
def test_temporal_loses_and_doubles_no_row_and_takes_the_last_share(data, share):
    split = temporal(data, share)
    assert content(split.train, split.test) == everything(data)
    sizes = np.bincount(data.customer, minlength=7)
    assert split.test.sizes.tolist() == [int(size * share + 1e-9) for size in sizes]
    if data.order_known and data.time is not None:
        for customer in range(7):
            early, late = split.train.rows(customer)["time"], split.test.rows(customer)["time"]
            assert early.max(initial=-1) <= late.min(initial=99)
            assert np.all(np.diff(early) >= 0)


def test_the_random_choice_depends_on_the_seed_only_and_is_told():
    data = interactions([(customer, item) for customer in range(7) for item in range(10)])
    assert np.array_equal(leave_one_out(data, 1).test, leave_one_out(data, 1).test)
    assert not np.array_equal(leave_one_out(data, 1).test, leave_one_out(data, 2).test)
    assert "drawn at random from the rest with seed 1" in leave_one_out(data, 1).note
    assert "order is unknown" in temporal(data).note
    ordered = interactions([(0, 1), (0, 2)], [1, 2])
    assert leave_one_out(ordered).note == "each customer's last item is the test, the one before it the validation"


def test_a_published_split_is_followed_and_its_negatives_come_along():
    negatives = np.zeros((7, 99), np.int32)
    test = np.array([3, -1, -1, -1, -1, -1, -1], np.int32)
    rows = [(0, 3), (0, 4), (0, 5), (1, 2)]
    split = leave_one_out(interactions(rows, held_out=HeldOut(test, negatives)))
    assert split.test.tolist() == [3, -1, -1, -1, -1, -1, -1]
    assert split.validation[0] in (4, 5)
    assert split.negatives is negatives
    assert "published" in split.note
    timed = leave_one_out(interactions(rows, [9, 8, 7, 6], held_out=HeldOut(test, None)))
    assert timed.validation[0] == 4
    with pytest.raises(DataError, match="1 published test items are not among their customer's rows"):
        leave_one_out(interactions([(0, 1), (0, 2)], held_out=HeldOut(test, None)))


def test_customers_without_rows_stay_in_their_place():
    people = population(interactions([(5, 1), (2, 3)], [4, 5]), np.array([0, 1]))
    assert people.sizes.tolist() == [0, 0, 1, 0, 0, 1, 0]
    assert people.schema.items == 10
    assert {name: values.dtype.name for name, values in people.fields.items()} == {
        "item": "int32",
        "rating": "float32",
        "time": "int64",
    }


def test_reprs_show_sizes_only():
    data = interactions([(0, 1), (0, 2), (0, 3)], [1, 2, 3])
    assert "1 customers with a test item" in repr(leave_one_out(data))
    assert repr(temporal(data)).startswith("Temporal(train Population(7 clients, 3 rows")


def table(labels, institutions, split=None) -> Tabular:
    rows = len(labels)
    x = np.arange(rows, dtype=np.float32)[:, None]
    y = np.array(labels, np.float32)
    return Tabular("drawn", x, y, ("x",), np.array(institutions, dtype=np.str_), {}, split)


rows_of = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["a", "b", "c"])), min_size=2, max_size=80)


@given(rows_of, st.floats(0.05, 0.95), st.integers(0, 3))
@settings(max_examples=60)
def test_holdout_takes_its_share_of_every_institution_and_label(rows, share, seed):
    data = table(*zip(*rows, strict=True))
    train, test = holdout(data, share, seed)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(rows)))
    assert len(test) == int(len(rows) * share + 1e-9)
    for group in set(rows):
        members = [index for index, row in enumerate(rows) if row == group]
        assert abs(len(set(members) & set(test.tolist())) - len(members) * share) <= 1 + 1e-6


@given(rows_of, st.integers(2, 6), st.integers(0, 3))
@settings(max_examples=60)
def test_folds_test_every_row_once_and_evenly(rows, k, seed):
    data = table(*zip(*rows, strict=True))
    if len(rows) < k:
        with pytest.raises(DataError, match="folds needs k"):
            folds(data, k, seed)
        return
    parts = folds(data, k, seed)
    assert sorted(row for _, test in parts for row in test.tolist()) == list(range(len(rows)))
    for train, test in parts:
        assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(rows)))
    for group in set(rows):
        counts = [sum(rows[row] == group for row in test.tolist()) for _, test in parts]
        assert max(counts) - min(counts) <= 1


def test_a_published_split_of_rows_is_followed():
    train, test = holdout(table([0, 1, 0], ["", "", ""], np.array([0, 1, 0], np.int8)))
    assert (train.tolist(), test.tolist()) == ([0, 2], [1])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_leaves_nothing_is_refused(share):
    with pytest.raises(DataError, match="share must lie strictly between 0 and 1"):
        holdout(table([0, 1], ["", ""]), share)
    with pytest.raises(DataError, match="share must lie strictly between 0 and 1"):
        temporal(interactions([(0, 1)]), share)
