"""The definition of data leakage, and the curves under it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.evaluation.attacks.leakage import auc, exact, per_group, pooled, recovered_at, roc


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40), st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_a_curve_rises_from_nothing_to_everything_and_its_area_is_the_auc(pairs, rate):
    truth, score = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], float)
    if truth.all() or not truth.any():
        assert np.isnan(auc(truth, score)) and np.isnan(recovered_at(truth, score, rate))
        return
    x, y = roc(truth, score)
    assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.all(np.diff(x) >= 0) and np.all(np.diff(y) >= 0)
    assert np.trapezoid(y, x) == pytest.approx(auc(truth, score))
    assert 0.0 <= recovered_at(truth, score, rate) <= 1.0


@given(st.floats(0.0, 1.0))
@settings(max_examples=20, deadline=None)
def test_who_knows_nothing_recovers_the_false_positive_rate(rate):
    truth = np.arange(10) < 4
    assert recovered_at(truth, np.zeros(10), rate) == pytest.approx(rate)


def test_known_answers_of_the_true_positive_rate():
    truth = np.array([1, 0, 1, 0, 0], bool)
    score = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    assert recovered_at(truth, score, 0.0) == 0.5  # one of two before the first error
    assert recovered_at(truth, score, 0.34) == 1.0
    assert auc(truth, score) == pytest.approx(5 / 6)


def test_an_attacker_who_only_guesses_leaks_nothing():
    source = np.random.default_rng(1)
    truth, guess = source.random((30, 50)) < 0.2, source.random((30, 50))
    found = per_group("items", truth, guess, guess, 0.05)
    assert (found.share, found.low, found.high, found.broken) == (0.0, 0.0, 0.0, False)
    flat = pooled("customers", truth.ravel(), guess.ravel(), guess.ravel(), 0.05)
    assert (flat.share, flat.broken) == (0.0, False)


def test_an_attacker_who_knows_all_recovers_all_beyond_guessing():
    source = np.random.default_rng(2)
    truth = source.random((30, 50)) < 0.2
    found = per_group("items", truth, truth.astype(float), np.zeros((30, 50)), 0.05)
    assert found.recovered == 1.0 and found.share == pytest.approx(0.95) and found.broken and found.auc == 1.0
    assert pooled("customers", truth[0], truth[0].astype(float), np.zeros(50), 0.05).share == pytest.approx(0.95)


def test_rows_that_were_named_count_against_rows_that_there_were():
    found = exact("rows", np.array([4, 2]), np.array([4, 4]), 0.0, 0.1)
    assert (found.recovered, found.rate, found.tried) == (0.75, 0.1, 2)


def test_a_summary_holds_figures_and_no_list_of_people():
    found = per_group("items", np.eye(20, dtype=bool), np.eye(20), np.zeros((20, 20)), 0.05).summary()
    assert all(isinstance(value, str | int | float | bool) for value in found.values())
    assert {"share", "low", "high", "rate", "recovered", "guessed", "unit", "tried", "broken"} <= found.keys()
