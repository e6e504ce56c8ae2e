from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.evaluation.classification import METRICS, Classification, auc
from tacit.evaluation.errors import ScoreError

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=1, max_size=40)


def slow_auc(labels, scores, weights=None):
    weights = np.ones(len(labels)) if weights is None else weights
    won = every = 0.0
    for i in np.flatnonzero(labels == 1):
        for j in np.flatnonzero(labels == 0):
            pair = weights[i] * weights[j]
            every += pair
            won += pair * (0.5 if scores[i] == scores[j] else float(scores[i] > scores[j]))
    return won / every if every else float("nan")


@settings(deadline=None, max_examples=100)
@given(rows=rows)
def test_auc_equals_counting_all_pairs(rows):
    labels, scores = np.array(rows).T
    np.testing.assert_allclose(auc(labels, scores / 8), slow_auc(labels, scores))


@settings(deadline=None, max_examples=50)
@given(rows=rows, shift=st.integers(-50, 50))
def test_auc_is_blind_to_order_and_to_rising_functions_and_turns_with_the_labels(rows, shift):
    labels, scores = np.array(rows).T
    area = auc(labels, scores)
    for changed in (scores + shift, np.exp(scores), scores**3):
        np.testing.assert_allclose(auc(labels, changed), area)
    np.testing.assert_allclose(auc(labels[::-1], scores[::-1]), area)
    np.testing.assert_allclose(auc(1 - labels, scores), 1 - area)


def test_metrics_have_their_known_values():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    said = np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.5, 0.4, 0.3, 0.1, 0.1])  # 3 hits, 1 miss, 2 false alarms, 4 right
    metrics = Classification(labels, said).metrics()
    assert metrics["accuracy"] == pytest.approx(0.7)
    assert metrics["precision"] == pytest.approx(3 / 5)
    assert metrics["recall"] == pytest.approx(3 / 4)
    assert metrics["f1"] == pytest.approx(2 / (1 / (3 / 5) + 1 / (3 / 4)))
    assert metrics["auc"] == pytest.approx(20 / 24)
    assert metrics["log_loss"] == pytest.approx(-np.mean(np.log(np.where(labels == 1, said, 1 - said))))
    strict = Classification(labels, said, threshold=0.75).metrics()
    assert (strict["precision"], strict["recall"]) == (1.0, 0.5)
    assert strict["auc"] == metrics["auc"]


def test_a_resample_equals_the_metrics_of_its_rows_written_out():
    rng = np.random.default_rng(0)
    owner = rng.integers(100, 112, 80)
    labels, said = rng.integers(0, 2, 80), rng.integers(0, 11, 80) / 10
    judged = Classification(labels, said, owner)
    names, cluster = np.unique(owner, return_inverse=True)
    weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=130).astype(float)
    fast = judged._metrics(cluster, weights)
    for draw, times in zip(fast, weights, strict=True):
        chosen = np.concatenate([np.tile(np.flatnonzero(cluster == c), int(t)) for c, t in enumerate(times)])
        slow = Classification(labels[chosen], said[chosen]).metrics()
        np.testing.assert_allclose(draw, [slow[name] for name in METRICS])
        np.testing.assert_allclose(slow["auc"], slow_auc(labels[chosen], said[chosen]))


def test_rows_of_one_customer_are_drawn_together_so_that_copies_add_no_certainty():
    rng = np.random.default_rng(1)
    labels, said = rng.integers(0, 2, 200), rng.random(200)
    ten = np.repeat(np.arange(200), 10)
    alone = Classification(labels, said).summary(seed=3)
    copied = Classification(labels[ten], said[ten], ten).summary(seed=3)
    careless = Classification(labels[ten], said[ten]).summary(seed=3)
    for name in METRICS:
        wide = alone["high"][name] - alone["low"][name]
        assert copied["high"][name] - copied["low"][name] == pytest.approx(wide)
        assert careless["high"][name] - careless["low"][name] < 0.5 * wide


def test_the_interval_of_auc_holds_the_true_value_in_about_95_of_100_samples():
    # 200 samples of n = 120 rows, true AUC of N(1, 1) against N(0, 1) is 0.7602, seed 8; binomial sd 0.0154,
    # [0.89, 0.99] leaves false alarms under 0.2 %.
    rng = np.random.default_rng(8)
    hits = 0
    for trial in range(200):
        labels = np.repeat([0, 1], 60)
        said = 1 / (1 + np.exp(-(rng.normal(size=120) + labels)))
        summary = Classification(labels, said).summary(draws=400, seed=trial)
        hits += summary["low"]["auc"] <= 0.7602 <= summary["high"]["auc"]
    assert 0.89 <= hits / 200 <= 0.99


def test_one_label_only_leaves_auc_undefined_and_the_summary_still_prints():
    summary = Classification(np.ones(5), np.linspace(0, 1, 5)).summary(draws=20)
    assert summary["auc"] is summary["low"]["auc"] is summary["high"]["auc"] is None
    assert summary["majority"] == 1.0
    nobody = Classification(np.array([1, 0]), np.zeros(2)).summary(draws=20)
    assert nobody["precision"] == nobody["recall"] == nobody["f1"] == 0.0
    json.dumps([summary, nobody], allow_nan=False)


def test_a_confident_mistake_costs_much_but_not_everything():
    assert Classification(np.array([1, 0]), np.array([0.0, 1.0])).metrics()["log_loss"] == pytest.approx(
        34.54, abs=0.01
    )


def test_labels_and_probabilities_out_of_range_are_refused():
    good = np.array([0, 1])
    for labels, said, owner in (
        (good, np.array([0.5, np.nan]), None),
        (good, np.array([0.5, 1.1]), None),
        (np.array([0, 2]), np.array([0.5, 0.5]), None),
        (good, np.array([0.5]), None),
        (good, np.array([0.5, 0.5]), np.array([0])),
        (np.zeros(0), np.zeros(0), None),
    ):
        with pytest.raises(ScoreError):
            Classification(labels, said, owner)
    with pytest.raises(ScoreError, match="NaN"):
        auc(good, np.array([0.5, np.nan]))
    assert repr(Classification(good, good / 2)) == "Classification(2 rows, threshold 0.5)"
