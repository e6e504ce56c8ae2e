from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.evaluation.groups import OTHER, UNKNOWN, activity_quartiles, by_group, merge_small


@settings(deadline=None, max_examples=80)
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8), minimum=st.integers(1, 15))
def test_no_group_is_shown_that_is_too_small_or_that_the_total_would_give_away(sizes, minimum):
    labels = np.repeat([f"group {i}" for i in range(len(sizes))], sizes)
    values = np.arange(len(labels), dtype=float)
    groups = by_group(values, labels, minimum, draws=20)
    assert all(group.customers >= minimum for group in groups)
    shown = sum(group.customers for group in groups)
    assert shown == (len(labels) if len(labels) >= minimum else 0)
    if groups:
        total = sum(group.customers * group.mean for group in groups)
        assert total == pytest.approx(values.sum())


def test_groups_have_their_means_and_small_ones_are_merged_and_stand_last():
    labels = np.array(["F"] * 20 + ["M"] * 30 + ["x"] * 6 + ["a"] * 5, dtype=object)
    values = np.concatenate([np.zeros(20), np.ones(30), np.full(11, 0.5)])
    groups = by_group(values, labels)
    assert [(g.name, g.customers, g.mean) for g in groups] == [("F", 20, 0.0), ("M", 30, 1.0), (OTHER, 11, 0.5)]
    assert groups[1].summary() == {"name": "M", "customers": 30, "mean": 1.0, "low": 1.0, "high": 1.0}


def test_one_small_group_takes_the_next_smallest_with_it():
    labels = np.repeat(["a", "b", "c"], [3, 12, 40])
    assert set(merge_small(labels)) == {OTHER, "c"}


def test_missing_labels_are_unknown():
    labels = np.array([None, "", " ", float("nan"), "F", "F", "F", "F"], dtype=object)
    groups = by_group(np.zeros(8), labels, minimum=4)
    assert [(group.name, group.customers) for group in groups] == [("F", 4), (UNKNOWN, 4)]


def test_numbers_serve_as_labels():
    assert [group.name for group in by_group(np.zeros(30), np.arange(30) % 2)] == ["0", "1"]


def test_quartiles_of_activity_hold_a_quarter_each_and_equals_stay_together():
    rows = np.random.default_rng(0).permutation(100)
    names, sizes = np.unique(activity_quartiles(rows).astype(str), return_counts=True)
    assert names.tolist() == ["1 (fewest rows)", "2", "3", "4 (most rows)"]
    assert sizes.tolist() == [25, 25, 25, 25]
    assert len(set(activity_quartiles(np.full(10, 7)))) == 1
    assert len(activity_quartiles(np.zeros(0))) == 0


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one label for each"):
        by_group(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="minimum"):
        by_group(np.zeros(3), np.zeros(3), minimum=0)
