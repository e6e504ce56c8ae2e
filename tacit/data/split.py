"""What is learned from and what is asked about: leave-one-out, the last share in time, hold-out and folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.trees import seed_of
from tacit.core.values import Array, DataError, Population, Schema
from tacit.data.interactions import Interactions
from tacit.data.tabular import TEST, TRAIN, Tabular


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LeaveOneOut:
    """Each customer's last item is the test, the one before it the validation, the rest are for training."""

    train: Population  # clients = customers; neither held-out row is in it
    validation: Array  # (customers,) int32 item, -1 for customers with fewer than 3 rows
    test: Array  # (customers,) int32 item, -1 for customers with fewer than 2 rows
    negatives: Array | None  # (customers, 99) int32 as published, or None
    note: str  # how the held-out rows were chosen

    def __repr__(self) -> str:
        """Shows sizes only."""
        return f"LeaveOneOut({self.train!r}, {int(np.sum(self.test >= 0))} customers with a test item)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Temporal:
    """The last share of each customer's rows is the test."""

    train: Population
    test: Population  # the same customers; one with few rows has none
    note: str

    def __repr__(self) -> str:
        """Shows sizes only."""
        return f"Temporal(train {self.train!r}, test {self.test!r})"


def leave_one_out(data: Interactions, seed: int = 0) -> LeaveOneOut:
    """Hold out each customer's last item and the one before it.

    Last by time, equal times by the order of rows in the file. Where the set publishes the test item, that is the
    test; where no order is known, what is still needed is drawn at random with the seed. Customers with 2 rows have no
    validation item, with 1 row no test item either: that row is trained on.
    """
    order = _order(data, seed_of("leave one out", seed))
    sizes = np.bincount(data.customer, minlength=data.customers)
    if data.held_out is None:
        test_row = _last(order, sizes, sizes >= 2)
    else:
        test_row = np.where(sizes >= 2, _published_rows(data, data.held_out.test), -1)
    rest = order[~_mask(len(data), test_row)[order]]
    left = np.bincount(data.customer[rest], minlength=data.customers)
    validation_row = _last(rest, left, (sizes >= 3) & (left >= 2))
    kept = ~(_mask(len(data), test_row) | _mask(len(data), validation_row))
    return LeaveOneOut(
        train=population(data, np.flatnonzero(kept)),
        validation=_items(data, validation_row),
        test=_items(data, test_row),
        negatives=None if data.held_out is None else data.held_out.negatives,
        note=_how(data, seed),
    )


def temporal(data: Interactions, share: float = 0.2, seed: int = 0) -> Temporal:
    """Hold out the last `share` of each customer's rows, rounded down; drawn at random where no order is known.

    Raises:
        DataError: share is not strictly between 0 and 1.
    """
    _check_share(share)
    order = _order(data, seed_of("temporal", seed))
    sizes = np.bincount(data.customer, minlength=data.customers)
    held = np.floor(sizes * share + 1e-9).astype(np.int64)  # 1e-9: 100 rows x 0.29 are 29, not 28
    place = np.arange(len(data)) - np.repeat(
        np.cumsum(sizes) - sizes, sizes
    )  # place of each ordered row in its customer
    late = place >= np.repeat(sizes - held, sizes)
    note = f"the last {share:.0%} of each customer's rows"
    if not data.order_known:
        note = f"{share:.0%} of each customer's rows, drawn at random with seed {seed}: their order is unknown"
    return Temporal(population(data, np.sort(order[~late])), population(data, np.sort(order[late])), note)


def population(data: Interactions, rows: Array) -> Population:
    """These rows (indexes in file order) by customer; inside, by time where it is known, else in file order."""
    customer = data.customer[rows]
    keys = (customer,) if data.time is None else (data.time[rows], customer)
    index = rows[np.lexsort(keys)]
    sizes = np.bincount(customer, minlength=data.customers)
    fields = {"item": data.item[index], "rating": data.rating[index]}
    if data.time is not None:
        fields["time"] = data.time[index]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Population(Schema("interactions", items=data.items, item_features=data.item_features()), offsets, fields)


