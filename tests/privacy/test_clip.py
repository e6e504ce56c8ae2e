"""Clipping bounds every vector, leaves those inside alone and keeps the direction of the rest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tacit.privacy.clip import clipped, factor

vectors = npst.arrays(
    np.float64, st.integers(0, 8), elements=st.floats(allow_nan=False, allow_infinity=False)
)  # every float64 there is: huge, tiny, subnormal, zero
singles = npst.arrays(
    np.float32, st.integers(0, 8), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
)
bounds = st.floats(1e-30, 1e30)


def length(x: np.ndarray) -> float:
    """L2 norm that neither overflows nor underflows."""
    return math.hypot(*(float(value) for value in x))


@given(vectors | singles, bounds)
def test_no_vector_whatever_its_size_comes_out_longer_than_the_bound(x: np.ndarray, bound: float) -> None:
    assert length(clipped(x, bound)) <= bound * (1.0 + 1e-6)


@given(vectors | singles, bounds)
def test_a_vector_inside_the_ball_comes_out_as_it_was(x: np.ndarray, bound: float) -> None:
    if length(x) <= bound * (1.0 - 1e-9):
        np.testing.assert_array_equal(clipped(x, bound), x)


@given(npst.arrays(np.float64, st.integers(1, 8), elements=st.floats(-1e6, 1e6)), st.floats(1e-3, 1e3))
def test_a_vector_outside_keeps_its_direction_and_takes_the_length_of_the_bound(x: np.ndarray, bound: float) -> None:
    size = length(x)
    if size > bound:
        np.testing.assert_allclose(clipped(x, bound), x * (bound / size), rtol=1e-12)


def test_a_tiny_bound_on_single_precision_is_kept_too() -> None:
    """The factor 4e-40 has hardly a digit left in float32, so the product must not be taken in it."""
    x, bound = np.array([3.080249e13], np.float32), 1.1665868367940673e-26
    assert length(clipped(x, bound)) <= bound * (1.0 + 1e-6) and clipped(x, bound).dtype == np.float32


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_no_number_is_refused(odd: float, dtype: type) -> None:
    with pytest.raises(ValueError, match="NaN"):
        clipped(np.array([1.0, odd, 2.0], dtype), 1.0)


@given(st.floats(0.0, 1e30), bounds)
def test_the_factor_is_one_inside_and_shrinks_to_the_bound_outside(norm: float, bound: float) -> None:
    scale = factor(norm, bound)
    assert 0.0 < scale <= 1.0
    assert scale == 1.0 if norm <= bound else math.isclose(norm * scale, bound, rel_tol=1e-12)


def test_the_input_is_never_changed() -> None:
    x = np.array([3.0, 4.0])
    clipped(x, 1.0)
    assert x.tolist() == [3.0, 4.0]
