"""What Interactions refuses, and that it never shows a row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tacit.core.values import DataError
from tacit.data.interactions import HeldOut, Interactions


def some(**changes) -> Interactions:
    data = Interactions(
        name="shop",
        customer=np.array([0, 0, 1, 2], np.int32),
        item=np.array([0, 2, 1, 0], np.int32),
        rating=np.ones(4, np.float32),
        time=np.array([5, 6, 7, 8], np.int64),
        customers=3,
        items=3,
        attributes={"gender": np.array(["female", "male", "female"])},
        titles=("tea", "mug", "pot"),
        categories={"drinks": np.array([True, False, False])},
        order_known=True,
    )
    return replace(data, **changes)


def test_it_shows_sizes_only():
    assert repr(some()) == "Interactions('shop', 4 rows, 3 customers, 3 items)"
    assert repr(HeldOut(np.zeros(3, np.int32), None)) == "HeldOut(3 customers, no negatives)"
    assert len(some()) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"customer": np.array([0, 0, 1, 3], np.int32)}, "customer must lie in 0 to 2, got 0 to 3"),
        ({"item": np.array([0, 2, -1, 0], np.int32)}, "item must lie in 0 to 2, got -1 to 2"),
        ({"item": np.array([0, 2, 1], np.int32)}, r"item must be int32 of shape \(4,\)"),
        ({"item": np.array([0, 2, 1, 0])}, "item must be int32 .* got int64"),
        ({"rating": np.array([1, 2, np.nan, 4], np.float32)}, "ratings must be finite, row 2 is not"),
        ({"time": np.zeros(4)}, "time must be int64"),
        ({"item": np.array([0, 0, 1, 0], np.int32)}, "row 1 repeats the customer and item of row 0"),
        ({"titles": ("tea",)}, "3 titles were needed, got 1"),
        ({"attributes": {"gender": np.array(["female"])}}, "attribute 'gender' must hold 3 texts"),
        ({"categories": {"drinks": np.ones(3)}}, "category 'drinks' must hold 3 booleans"),
        ({"held_out": HeldOut(np.array([0, 1, 3], np.int32), None)}, "published split must name one known item"),
        ({"held_out": HeldOut(np.zeros(3, np.int32), np.zeros((2, 9), np.int32))}, "negatives must have one row per"),
        ({"held_out": HeldOut(np.zeros(3, np.int32), np.full((3, 9), 7, np.int32))}, "negatives must lie in 0 to 2"),
    ],
)
def test_rows_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        some(**changes)


def test_no_rows_are_refused():
    none = {"customer": np.zeros(0, np.int32), "item": np.zeros(0, np.int32), "rating": np.zeros(0, np.float32)}
    with pytest.raises(DataError, match="at least one row"):
        some(**none, time=None)
