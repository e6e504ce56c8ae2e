"""A user's own labelled rows: a CSV or parquet file, or a pandas, polars or pyarrow table, read through a mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tacit.core.values import Array, DataError
from tacit.data import delimited
from tacit.data.frames import from_native, is_parquet, read_parquet
from tacit.data.locate import find_file
from tacit.data.table import Table, floats, levels
from tacit.data.tabular import Tabular
from tacit.data.tabular_mapping import TabularMapping, read_mapping

UNKNOWN = "unknown"  # a sensitive column that a row leaves empty


@dataclass(frozen=True, slots=True)
class TabularFile:
    """Labelled rows in CSV (UTF-8, .gz or not) or parquet; the mapping, a TOML file, says what the columns mean."""

    path: str = ""
    mapping: str = ""  # see tabular_mapping.TabularMapping, and tacit/data/mappings for two examples

    @property
    def gives(self) -> Literal["interactions", "tabular"]:
        """The kind of data it loads."""
        return "tabular"

    def load(self, folders: Sequence[Path] = ()) -> Tabular:
        """Read the whole file, or refuse it as a whole.

        Raises:
            DataError: file or mapping is absent, or something in them cannot be used; names the file and line.
        """
        mapping = read_mapping(find_file(self.mapping, folders, "the mapping"))
        path = find_file(self.path, folders, "the table")
        return from_file(path, mapping)


def from_file(path: Path, mapping: TabularMapping, name: str = "", institution: str = "") -> Tabular:
    """The rows of one file; `institution` names their holder where the mapping has no column for it.

    Raises:
        DataError: something in the file cannot be used; names the file and line.
    """
    if is_parquet(path):
        table = read_parquet(path, mapping.columns)
    else:
        table = delimited.read(path, mapping.columns, mapping.names, mapping.separator, mapping.comment)
    return _build(table, mapping, name or path.name, institution)


def from_table(table: Any, mapping: TabularMapping, name: str = "the table") -> Tabular:
    """The rows of a pandas, polars or pyarrow table.

    Raises:
        DataError: the table cannot be used; names the row, counted from 1.
    """
    return _build(from_native(table, mapping.columns, name), mapping, name, "")


def _build(table: Table, mapping: TabularMapping, name: str, institution: str) -> Tabular:
    roles = [("label", mapping.label), ("institution", mapping.institution)]
    roles += [("numeric feature", column) for column in mapping.numeric]
    roles += [("categorical feature", column) for column in mapping.categorical]
    roles += [("sensitive column", column) for column in mapping.sensitive]
    cells = {column: [cell.strip() for cell in table.text(column, role)] for role, column in roles if column}
    kept, dropped = _complete(table, mapping, cells)
    blocks: list[Array] = []
    names: list[str] = []
    for column in cells:
        if column in mapping.numeric:
            blocks.append(_numbers(table, mapping, column, cells[column], kept)[:, None])
            names.append(column)
        elif column in mapping.categorical:
            found, block = _one_hot(table, mapping.categorical[column], column, cells[column], kept)
            blocks.append(block)
            names += [f"{column}={one}" for one in found]
    holders = _holders(table, cells[mapping.institution], kept) if mapping.institution else None
    told = [f"{len(kept):,} rows of {name}"] + ([f"{dropped:,} with a missing cell left out"] if dropped else [])
    return Tabular(
        name=name,
        x=np.concatenate(blocks, axis=1).astype(np.float32),
        y=_labels(table, mapping, cells[mapping.label], kept),
        names=tuple(names),
        institution=np.full(len(kept), institution) if holders is None else holders,
        sensitive=dict(_group(table, mapping, column, cells[column], kept) for column in mapping.sensitive),
        note="; ".join(told),
    )


def _complete(table: Table, mapping: TabularMapping, cells: Mapping[str, list[str]]) -> tuple[list[int], int]:
    """Rows to keep, and how many are left out for a missing feature.

    A marker that a category lists among its levels is a level of it, not a gap.
    """
    gaps: set[int] = set()
    for column in (*mapping.numeric, *mapping.categorical):
        markers = {"", *mapping.missing} - set(mapping.categorical.get(column, ()))
        found = [row for row, cell in enumerate(cells[column]) if cell in markers]
        if found and not mapping.drop_missing:
            raise DataError(
                f"{table.where(found[0])}: column {column!r} is empty. Fill it in, list the marker among the levels of "
                "the category, or set drop_missing = true in the mapping."
            )
        gaps.update(found)
    kept = [row for row in range(len(table)) if row not in gaps]
    if not kept:
        raise DataError(f"{table.place}: every row has a missing cell, so none is left")
    return kept, len(gaps)


def _numbers(table: Table, mapping: TabularMapping, column: str, cells: Sequence[str], kept: Sequence[int]) -> Array:
    values = floats([cells[row] for row in kept])
    if len(bad := np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max))):
        raise DataError(
            f"{table.where(kept[int(bad[0])])}: numeric column {column!r} holds no usable number. Correct it, list the "
            f"marker under `missing` (now {list(mapping.missing)}), or make the column categorical."
        )
    return values


def _one_hot(
    table: Table, listed: Sequence[str], column: str, cells: Sequence[str], kept: Sequence[int]
) -> tuple[list[str], Array]:
    """The levels, and (kept, levels) with a single 1 in each row."""
    values = levels([cells[row] for row in kept])
    known = levels(listed) or sorted(set(values))
    places = {one: index for index, one in enumerate(known)}
    index = np.fromiter((places.get(value, -1) for value in values), np.int64, len(values))
    if len(bad := np.flatnonzero(index < 0)):
        raise DataError(
            f"{table.where(kept[int(bad[0])])}: column {column!r} holds a value that is not among its {len(known)} "
            "listed levels. Correct it, or add the level to the mapping."
        )
    return known, np.eye(len(known), dtype=np.float32)[index]


def _labels(table: Table, mapping: TabularMapping, cells: Sequence[str], kept: Sequence[int]) -> Array:
    positive = set(levels(mapping.positive)) or {"1"}
    negative = set(levels(mapping.negative)) or (set() if mapping.positive else {"0"})
    values = levels([cells[row] for row in kept])
    for row, value in zip(kept, values, strict=True):
        if not value or value in mapping.missing or (negative and value not in positive and value not in negative):
            raise DataError(
                f"{table.where(row)}: label {mapping.label!r} is neither a positive nor a negative value. "
                "List it under `positive` or `negative` in the mapping, or drop the row."
            )
    return np.array([value in positive for value in values], np.float32)


def _holders(table: Table, cells: Sequence[str], kept: Sequence[int]) -> Array:
    for row in kept:
        if not cells[row]:
            raise DataError(f"{table.where(row)}: the institution's key is empty. Fill it in, or drop the row.")
    return np.array([cells[row] for row in kept], dtype=np.str_)


def _group(
    table: Table, mapping: TabularMapping, column: str, cells: Sequence[str], kept: Sequence[int]
) -> tuple[str, Array]:
    """Name and (kept,) words of a sensitive column; a number with bands is named "age_band" after "age"."""
    gone = np.array([cells[row] in mapping.missing or not cells[row] for row in kept])
    if column not in mapping.bands:
        words = mapping.labels.get(column, {})
        values = np.array([words.get(one, one) for one in levels([cells[row] for row in kept])], dtype=np.str_)
        return column, np.where(gone, UNKNOWN, values)
    numbers = floats([cells[row] for row in kept])
    if len(bad := np.flatnonzero(~np.isfinite(numbers) & ~gone)):
        raise DataError(f"{table.where(kept[int(bad[0])])}: column {column!r} has bands, but holds no number here.")
    ends = mapping.bands[column]
    words_of = [f"under {ends[0]:g}", *(f"{low:g}-{high - 1:g}" for low, high in pairwise(ends))]
    bands = np.array([*words_of, f"{ends[-1]:g}+"])[np.searchsorted(ends, np.nan_to_num(numbers), side="right")]
    return f"{column}_band", np.where(gone, UNKNOWN, bands)
