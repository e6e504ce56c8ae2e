from __future__ import annotations

import numpy as np
import pytest

from tacit.core.values import DataError, Population
from tacit.evaluation.errors import ScoreError
from tacit.evaluation.negatives import draws
from tacit.evaluation.recommendation import evaluate
from tacit.evaluation.validation import best_round, validate


def popularity(train: Population):
    counts = np.bincount(train.fields["item"], minlength=train.schema.items).astype(np.float32)
    return lambda customers: np.tile(counts, (len(customers), 1))


def random_scores(train: Population, seed: int):
    scores = np.random.default_rng(seed).random((len(train), train.schema.items), dtype=np.float32)
    return scores.__getitem__


def judged(split, score_block, **options):
    negatives = draws(split.train, split.test, split.validation, seed=4)
    return evaluate(score_block, split.train, split.test, split.validation, negatives, **options)


def test_a_model_that_knows_the_answer_scores_one_and_one_that_knows_nothing_scores_chance(storefront):
    truth = np.zeros((len(storefront.train), storefront.train.schema.items))
    truth[np.arange(len(truth)), storefront.test] = 1
    perfect = judged(storefront, truth.__getitem__).summary()
    assert all(perfect[name] == 1.0 for name in ("hr@10", "ndcg@10", "full.hr@10", "full.ndcg@10"))
    assert perfect["low"]["hr@10"] == perfect["high"]["hr@10"] == 1.0
    constant = judged(storefront, lambda c: np.zeros((len(c), 400))).summary()
    assert constant["hr@10"] == constant["full.hr@10"] == 0.0
    # n = 600 customers, seed 5: standard deviation 0.012 at most, 5 sd, false alarm 6e-7
    blind = judged(storefront, random_scores(storefront.train, 5)).summary()
    assert abs(blind["hr@10"] - 0.10) < 0.06
    assert abs(blind["full.hr@10"] - 10 / 350) < 0.035


def test_the_summary_has_the_names_of_the_report_and_intervals_around_each(storefront):
    ranking = judged(storefront, popularity(storefront.train))
    summary = ranking.summary()
    names = {"hr@10", "ndcg@10", "full.hr@10", "full.ndcg@10"}
    assert set(summary) == names | {"low", "high"}
    assert set(summary["low"]) == set(summary["high"]) == names
    assert all(summary["low"][name] < summary[name] < summary["high"][name] for name in names)
    assert summary == ranking.summary()
    assert set(judged(storefront, popularity(storefront.train), k=5).summary()["low"]) == {
        "hr@5",
        "ndcg@5",
        "full.hr@5",
        "full.ndcg@5",
    }


@pytest.mark.parametrize("block", [1, 7, 600])
def test_the_size_of_a_block_changes_nothing(storefront, block):
    whole = judged(storefront, random_scores(storefront.train, 1))
    parts = judged(storefront, random_scores(storefront.train, 1), block=block)
    np.testing.assert_array_equal(parts.ranks.sampled, whole.ranks.sampled)
    np.testing.assert_array_equal(parts.ranks.full, whole.ranks.full)
    np.testing.assert_array_equal(parts.top, whole.top)


def test_the_order_of_customers_changes_nothing(storefront):
    order = np.random.default_rng(0).permutation(len(storefront.train))
    negatives = draws(storefront.train, storefront.test, storefront.validation)
    scores = random_scores(storefront.train, 2)
    straight = evaluate(scores, storefront.train, storefront.test, storefront.validation, negatives)
    shuffled = evaluate(
        lambda c: scores(order[c]),
        storefront.train.take(order),
        storefront.test[order],
        storefront.validation[order],
        negatives[:, order],
    )
    for name, value in straight.values().items():
        np.testing.assert_array_equal(shuffled.values()[name], value[order])
    a, b = straight.summary(), shuffled.summary()
    assert a["low"] == b["low"]
    assert a["high"] == b["high"]


