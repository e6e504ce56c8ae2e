from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.evaluation.beyond_accuracy import beyond_accuracy, category_diversity, coverage, gini, novelty


def test_coverage_and_gini_have_their_known_values():
    everyone_alike = np.tile(np.arange(2), (5, 1))
    assert coverage(everyone_alike, 10) == 0.2
    assert gini(everyone_alike, 10) == pytest.approx(0.8)
    all_items = np.arange(10).reshape(5, 2)
    assert coverage(all_items, 10) == 1.0
    assert gini(all_items, 10) == pytest.approx(0.0)
    assert gini(np.zeros((7, 1), dtype=int), 10) == pytest.approx(0.9)
    assert coverage(np.full((3, 2), -1), 10) == gini(np.full((3, 2), -1), 10) == 0.0


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_diversity_equals_the_mean_over_all_pairs(population, data):
    items = data.draw(st.integers(2, 8))
    histories = data.draw(st.lists(st.lists(st.integers(0, items - 1), max_size=10), min_size=1, max_size=6))
    lists = st.permutations(range(items)).map(lambda order: order[: min(4, items)])
    top = np.array(data.draw(st.lists(lists, min_size=1, max_size=4)))
    top[0, -1] = -1
    met = np.zeros((len(histories), items))
    for customer, history in enumerate(histories):
        met[customer, history] = 1
    categories = np.random.default_rng(data.draw(st.integers(0, 100))).integers(0, 2, (items, 3))
    train = population(histories, items)
    for vectors, diversity in (
        (met.T, beyond_accuracy(top, train).diversity),
        (categories, category_diversity(top, categories)),
    ):
        for row, chosen in enumerate(top):
            listed = [i for i in chosen if i >= 0]
            cosines = []
            for place, i in enumerate(listed):
                for j in listed[:place]:
                    lengths = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
                    cosines.append(vectors[i] @ vectors[j] / lengths if lengths else 0.0)
            expected = 1 - np.mean(cosines) if cosines else np.nan
            np.testing.assert_allclose(diversity[row], expected, atol=1e-12)


def test_novelty_is_the_information_in_hearing_that_somebody_met_the_item():
    # 7 customers and the added one: 7 of them met item 0, 1 item 1, nobody item 2
    bits = novelty(np.array([[0, -1], [1, -1], [2, -1], [0, 2], [-1, -1]]), np.array([7, 1, 0]), 7)
    np.testing.assert_allclose(bits, [0.0, 2.0, 3.0, 1.5, np.nan])


def test_the_summary_has_intervals_and_no_numbers_that_json_lacks(storefront):
    rng = np.random.default_rng(0)
    top = np.argsort(rng.random((50, 400)), axis=1)[:, :10]
    summary = beyond_accuracy(top, storefront.train).summary()
    assert set(summary) == {"coverage@10", "gini@10", "diversity@10", "novelty@10", "low", "high"}
    for name in ("diversity@10", "novelty@10"):
        assert summary["low"][name] < summary[name] < summary["high"][name]
    empty = beyond_accuracy(np.full((2, 10), -1), storefront.train)
    assert empty.summary()["novelty@10"] is None
    json.dumps([summary, empty.summary()], allow_nan=False)
    assert repr(empty) == "BeyondAccuracy(2 customers, k=10)"


def test_the_order_of_lists_and_of_their_items_changes_nothing(storefront):
    rng = np.random.default_rng(1)
    top = np.argsort(rng.random((30, 400)), axis=1)[:, :10]
    a = beyond_accuracy(top, storefront.train).summary()
    b = beyond_accuracy(top[::-1, ::-1], storefront.train).summary()
    for name in ("coverage@10", "gini@10", "diversity@10", "novelty@10"):
        assert a[name] == pytest.approx(b[name])
