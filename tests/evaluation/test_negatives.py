from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.evaluation.negatives import draw, draws


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_negatives_are_distinct_and_were_never_met_by_their_customer(population, data):
    items = data.draw(st.integers(1, 40))
    item = st.integers(0, items - 1)
    histories = data.draw(st.lists(st.lists(item, max_size=30), min_size=1, max_size=6))
    held = st.lists(st.integers(-1, items - 1), min_size=len(histories), max_size=len(histories))
    test, validation = np.array(data.draw(held)), np.array(data.draw(held))
    count = data.draw(st.integers(1, 50))
    out = draw(population(histories, items), test, validation, count, data.draw(st.integers(0, 2**63 - 1)))
    assert out.shape == (len(histories), count)
    assert out.dtype == np.int32
    for customer, history in enumerate(histories):
        met = {*history, int(test[customer]), int(validation[customer])}
        unseen = set(range(items)) - met
        mine = out[customer][out[customer] >= 0].tolist()
        assert len(set(mine)) == len(mine) == min(count, len(unseen))
        assert set(mine) <= unseen
        assert np.all(out[customer, len(mine) :] == -1)


@pytest.mark.parametrize("met", [5, 70])  # rejection, and the list of what is left
def test_every_unseen_item_is_drawn_equally_often_and_in_every_place(population, met):
    # chi-square over 95 (30) items and 10 places, seed 3, n = 3000 rows: false alarm 1e-6 by the limit of 5 sd
    customers, items, count = 3000, 100, 10
    train = population([range(met)] * customers, items)
    out = draw(train, np.full(customers, -1), None, count, seed=3)
    unseen = items - met
    for sample, draws_made in ((out, customers * count), (out[:, 0], customers), (out[:, -1], customers)):
        found = np.bincount(sample.ravel(), minlength=items)
        assert found[:met].sum() == 0
        expected = draws_made / unseen
        chi = np.sum((found[met:] - expected) ** 2) / expected
        assert chi < (unseen - 1) + 5 * np.sqrt(2 * (unseen - 1))


def test_the_same_seed_gives_the_same_negatives_and_another_seed_others(storefront):
    a = draws(storefront.train, storefront.test, storefront.validation, draws=3, seed=1)
    b = draws(storefront.train, storefront.test, storefront.validation, draws=3, seed=1)
    c = draws(storefront.train, storefront.test, storefront.validation, draws=3, seed=2)
    assert a.shape == (3, len(storefront.train), 99)
    np.testing.assert_array_equal(a, b)
    assert np.mean(a == c) < 0.02
    assert np.mean(a[0] == a[1]) < 0.02


def test_adding_a_customer_leaves_the_negatives_of_the_others_alone(population):
    one = draw(population([[0, 1], [2]], 50), np.array([3, 4]), count=9)
    two = draw(population([[0, 1], [2], [7, 8]], 50), np.array([3, 4, 5]), count=9)
    np.testing.assert_array_equal(one, two[:2])


def test_items_outside_the_catalogue_are_refused(population):
    with pytest.raises(ValueError, match=r"\[0, 5\)"):
        draw(population([[0]], 5), np.array([5]))
    with pytest.raises(ValueError, match="training items"):
        draw(population([[7]], 5), np.array([1]))
    with pytest.raises(ValueError, match="one held-out item"):
        draw(population([[0]], 5), np.array([1, 2]))
    with pytest.raises(ValueError, match="count"):
        draw(population([[0]], 5), np.array([1]), count=0)
    with pytest.raises(ValueError, match="draws"):
        draws(population([[0]], 5), np.array([1]), draws=0)
