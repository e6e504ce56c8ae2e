from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.evaluation.bootstrap import bounds, interval, intervals, paired, resamples


@settings(deadline=None, max_examples=40)
@given(
    values=st.lists(st.floats(-100, 100), min_size=1, max_size=30),
    seed=st.integers(0, 2**63 - 1),
    order=st.randoms(use_true_random=False),
)
def test_the_interval_lies_within_the_values_and_does_not_depend_on_their_order(values, seed, order):
    low, high = interval(np.array(values), draws=50, seed=seed)
    slack = 1e-9 * max(1.0, *map(abs, values))
    assert min(values) - slack <= low <= high <= max(values) + slack
    order.shuffle(values)
    assert interval(np.array(values), draws=50, seed=seed) == (low, high)


def test_95_percent_of_intervals_hold_the_true_mean():
    # 400 samples of n = 150 skewed values in [0, 1] (like NDCG), seed 11. Coverage of the percentile bootstrap is a
    # little under 0.95 here; binomial sd 0.011, so [0.91, 0.98] leaves false alarms under 0.5 %.
    rng = np.random.default_rng(11)
    levels, chance = np.array([0.0, 0.3, 0.5, 1.0]), np.array([0.6, 0.2, 0.1, 0.1])
    true = float(levels @ chance)
    hits = 0
    for trial in range(400):
        low, high = interval(rng.choice(levels, 150, p=chance), draws=1000, seed=trial)
        hits += low <= true <= high
    assert 0.91 <= hits / 400 <= 0.98


def test_the_interval_agrees_with_drawing_customers_one_by_one():
    # n = 300 distinct values, 20,000 draws each side, seed 2: quantiles differ by under 0.05 of the standard error.
    rng = np.random.default_rng(2)
    values = rng.exponential(size=300)
    slow = values[rng.integers(0, 300, (20_000, 300))].mean(axis=1)
    fast = interval(values, draws=20_000, seed=5)
    np.testing.assert_allclose(fast, np.quantile(slow, [0.025, 0.975]), atol=0.05 * values.std() / np.sqrt(300))


def test_many_metrics_at_once_share_their_customers():
    rng = np.random.default_rng(3)
    values = rng.random(200)
    low, high = intervals(np.stack([values, 2 * values, -values]), seed=9)
    np.testing.assert_allclose(low, [low[0], 2 * low[0], -high[0]])
    np.testing.assert_allclose(high, [high[0], 2 * high[0], -low[0]])


def test_a_paired_interval_is_narrower_than_the_two_apart_and_antisymmetric():
    rng = np.random.default_rng(4)
    a = rng.random(500)
    b = a + rng.normal(0.02, 0.05, 500)
    low, high = paired(b, a, seed=1)
    assert 0.0 < low < 0.02 < high < 0.03
    apart = [interval(x, seed=1) for x in (a, b)]
    assert high - low < 0.3 * min(top - bottom for bottom, top in apart)
    np.testing.assert_allclose(paired(a, b, seed=1), (-high, -low), atol=2e-3)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(0).random(100)
    assert interval(values, seed=1) == interval(values, seed=1) != interval(values, seed=2)


def test_resampled_customers_add_up_and_come_in_every_draw():
    blocks = list(resamples(1000, draws=4500, seed=0))
    assert sum(len(block) for block in blocks) == 4500
    assert len(blocks) == 2  # memory is bounded
    assert all(np.all(block.sum(axis=1) == 1000) for block in blocks)
    # variance of a multinomial count is 1 - 1/n; 4.5 million counts, seed 0: 5 sd is 0.004
    assert np.var(np.concatenate(blocks)) == pytest.approx(0.999, abs=0.005)


def test_undefined_statistics_are_left_out_of_the_bounds():
    low, high = bounds(np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan]]))
    assert 1.0 <= low[0] < high[0] <= 3.0
    assert np.isnan(low[1])
    assert np.isnan(high[1])


def test_nothing_and_not_a_number_are_refused():
    with pytest.raises(ValueError, match="at least one customer"):
        interval(np.zeros(0))
    with pytest.raises(ValueError, match="NaN"):
        interval(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="same customers"):
        paired(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="level"):
        interval(np.zeros(2), level=1.0)
