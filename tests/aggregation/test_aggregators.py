"""Laws of every aggregator in the folder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit import aggregation
from tacit.aggregation.median import Median
from tacit.aggregation.sum import Sum
from tacit.federation.vocabulary import components

FOUND = list(components(aggregation, "sees").values())
EVERY = pytest.mark.parametrize("cls", FOUND, ids=[cls.__name__ for cls in FOUND])


def updates(seed: int, count: int, length: int) -> np.ndarray:
    """(count, length) of very different sizes, with ties."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((count, length)) * 10.0 ** random.uniform(-3, 3, (count, 1))
    x[random.random((count, length)) < 0.2] = 0.0
    return np.asarray(x)


cases = given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(0, 6))


def test_the_folder_holds_aggregators() -> None:
    assert {Sum, Median} <= set(FOUND)


@EVERY
@cases
@settings(max_examples=40, deadline=None)
def test_the_order_of_clients_does_not_matter(cls: type[Any], seed: int, count: int, length: int) -> None:
    x = updates(seed, count, length)
    order = np.random.default_rng(seed + 1).permutation(count)
    np.testing.assert_allclose(cls()(x[order]), cls()(x), rtol=1e-12, atol=1e-9)


@EVERY
@cases
@settings(max_examples=40, deadline=None)
def test_where_all_agree_the_result_is_as_many_times_their_update(
    cls: type[Any], seed: int, count: int, length: int
) -> None:
    one = updates(seed, 1, length)[0]
    np.testing.assert_allclose(cls()(np.tile(one, (count, 1))), count * one, rtol=1e-12)


@EVERY
@cases
@settings(max_examples=40, deadline=None)
def test_moving_every_update_moves_the_result_as_often(cls: type[Any], seed: int, count: int, length: int) -> None:
    x, shift = updates(seed, count, length), updates(seed + 1, 1, length)[0]
    np.testing.assert_allclose(cls()(x + shift), cls()(x) + count * shift, rtol=1e-9, atol=1e-8)


@EVERY
@cases
@settings(max_examples=40, deadline=None)
def test_the_result_has_the_shape_of_one_update_and_updates_stay_as_they_are(
    cls: type[Any], seed: int, count: int, length: int
) -> None:
    x = updates(seed, count, length)
    before = x.copy()
    assert cls()(x).shape == (length,)
    np.testing.assert_array_equal(x, before)


@EVERY
def test_an_aggregator_says_what_the_server_must_see(cls: type[Any]) -> None:
    assert cls().sees in ("sum", "each")


@pytest.mark.parametrize("liars", [1, 4])
def test_the_median_stands_a_minority_of_liars_and_the_sum_does_not(liars: int) -> None:
    honest = np.random.default_rng(0).normal(1.0, 0.1, (9, 5))
    lying = np.full((liars, 5), -1e6)
    both = np.concatenate([honest, lying])
    assert np.all(np.abs(Median()(both) / len(both) - 1.0) < 0.3)
    assert np.all(Sum()(both) < -1e5)


def test_the_median_of_nobody_is_refused_and_the_sum_is_nothing() -> None:
    with pytest.raises(ValueError, match="at least 1 update"):
        Median()(np.zeros((0, 3)))
    assert Sum()(np.zeros((0, 3))).tolist() == [0.0, 0.0, 0.0]