def test_lists_never_hold_what_the_customer_has_met(storefront):
    top = judged(storefront, popularity(storefront.train)).top
    for customer, chosen in enumerate(top):
        met = {*storefront.train.rows(customer)["item"].tolist(), int(storefront.validation[customer])}
        assert met.isdisjoint(chosen.tolist())
        assert len(set(chosen.tolist())) == 10


def test_customers_without_a_test_item_are_passed_over(storefront):
    test = storefront.test.copy()
    test[::2] = -1
    negatives = draws(storefront.train, test, storefront.validation)
    ranking = evaluate(popularity(storefront.train), storefront.train, test, None, negatives)
    np.testing.assert_array_equal(ranking.customers, np.arange(1, len(test), 2))
    assert ranking.hr.shape == (300,)


def test_a_split_that_leaks_is_refused_without_naming_anybody(population):
    train = population([[0, 1], [2, 3]], 8)
    negatives = np.array([[[5, 6], [5, 6]]])
    scores = np.zeros((2, 8)).__getitem__
    with pytest.raises(DataError, match="1 customers have their test item in their training"):
        evaluate(scores, train, np.array([1, 4]), None, negatives)
    with pytest.raises(DataError, match="1 customers"):
        evaluate(scores, train, np.array([4, 4]), np.array([4, 5]), negatives)
    with pytest.raises(DataError, match="2 evaluation negatives"):
        evaluate(scores, train, np.array([4, 4]), None, np.array([[[0, 6], [5, 2]]]))
    with pytest.raises(DataError, match="none of them"):
        evaluate(scores, train, np.array([-1, -1]), None, negatives)


def test_scores_of_the_wrong_shape_are_refused(storefront):
    with pytest.raises(ScoreError, match=r"\(512, 400\)"):
        judged(storefront, lambda customers: np.zeros((len(customers), 399)))


def test_a_ranking_shows_sizes_only(storefront):
    assert repr(judged(storefront, popularity(storefront.train))) == "Ranking(600 customers, k=10)"


def test_validation_ranks_the_validation_item_and_needs_no_test_item(storefront):
    negatives = draws(storefront.train, storefront.test, storefront.validation, seed=77)
    truth = np.zeros((len(storefront.train), storefront.train.schema.items))
    truth[np.arange(len(truth)), storefront.validation] = 1
    assert validate(truth.__getitem__, storefront.train, storefront.validation, negatives).hr.mean() == 1.0


def test_the_best_round_is_the_earliest_of_the_highest_whatever_the_order():
    curve = [(30, 0.5), (10, 0.4), (40, 0.5), (20, 0.3), (50, float("nan"))]
    assert best_round(curve) == best_round(curve[::-1]) == 30
    for nothing in ([], [(1, float("nan"))]):
        with pytest.raises(ValueError, match="at least one"):
            best_round(nothing)


def test_popularity_on_movielens_100k_scores_what_was_measured_independently(movielens_100k):
    # Independent figures .406 / .227 and .082 / .039, other draws and tie rules: within 0.01 each.
    summary = judged(movielens_100k, popularity(movielens_100k.train)).summary()
    expected = {"hr@10": 0.406, "ndcg@10": 0.227, "full.hr@10": 0.082, "full.ndcg@10": 0.039}
    for name, value in expected.items():
        assert summary[name] == pytest.approx(value, abs=0.01)
        assert summary["low"][name] < value < summary["high"][name]


@pytest.mark.slow
def test_popularity_on_the_published_negatives_of_movielens_1m_scores_what_was_measured_independently(movielens_1m):
    # Independent: .4538 / .2545 with the validation items counted as well; 156 negatives are the test item itself.
    split = movielens_1m
    negatives = split.negatives[None]
    summary = evaluate(popularity(split.train), split.train, split.test, split.validation, negatives).summary()
    assert summary["hr@10"] == pytest.approx(0.4538, abs=0.004)
    assert summary["ndcg@10"] == pytest.approx(0.2545, abs=0.004)
