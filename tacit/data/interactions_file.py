"""A user's own interactions: a CSV or parquet file, or a pandas, polars or pyarrow table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tacit.core.values import Array, DataError
from tacit.data import delimited
from tacit.data.frames import from_native, is_parquet, read_parquet
from tacit.data.interactions import Interactions, duplicate
from tacit.data.locate import find_file
from tacit.data.table import Table

UNKNOWN = "unknown"  # an attribute that a customer's rows leave empty


@dataclass(frozen=True, slots=True)
class InteractionsFile:
    """One row per customer and item, in CSV (header on top, UTF-8, .gz or not) or parquet.

    Customers and items are numbered in order of first appearance; an item's title is its id. Without a rating column
    every rating is 1; without a time column the order of a customer's rows is taken as unknown.
    """

    path: str = ""
    customer: str = "user_id"  # column of the customer's key
    item: str = "item_id"
    rating: str = ""  # column of the rating; "" = none
    time: str = ""  # column of whole numbers or ISO 8601 times; "" = none
    attributes: tuple[str, ...] = ()  # columns of customer attributes, the same in all rows of a customer

    @property
    def gives(self) -> Literal["interactions", "tabular"]:
        """The kind of data it loads."""
        return "interactions"

    def load(self, folders: Sequence[Path] = ()) -> Interactions:
        """Read the whole file, or refuse it as a whole.

        Raises:
            DataError: the file is absent, or something in it cannot be used; names the file and line.
        """
        path = find_file(self.path, folders, "the interactions file")
        keep = [name for name in (self.customer, self.item, self.rating, self.time, *self.attributes) if name]
        table = read_parquet(path, keep) if is_parquet(path) else delimited.read(path, keep)
        return _build(table, path.name, self)


def from_table(
    table: Any,
    *,
    customer: str = "user_id",
    item: str = "item_id",
    rating: str = "",
    time: str = "",
    attributes: Sequence[str] = (),
    name: str = "the table",
) -> Interactions:
    """Interactions of a pandas, polars or pyarrow table; the columns mean what they mean in `InteractionsFile`.

    Raises:
        DataError: the table cannot be used; names the row, counted from 1.
    """
    columns = InteractionsFile("", customer, item, rating, time, tuple(attributes))
    keep = [column for column in (customer, item, rating, time, *attributes) if column]
    return _build(from_native(table, keep, name), name, columns)


def _build(table: Table, name: str, columns: InteractionsFile) -> Interactions:
    named = [("customer", columns.customer), ("item", columns.item), ("rating", columns.rating), ("time", columns.time)]
    for role, column in (*named, *(("attribute", column) for column in columns.attributes)):
        if column:
            table.column(column, role)  # every column must be there before any is read
    customer, keys = table.keys(columns.customer, "customer")
    item, titles = table.keys(columns.item, "item")
    rating = table.ratings(columns.rating) if columns.rating else np.ones(len(customer), np.float32)
    time = table.times(columns.time) if columns.time else None
    if (pair := duplicate(customer, item)) is not None:
        raise DataError(
            f"{table.where(pair[1])}: the same customer and item as in {_line(table, pair[0])}. "
            "Keep one row per pair: the latest, or the mean rating."
        )
    attributes = {column: _attribute(table, column, customer, len(keys)) for column in columns.attributes}
    told = [f"{len(customer):,} rows of {name}"]
    told += [] if columns.rating else ["no ratings"]
    told += [] if columns.time else ["no times, so the order of a customer's rows is unknown"]
    return Interactions(
        name=name,
        customer=customer,
        item=item,
        rating=rating,
        time=time,
        customers=len(keys),
        items=len(titles),
        attributes=attributes,
        titles=tuple(titles),
        order_known=time is not None,
        note="; ".join(told),
    )


def _attribute(table: Table, column: str, customer: Array, customers: int) -> Array:
    """(customers,) the value that each customer's rows agree on."""
    cells = np.array(table.text(column, "attribute"), dtype=np.str_)
    first = np.full(customers, len(cells))
    np.minimum.at(first, customer, np.arange(len(cells)))
    values = cells[first]
    if len(differs := np.flatnonzero(cells != values[customer])):
        row = int(differs[0])
        raise DataError(
            f"{table.where(row)}: attribute {column!r} differs from the same customer's in "
            f"{_line(table, int(first[customer[row]]))}. Write one value per customer."
        )
    return np.where(values == "", UNKNOWN, values)


def _line(table: Table, row: int) -> str:
    return table.where(row).removeprefix(f"{table.place}, ")
