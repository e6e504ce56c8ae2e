"""Will a customer like an item: learned from sums alone, better than the majority, near the best there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tacit.core.triangle import unpack
from tacit.core.values import Array, Params, Population, Schema
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.like_classifier import LIKE, LikeClassifier

CUSTOMERS, ITEMS, ROWS = 250, 60, 30
MODEL = LikeClassifier(dim=3, sweeps=4)


def made(seed: int) -> tuple[Population, Population, Array]:
    """Training rows, test rows (each customer's last fifth) and the probability of a like that made the latter."""
    random = np.random.default_rng(seed)
    quality, mildness = random.normal(0.0, 0.5, ITEMS), random.normal(0.0, 0.5, CUSTOMERS)
    taste, character = random.normal(size=(CUSTOMERS, 2)), random.normal(size=(ITEMS, 2))
    level = 3.6 + quality + mildness[:, None] + 0.7 * taste @ character.T
    item = np.stack([random.choice(ITEMS, ROWS, replace=False) for _ in range(CUSTOMERS)])
    expected = np.take_along_axis(level, item, axis=1)
    rating = np.clip(np.rint(expected + random.normal(0.0, 0.7, expected.shape)), 1, 5)
    schema, cut = Schema("interactions", items=ITEMS), ROWS * 4 // 5

    def part(columns: slice) -> Population:
        width = item[:, columns].shape[1]
        fields = {"item": item[:, columns].ravel().astype(np.int32), "rating": rating[:, columns].ravel()}
        fields["rating"] = fields["rating"].astype(np.float32)
        return Population(schema, np.arange(CUSTOMERS + 1) * width, fields)

    return part(slice(0, cut)), part(slice(cut, ROWS)), (expected[:, cut:] > LIKE - 0.5).ravel()


def learned(train: Population, rounds: int) -> Params:
    """Shared parameters after some rounds of everyone."""
    algorithm = SumOfStatistics()
    state = algorithm.init(MODEL, train.schema, 0)
    for number in range(1, rounds + 1):
        total = MODEL.statistics(state.shared, {}, train)[0]
        state = algorithm.update(state, MODEL, total, len(train), number)
    return state.shared


@pytest.mark.parametrize("seed", [0, 1])
def test_it_beats_the_majority_and_item_and_customer_rates_and_comes_near_the_best_there_is(seed: int) -> None:
    """1,500 test rows: accuracies are within 0.04 of their expectation but for 1 in 1,000."""
    train, test, best = made(seed)
    liked = test.fields["rating"] >= LIKE
    p = MODEL.probabilities(learned(train, 11), {}, train, test)
    accuracy = float(np.mean((p > 0.5) == liked))
    majority = max(float(np.mean(liked)), 1.0 - float(np.mean(liked)))
    early = train.fields["rating"] >= LIKE
    of_item = np.bincount(train.fields["item"], early, ITEMS) / np.bincount(train.fields["item"], minlength=ITEMS)
    of_customer = np.bincount(train.owner(), early, CUSTOMERS) / train.sizes
    rates = float(np.mean((of_item[test.fields["item"]] + of_customer[test.owner()] > 1.0) == liked))
    bayes = float(np.mean(best == liked))
    assert accuracy > majority + 0.1
    assert accuracy > rates + 0.02
    assert accuracy > bayes - 0.06


def test_its_probabilities_are_calibrated() -> None:
    """Among rows called p, about p are liked: tenths of the test rows, within 0.15 (3.6 errors of 150)."""
    train, test, _ = made(2)
    p = MODEL.probabilities(learned(train, 11), {}, train, test)
    liked = test.fields["rating"] >= LIKE
    for part in np.array_split(np.argsort(p), 10):
        assert abs(float(np.mean(p[part])) - float(np.mean(liked[part]))) < 0.15


def test_the_calibration_has_converged_after_six_newton_steps() -> None:
    train, _, _ = made(3)
    one, other = learned(train, 1 + MODEL.sweeps + 6), learned(train, 1 + MODEL.sweeps + 20)
    np.testing.assert_allclose(one["coefficients"], other["coefficients"], atol=1e-4)
    total = MODEL.statistics(other, {}, train)[0]
    gradient = total["slope"] + MODEL.l2 * other["coefficients"]
    assert np.max(np.abs(gradient)) < 1e-2
    assert np.all(np.linalg.eigvalsh(unpack(total["curve"])) > -1e-9)


def test_item_sums_are_those_of_pooled_rows() -> None:
    """The first round's means, drawn to the overall mean by 5 pseudo-ratings."""
    train, _, _ = made(4)
    shared = learned(train, 1)
    rating, item = train.fields["rating"].astype(float), train.fields["item"]
    count = np.bincount(item, minlength=ITEMS)
    mean = (np.bincount(item, rating, ITEMS) + 5.0 * rating.mean()) / (count + 5.0)
    np.testing.assert_allclose(shared["all/mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(shared["all/centre"], [rating.mean(), np.mean(rating >= LIKE), rating.var()], rtol=1e-4)
    np.testing.assert_allclose(shared["all/log"], np.log1p(count), rtol=1e-6)


def test_customers_with_one_row_or_none_are_served_by_what_others_told() -> None:
    train, _, _ = made(5)
    shared = learned(train, 11)
    few = Population(train.schema, np.array([0, 0, 1]), {name: v[:1] for name, v in train.fields.items()})
    rows = Population(train.schema, np.array([0, 60, 120]), {"item": np.tile(np.arange(60, dtype=np.int32), 2)})
    p = MODEL.probabilities(shared, {}, few, rows)
    assert np.all((p > 0.0) & (p < 1.0))
    rate = np.bincount(train.fields["item"], train.fields["rating"] >= LIKE, ITEMS)
    assert np.corrcoef(p[:60], rate / np.bincount(train.fields["item"], minlength=ITEMS))[0, 1] > 0.8


@pytest.mark.parametrize(
    "wrong", [{"dim": 0}, {"sweeps": 0}, {"user_reg": 0.0}, {"item_reg": -1.0}, {"l2": 0.0}, {"half_life": 0.0}]
)
def test_settings_without_a_solution_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LikeClassifier(**wrong)
