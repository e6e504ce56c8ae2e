"""Numbers of any size as limbs that sum exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import ProtocolError
from tacit.privacy.wide import BITS, LIMBS, LIMIT, join, split

numbers = st.floats(-LIMIT, LIMIT, exclude_min=True, exclude_max=True) | st.floats(-1e6, 1e6) | st.floats(-1e-6, 1e-6)


@given(st.lists(numbers, min_size=1, max_size=20))
@settings(deadline=None)
def test_the_sum_of_limbs_joins_to_the_sum_of_numbers(values: list[float]) -> None:
    """Within n * 2^-25 of fixed-point rounding, beside the float64 rounding of the result itself."""
    total = np.sum([split(np.asarray(value)) for value in values], axis=0)
    exact = math.fsum(values)
    reach = math.fsum(abs(value) for value in values)
    assert abs(float(join(total)) - exact) <= len(values) * 2.0**-25 + 2.0**-51 * reach


@given(st.lists(numbers, max_size=8))
def test_limbs_are_whole_numbers_that_two_thousand_parties_can_sum_below_two_to_the_31(values: list[float]) -> None:
    limbs = split(np.array(values))
    assert limbs.shape == (LIMBS, len(values))
    assert np.all(limbs == np.rint(limbs))
    assert np.all(np.abs(limbs) < 2.0**BITS) and 2000 * 2**BITS < 2**31


@given(numbers)
def test_one_number_comes_back_to_within_two_to_the_minus_25(value: float) -> None:
    assert abs(float(join(split(np.asarray(value)))) - value) <= 2.0**-25


@given(numbers)
def test_the_limbs_of_the_negative_are_the_negative_limbs(value: float) -> None:
    np.testing.assert_array_equal(split(np.asarray(-value)), -split(np.asarray(value)))


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_any_shape_comes_back(shape: tuple[int, ...]) -> None:
    values = np.arange(math.prod(shape), dtype=float).reshape(shape) * 1e9 - 3.0
    assert split(values).shape == (LIMBS, *shape)
    np.testing.assert_array_equal(join(split(values)), values)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, LIMIT, -LIMIT, 1e300])
def test_what_no_limb_can_hold_is_refused(odd: float) -> None:
    with pytest.raises(ProtocolError, match="rescale"):
        split(np.array([0.0, odd]))
