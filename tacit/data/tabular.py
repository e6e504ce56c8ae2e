"""Rows with a yes-or-no label: what scorers learn from, with the institution that holds each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tacit.core.values import Array, DataError

TRAIN, TEST = 0, 1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tabular:
    """Encoded rows with their label. Rows, labels and sensitive columns are personal data.

    Numbers stand as they came (scale them with federated means and variances); categories are one column for each
    listed level, none dropped, so that institutions which hold different levels encode alike.

    Raises:
        DataError: shapes, types or values do not fit together.
    """

    name: str
    x: Array  # (rows, features) float32, finite
    y: Array  # (rows,) float32 in {0, 1}
    names: tuple[str, ...]  # (features,) "age", or "race=White" for a level
    institution: Array  # (rows,) str key of the holder, "" where there is none
    sensitive: Mapping[str, Array] = field(default_factory=dict)  # name -> (rows,) str
    split: Array | None = None  # (rows,) int8: 0 train, 1 test, where the set publishes a split
    note: str = ""  # one honest line on what this copy is

    def __post_init__(self) -> None:
        rows, features = len(self.y), len(self.names)
        if rows == 0 or features == 0:
            raise DataError(f"{self.name}: rows and features are needed, got {rows} rows and {features} features")
        if self.x.shape != (rows, features) or self.x.dtype != np.float32 or not np.all(np.isfinite(self.x)):
            raise DataError(f"{self.name}: x must be finite float32 of shape ({rows}, {features}), got {self.x.shape}")
        if self.y.shape != (rows,) or self.y.dtype != np.float32 or not np.all((self.y == 0) | (self.y == 1)):
            raise DataError(f"{self.name}: y must be float32 of shape ({rows},) holding only 0 and 1")
        if len(set(self.names)) != features:
            raise DataError(f"{self.name}: every feature needs its own name")
        for name, values in {"institution": self.institution, **self.sensitive}.items():
            if values.shape != (rows,) or values.dtype.kind != "U":
                raise DataError(f"{self.name}: {name!r} must hold {rows} texts, one per row")
        if self.split is not None and (self.split.shape != (rows,) or not np.all(np.isin(self.split, (TRAIN, TEST)))):
            raise DataError(f"{self.name}: split must hold {TRAIN} (train) or {TEST} (test) for each of {rows} rows")

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        """Shows sizes only: the rows are personal data."""
        holders = len(np.unique(self.institution))
        return f"Tabular({self.name!r}, {len(self)} rows, {len(self.names)} features, {holders} institutions)"


def concatenate(name: str, parts: Sequence[Tabular], split: Sequence[int] | None = None, note: str = "") -> Tabular:
    """Parts with the same features, end to end; `split` gives each part's side (0 train, 1 test), if it is published.

    Raises:
        DataError: the parts have different features.
    """
    first = parts[0]
    for part in parts[1:]:
        if part.names != first.names or set(part.sensitive) != set(first.sensitive):
            raise DataError(
                f"{name}: its parts have different columns; list the levels of every category in the mapping"
            )
    sides = None if split is None else np.repeat(np.array(split, np.int8), [len(part) for part in parts])
    return Tabular(
        name=name,
        x=np.concatenate([part.x for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        names=first.names,
        institution=np.concatenate([part.institution for part in parts]),
        sensitive={key: np.concatenate([part.sensitive[key] for part in parts]) for key in first.sensitive},
        split=sides,
        note=note,
    )
