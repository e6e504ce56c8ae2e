"""The values of the waist: populations cut and joined without mixing up owners, totals that add, quiet reprs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.core import values
from tacit.core.values import Population, Schema, TacitError, Total


def population(sizes: list[int]) -> Population:
    """Row r of client c is the item 100 c + r."""
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    item = [100 * c + r for c, size in enumerate(sizes) for r in range(size)]
    return Population(Schema("interactions", items=10_000), offsets, {"item": np.array(item, np.int32)})


@given(st.lists(st.integers(0, 5), max_size=8), st.data())
def test_taking_clients_keeps_each_ones_rows_together_and_in_order(sizes: list[int], data: st.DataObject) -> None:
    whole = population(sizes)
    chosen = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=10)) if sizes else []
    part = whole.take(chosen)
    assert len(part) == len(chosen) and part.schema is whole.schema
    assert part.sizes.tolist() == [sizes[c] for c in chosen]
    for place, client in enumerate(chosen):
        assert part.rows(place)["item"].tolist() == [100 * client + r for r in range(sizes[client])]
        assert part.rows(place)["item"].dtype == np.int32


@given(st.lists(st.integers(0, 5), max_size=8))
def test_every_row_has_its_owner(sizes: list[int]) -> None:
    whole = population(sizes)
    np.testing.assert_array_equal(whole.owner(), whole.fields["item"] // 100)


def test_a_contiguous_run_of_clients_is_a_view() -> None:
    whole = population([2, 3, 4])
    assert np.shares_memory(whole.take([1, 2]).fields["item"], whole.fields["item"])
    assert not np.shares_memory(whole.take([2, 1]).fields["item"], whole.fields["item"])


@pytest.mark.parametrize(
    ("offsets", "rows"), [([], 0), ([1, 2], 2), ([0, 3, 2], 2), ([0, 2], 3), ([0], 1), ([0, -1, 2], 2)]
)
def test_offsets_that_do_not_cut_the_rows_into_clients_are_refused(offsets: list[int], rows: int) -> None:
    with pytest.raises(ValueError, match="offsets"):
        Population(Schema("interactions"), np.array(offsets, np.int64), {"item": np.zeros(rows, np.int32)})


def test_the_repr_of_a_population_shows_sizes_and_no_row() -> None:
    whole = Population(Schema("tabular", features=1), np.array([0, 1]), {"x": np.array([[4321.5]]), "y": np.ones(1)})
    assert repr(whole) == "Population(1 clients, 1 rows, fields ['x', 'y'])"


def test_the_schema_shows_no_item_features_and_is_the_same_with_and_without_them() -> None:
    plain, rich = Schema("interactions", items=3), Schema("interactions", items=3, item_features=np.eye(3))
    assert plain == rich and hash(plain) == hash(rich) and repr(plain) == repr(rich)


def test_an_unknown_kind_of_data_is_refused() -> None:
    with pytest.raises(ValueError, match="'interactions' or 'tabular', got 'pictures'"):
        Schema("pictures")


def test_totals_add_their_sums_and_their_clients() -> None:
    one, other = Total({"a": np.array([1.0, 2.0])}, 3), Total({"a": np.array([0.5, -2.0])}, 4)
    both = one + other
    assert both.clients == 7 and both.sums["a"].tolist() == [1.5, 0.0]
    assert one.sums["a"].tolist() == [1.0, 2.0]


def test_every_error_for_users_is_a_tacit_error_and_a_value_error() -> None:
    errors = [v for v in vars(values).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert len(errors) >= 5
    assert all(issubclass(error, TacitError) for error in errors)
    assert all(issubclass(error, ValueError) for error in errors if error is not TacitError)
