from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import TacitError
from tacit.evaluation.errors import ScoreError
from tacit.evaluation.ranking import Ranks, full_ranks, hit_rate, ndcg, sampled_ranks, top_items


@st.composite
def blocks(draw):
    """Integer scores, so that ties are common, with targets, negatives and histories."""
    n, items = draw(st.integers(1, 5)), draw(st.integers(1, 15))
    item = st.integers(0, items - 1)
    scores = np.array(
        draw(st.lists(st.lists(st.integers(-4, 4), min_size=items, max_size=items), min_size=n, max_size=n))
    )
    target = np.array(draw(st.lists(item, min_size=n, max_size=n)))
    other = np.array(draw(st.lists(st.integers(-1, items - 1), min_size=n, max_size=n)))
    drawn = st.lists(st.integers(-1, items - 1), min_size=4, max_size=4)
    negatives = np.array(draw(st.lists(drawn, min_size=n, max_size=n)))
    histories = draw(st.lists(st.lists(item, max_size=10), min_size=n, max_size=n))
    return scores.astype(np.float64), target, negatives, histories, other, items


@settings(deadline=None, max_examples=80)
@given(block=blocks())
def test_ranks_and_lists_equal_a_slow_count(population, block):
    scores, target, negatives, histories, other, items = block
    seen = population(histories, items)
    sampled = sampled_ranks(scores, target, negatives)
    full = full_ranks(scores, target, seen, other)
    top = top_items(scores, seen, other, k=3)
    for row, mine in enumerate(target):
        score = scores[row]
        assert sampled[row] == 1 + sum(1 for i in negatives[row] if i >= 0 and i != mine and score[i] >= score[mine])
        met = {*histories[row], other[row]}
        rivals = [i for i in range(items) if i not in met and i != mine]
        assert full[row] == 1 + sum(1 for i in rivals if score[i] >= score[mine])
        best = sorted((i for i in range(items) if i not in met), key=lambda i: (-score[i], i))[:3]
        assert top[row].tolist() == best + [-1] * (3 - len(best))


@settings(deadline=None, max_examples=50)
@given(block=blocks(), shift=st.integers(-1000, 1000))
def test_a_constant_or_a_rising_function_of_the_scores_changes_no_rank_and_no_list(population, block, shift):
    scores, target, negatives, histories, other, items = block
    seen = population(histories, items)
    before = Ranks.of(scores, target, negatives[None], seen, other, k=4)
    for changed in (
        scores + shift,
        np.exp(scores),
        3.0 * scores**3,
        scores.astype(np.float32),
        scores.astype(np.int16),
    ):
        after = Ranks.of(changed, target, negatives[None], seen, other, k=4)
        np.testing.assert_array_equal(after.sampled, before.sampled)
        np.testing.assert_array_equal(after.full, before.full)
        np.testing.assert_array_equal(after.top, before.top)


@settings(deadline=None, max_examples=50)
@given(block=blocks(), cut=st.integers(0, 5))
def test_blocks_of_customers_join_to_the_whole(population, block, cut):
    scores, target, negatives, histories, other, items = block
    seen = population(histories, items)
    whole = Ranks.of(scores, target, negatives[None], seen, other)
    parts = []
    for low, high in ((0, cut), (cut, len(target))):
        rows = np.arange(len(target))[low:high]
        parts.append(Ranks.of(scores[rows], target[rows], negatives[None, rows], seen.take(rows), other[rows]))
    joined = Ranks.join(parts)
    np.testing.assert_array_equal(joined.sampled, whole.sampled)
    np.testing.assert_array_equal(joined.full, whole.full)
    np.testing.assert_array_equal(joined.top, whole.top)


def test_constant_scores_put_the_target_last(population):
    scores = np.zeros((1, 100))
    assert sampled_ranks(scores, np.array([5]), np.arange(100)[None]).tolist() == [100]
    assert full_ranks(scores, np.array([5]), population([[0, 1]], 100), np.array([2])).tolist() == [97]


def test_hit_rate_and_ndcg_have_their_known_values():
    ranks = np.array([1, 2, 3, 10, 11, 100])
    np.testing.assert_array_equal(hit_rate(ranks), [1, 1, 1, 1, 0, 0])
    np.testing.assert_allclose(ndcg(ranks), [1, 1 / np.log2(3), 0.5, 1 / np.log2(11), 0, 0])
    np.testing.assert_array_equal(hit_rate(ranks, k=2), [1, 1, 0, 0, 0, 0])


def test_scores_that_are_not_numbers_are_refused_and_infinite_ones_are_not(population):
    scores = np.zeros((1, 4))
    scores[0, 3] = np.nan
    seen = population([[0]], 4)
    for call in (
        lambda: sampled_ranks(scores, np.array([1]), np.array([[2]])),
        lambda: full_ranks(scores, np.array([1]), seen),
        lambda: top_items(scores, seen),
    ):
        with pytest.raises(ScoreError, match="diverged"):
            call()
    assert issubclass(ScoreError, TacitError)
    scores[0] = [0, -np.inf, np.inf, -np.inf]
    assert full_ranks(scores, np.array([1]), seen).tolist() == [3]
    assert top_items(scores, seen, k=3).tolist() == [[2, 1, 3]]


def test_shapes_that_do_not_fit_are_refused(population):
    scores = np.zeros((2, 4))
    with pytest.raises(ScoreError, match="were needed"):
        sampled_ranks(scores, np.array([1]), np.array([[2]]))
    with pytest.raises(ScoreError, match="negatives"):
        sampled_ranks(scores, np.array([1, 1]), np.array([[2]]))
    with pytest.raises(ScoreError, match="negatives"):
        sampled_ranks(scores, np.array([1, 1]), np.array([[2], [4]]))
    with pytest.raises(ScoreError, match="targets"):
        sampled_ranks(scores, np.array([1, 4]), np.array([[2], [2]]))
    with pytest.raises(ScoreError, match="training rows"):
        full_ranks(scores, np.array([1, 1]), population([[0]], 4))
    with pytest.raises(ScoreError, match="do not fit"):
        full_ranks(scores, np.array([1, 1]), population([[0], [9]], 10))
    with pytest.raises(ValueError, match="k must"):
        top_items(scores, population([[0], [1]], 4), k=0)


def test_ranks_show_sizes_only(population):
    ranks = Ranks.of(np.zeros((1, 4)), np.array([3]), np.array([[[1]]]), population([[0]], 4))
    assert repr(ranks) == "Ranks(1 customers, 1 draws)"
