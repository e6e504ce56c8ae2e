"""What customers did with items: the rows that recommenders learn from, with public facts about the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tacit.core.values import Array, DataError
from tacit.data.item_features import item_features


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HeldOut:
    """A published leave-one-out split, for comparison with published figures."""

    test: Array  # (customers,) int32 item held out, -1 where there is none
    negatives: Array | None  # (customers, 99) int32 items to rank the held-out one among, exactly as published

    def __repr__(self) -> str:
        """Shows sizes only."""
        beside = "no negatives" if self.negatives is None else f"{self.negatives.shape[1]} negatives each"
        return f"HeldOut({len(self.test)} customers, {beside})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Interactions:
    """Ratings or purchases of many customers, in the order of their file. The rows are personal data.

    Customers and items are numbered densely from 0. `attributes` are the customers' own and as personal as the rows;
    `titles` and `categories` describe the public catalogue.

    Raises:
        DataError: shapes, types or numbers do not fit together, or a customer and item appear together twice.
    """

    name: str
    customer: Array  # (rows,) int32 in [0, customers)
    item: Array  # (rows,) int32 in [0, items)
    rating: Array  # (rows,) float32; 1 where the source has no ratings
    time: Array | None  # (rows,) int64, larger is later (unix seconds in the built-in sets); None = unknown
    customers: int
    items: int
    attributes: Mapping[str, Array] = field(default_factory=dict)  # name -> (customers,) str
    titles: tuple[str, ...] = ()  # (items,), or empty
    categories: Mapping[str, Array] = field(default_factory=dict)  # name -> (items,) bool
    held_out: HeldOut | None = None
    order_known: bool = False  # by `time`, or, where that is None, rows of a customer stand in order
    note: str = ""  # one honest line on what this copy is

    def __post_init__(self) -> None:
        rows = len(self.customer)
        if rows == 0:
            raise DataError(f"{self.name}: at least one row is needed, got none")
        for what, values, kind in (
            ("customer", self.customer, np.int32),
            ("item", self.item, np.int32),
            ("rating", self.rating, np.float32),
            ("time", self.time, np.int64),
        ):
            if values is not None and (values.shape != (rows,) or values.dtype != kind):
                raise DataError(
                    f"{self.name}: {what} must be {np.dtype(kind).name} of shape ({rows},), "
                    f"got {values.dtype} of shape {values.shape}"
                )
        self._check_range("customer", self.customer, self.customers)
        self._check_range("item", self.item, self.items)
        if not np.all(np.isfinite(self.rating)):
            raise DataError(f"{self.name}: ratings must be finite, row {_first(~np.isfinite(self.rating))} is not")
        if (pair := duplicate(self.customer, self.item)) is not None:
            raise DataError(
                f"{self.name}: row {pair[1]} repeats the customer and item of row {pair[0]} (rows counted from 0). "
                "Keep one row per pair."
            )
        self._check_facts()

    def _check_range(self, what: str, values: Array, count: int) -> None:
        if values.min() < 0 or values.max() >= count:
            raise DataError(f"{self.name}: {what} must lie in 0 to {count - 1}, got {values.min()} to {values.max()}")

    def _check_facts(self) -> None:
        for name, values in self.attributes.items():
            if values.shape != (self.customers,) or values.dtype.kind != "U":
                raise DataError(f"{self.name}: attribute {name!r} must hold {self.customers} texts, one per customer")
        for name, values in self.categories.items():
            if values.shape != (self.items,) or values.dtype != np.bool_:
                raise DataError(f"{self.name}: category {name!r} must hold {self.items} booleans, one per item")
        if self.titles and len(self.titles) != self.items:
            raise DataError(f"{self.name}: {self.items} titles were needed, got {len(self.titles)}")
        if self.held_out is not None:
            self._check_held_out(self.held_out)

    def _check_held_out(self, held: HeldOut) -> None:
        if held.test.shape != (self.customers,) or held.test.min() < -1 or held.test.max() >= self.items:
            raise DataError(f"{self.name}: the published split must name one known item, or -1, for each customer")
        if held.negatives is not None:
            shape = held.negatives.shape
            if len(shape) != 2 or shape[0] != self.customers:
                raise DataError(f"{self.name}: negatives must have one row per customer, got shape {shape}")
            self._check_range("negatives", held.negatives, self.items)

    def __len__(self) -> int:
        return len(self.customer)

    def item_features(self) -> Array | None:
        """(items, f) float32 public facts of the catalogue: categories, and eras from titles that end in a year."""
        return item_features(self.items, self.titles, self.categories)

    def __repr__(self) -> str:
        """Shows sizes only: rows and attributes are personal data."""
        return f"Interactions({self.name!r}, {len(self)} rows, {self.customers} customers, {self.items} items)"


def duplicate(customer: Array, item: Array) -> tuple[int, int] | None:
    """The first row that repeats an earlier row's customer and item, as (earlier, later) from 0; None if all differ."""
    key = customer.astype(np.int64) * (int(item.max(initial=0)) + 1) + item
    ordered = np.sort(key)
    if not np.any(ordered[1:] == ordered[:-1]):
        return None
    order = np.argsort(key, kind="stable")
    repeats = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    first = repeats[np.argmin(order[repeats + 1])]
    return int(order[first]), int(order[first + 1])


def _first(mask: Array) -> int:
    return int(np.flatnonzero(mask)[0])
