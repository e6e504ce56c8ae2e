"""Reading pandas, polars and pyarrow tables (through narwhals) and parquet files (through pyarrow)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
from narwhals.exceptions import DuplicateError

from tacit.core.values import DataError
from tacit.data.table import Table


def from_native(table: Any, keep: Sequence[str] = (), place: str = "the table") -> Table:
    """The columns of a pandas, polars or pyarrow table; `keep` empty = all.

    Raises:
        DataError: it is no such table, or has no rows.
    """
    try:
        frame = nw.from_native(table, eager_only=True)
    except TypeError:
        raise DataError(
            f"{place}: a pandas, polars or pyarrow table was needed, got {type(table).__name__}. "
            "Collect a lazy table first."
        ) from None
    except DuplicateError:
        raise DataError(f"{place}: two columns have the same name. Give every column its own.") from None
    if len(frame) == 0:
        raise DataError(f"{place} is empty. At least one row was needed.")
    known = tuple(str(name) for name in frame.columns)
    return Table(place, {name: _cells(frame[name]) for name in known if not keep or name in keep}, known)


def read_parquet(path: Path, keep: Sequence[str] = ()) -> Table:
    """The columns of a parquet file; `keep` empty = all.

    Raises:
        DataError: pyarrow is not installed, the file cannot be read, or it has no rows.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(
            f"{path.name}: reading parquet needs pyarrow. Install it with: pip install 'tacit[parquet]'"
        ) from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            known = tuple(file.schema_arrow.names)
            native = file.read(columns=[name for name in known if not keep or name in keep])
    except (pyarrow.ArrowException, OSError):
        raise DataError(f"{path.name}: not a readable parquet file. Write it again.") from None
    if not native.num_columns and keep:  # let the caller name the columns that are missing
        return Table(path.name, {}, known)
    table = from_native(native, keep, path.name)
    return Table(table.place, table.columns, known)


def is_parquet(path: Path) -> bool:
    """Whether the file's name or first bytes say parquet."""
    try:
        with path.open("rb") as file:
            return path.suffix in (".parquet", ".pq") or file.read(4) == b"PAR1"
    except OSError:
        return False


def _cells(series: nw.Series[Any]) -> list[Any]:
    """Cells as str, int, float or bool, None where missing; dates and times as microseconds since 1970 (UTC)."""
    missing = series.is_null().to_list()
    if series.dtype == nw.Date:
        series = series.cast(nw.Datetime("us"))
    if isinstance(series.dtype, nw.Datetime):
        series = series.dt.timestamp("us")
    elif series.dtype in (nw.Categorical, nw.Enum):
        series = series.cast(nw.String)
    cells: list[Any] = series.to_list()
    return [None if gone else cell for gone, cell in zip(missing, cells, strict=True)] if any(missing) else cells