def holdout(data: Tabular, share: float = 0.2, seed: int = 0) -> tuple[Array, Array]:
    """(train rows, test rows), int64 and rising: the published split, or a random share of each institution and label.

    Raises:
        DataError: share is not strictly between 0 and 1.
    """
    _check_share(share)
    if data.split is not None:
        return np.flatnonzero(data.split == TRAIN), np.flatnonzero(data.split == TEST)
    mixed = _stratified(data, seed_of("hold out", seed))
    place = np.arange(len(data))
    # Every (1 / share)-th row of the grouped order: each institution and label gives its share, to within one row.
    test = np.floor((place + 1) * share + 1e-9) > np.floor(place * share + 1e-9)
    return np.sort(mixed[~test]), np.sort(mixed[test])


def folds(data: Tabular, k: int = 5, seed: int = 0) -> tuple[tuple[Array, Array], ...]:
    """k pairs (train rows, test rows); each row is tested once, each institution and label evenly over the folds.

    Raises:
        DataError: k is less than 2 or exceeds the number of rows.
    """
    if not 2 <= k <= len(data):
        raise DataError(f"folds needs k from 2 to the number of rows ({len(data)}), got {k}")
    mixed = _stratified(data, seed_of("folds", seed))
    fold = np.empty(len(data), np.int64)
    fold[mixed] = np.arange(len(data)) % k
    return tuple((np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(k))


def _order(data: Interactions, seed: int) -> Array:
    """Rows by customer; inside by time, equal times as in the file; at random where no order is known."""
    if data.order_known:
        keys = (data.customer,) if data.time is None else (data.time, data.customer)
    else:
        keys = (np.random.default_rng(seed).random(len(data)), data.customer)
    return np.lexsort(keys)


def _last(ordered: Array, sizes: Array, wanted: Array) -> Array:
    """(customers,) each customer's last row of those ordered by customer, -1 where not wanted."""
    ends = np.cumsum(sizes) - 1
    return np.where(wanted, ordered[np.clip(ends, 0, len(ordered) - 1)], -1)


def _published_rows(data: Interactions, test: Array) -> Array:
    """(customers,) the row of each published test item, -1 where none is published.

    Raises:
        DataError: a customer has no row of its published item.
    """
    keys = data.customer.astype(np.int64) * data.items + data.item
    order = np.argsort(keys)
    wanted = np.arange(data.customers) * data.items + test
    places = np.minimum(np.searchsorted(keys[order], wanted), len(data) - 1)
    rows = order[places]
    absent = (keys[rows] != wanted) & (test >= 0)
    if np.any(absent):
        raise DataError(f"{data.name}: {int(absent.sum())} published test items are not among their customer's rows")
    return np.where(test >= 0, rows, -1)


def _mask(rows: int, chosen: Array) -> Array:
    mask = np.zeros(rows, np.bool_)
    mask[chosen[chosen >= 0]] = True
    return mask


def _items(data: Interactions, rows: Array) -> Array:
    return np.where(rows >= 0, data.item[rows], -1).astype(np.int32)


def _how(data: Interactions, seed: int) -> str:
    drawn = f"drawn at random from the rest with seed {seed}, for the order of rows is unknown"
    if data.held_out is None and data.order_known:
        return "each customer's last item is the test, the one before it the validation"
    if data.held_out is None:
        return f"each customer's test and validation item are {drawn}"
    if data.order_known:
        return "each customer's test item is the published one, the last of the others the validation"
    return f"each customer's test item is the published one, the validation item is {drawn}"


def _stratified(data: Tabular, seed: int) -> Array:
    """All rows, grouped by institution and label, shuffled inside each group."""
    _, institution = np.unique(data.institution, return_inverse=True)
    return np.lexsort((np.random.default_rng(seed).random(len(data)), data.y, institution))


def _check_share(share: float) -> None:
    if not 0.0 < share < 1.0:
        raise DataError(f"share must lie strictly between 0 and 1, got {share}")
