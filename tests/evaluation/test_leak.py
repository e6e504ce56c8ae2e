"""The central claim of honest evaluation: who learns alone cannot know what it will like next."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tacit.evaluation.leak import no_collaboration, report


def test_customers_alone_score_at_chance_with_honest_negatives_and_not_with_leaky_ones(storefront):
    # n = 600, 3 runs, seed 0: measured standard deviation of HR@10 over seeds about 0.010; the band is 3 of them.
    found = report(storefront.train, storefront.test, storefront.validation, epochs=40)
    assert found["chance"]["hr@10"] == pytest.approx(0.1)
    assert 0.07 <= found["honest"]["hr@10"] <= 0.13
    assert found["leaky"]["hr@10"] > 0.5
    assert found["leaky"]["low"]["full.hr@10"] > 3 * found["chance"]["full.hr@10"]
    json.dumps(found, allow_nan=False)


def test_customers_alone_score_at_chance_on_movielens_100k(movielens_100k):
    # n = 943, 3 runs, seed 0: standard deviation over seeds 0.011 for one run, measured on 20; false alarm under 1e-4.
    found = report(movielens_100k.train, movielens_100k.test, movielens_100k.validation, epochs=20)
    assert 0.07 <= found["honest"]["hr@10"] <= 0.13
    assert found["leaky"]["hr@10"] > 0.5
    assert (found["customers"], found["items"]) == (943, 1682)


def test_the_honest_sampler_never_looks_at_what_is_held_out(storefront):
    nothing = np.full((len(storefront.train), 2), -1)
    held = np.stack([storefront.test, storefront.validation], axis=1)
    honest = no_collaboration(storefront.train, held, epochs=3)
    np.testing.assert_array_equal(honest, no_collaboration(storefront.train, nothing, epochs=3))
    np.testing.assert_array_equal(honest, no_collaboration(storefront.train, nothing, epochs=3, leaky=True))
    assert not np.array_equal(honest, no_collaboration(storefront.train, held, epochs=3, leaky=True))


def test_a_customer_alone_is_unmoved_by_the_rows_of_the_others(population):
    held = np.full((2, 1), -1)
    one = no_collaboration(population([[0, 1, 2], [5]], 30), held, epochs=4)
    two = no_collaboration(population([[0, 1, 2], [9, 8, 7, 6]], 30), held, epochs=4)
    np.testing.assert_array_equal(one[0], two[0])
    assert not np.array_equal(one[1], two[1])


def test_training_raises_what_was_met_above_the_rest(storefront):
    scores = no_collaboration(storefront.train, np.full((len(storefront.train), 1), -1), epochs=20)
    for customer in range(0, len(storefront.train), 50):
        met = storefront.train.rows(customer)["item"]
        rest = np.setdiff1d(np.arange(400), met)
        assert scores[customer, met].mean() > scores[customer, rest].mean() + 1.0


def test_a_customer_who_met_everything_still_trains(population):
    scores = no_collaboration(population([range(6)], 6), np.full((1, 1), -1), epochs=2)
    assert np.isfinite(scores).all()


def test_held_out_items_that_do_not_fit_are_refused(population):
    with pytest.raises(ValueError, match="held-out items"):
        no_collaboration(population([[0]], 3), np.array([1]))
    with pytest.raises(ValueError, match="held-out items"):
        no_collaboration(population([[0]], 3), np.array([[3]]))
