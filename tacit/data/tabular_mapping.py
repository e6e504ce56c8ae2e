"""What the columns of a user's table mean: a small TOML file that names label, features and sensitive columns."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from tacit.core.values import DataError
from tacit.data.table import levels


@dataclass(frozen=True, slots=True, kw_only=True)
class TabularMapping:
    """How a table's columns become features, label, sensitive columns and institution key.

    Raises:
        DataError: the parts contradict each other.
    """

    label: str = "label"  # column of the label
    positive: tuple[str, ...] = ()  # label values that count as 1; empty = "1"
    negative: tuple[str, ...] = ()  # label values that count as 0; empty = all others ("0" where positive is empty too)
    numeric: tuple[str, ...] = ()  # columns taken as numbers
    categorical: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # column -> its public levels; () = found
    sensitive: tuple[str, ...] = ()  # columns kept aside to report quality by group
    bands: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # sensitive number -> lower ends of its bands
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # sensitive column -> value -> word for it
    institution: str = ""  # column of the key of the institution that holds a row; "" = none
    missing: tuple[str, ...] = ("",)  # cells that mean "not recorded"
    drop_missing: bool = False  # leave out rows with a missing feature, rather than refuse the file
    names: tuple[str, ...] = ()  # column names of a file without header
    separator: str = ""  # "" = found in the first line
    comment: str = ""  # lines that begin with this are skipped; "" = none

    def __post_init__(self) -> None:
        if not self.numeric and not self.categorical:
            raise DataError("a mapping needs features: name columns under `numeric`, `categorical` or both")
        both = set(self.numeric) & set(self.categorical)
        if both or self.label in {*self.numeric, *self.categorical}:
            which = min(both) if both else self.label
            raise DataError(f"column {which!r} has two roles. Name it once among label, numeric and categorical.")
        for column in (*self.bands, *self.labels):
            if column not in self.sensitive:
                raise DataError(f"column {column!r} has bands or labels, but is not under `sensitive`. Add it there.")
        for column, listed in self.categorical.items():
            if len(set(levels(listed))) != len(listed):
                raise DataError(f"categorical column {column!r} lists a level twice")
        for column, ends in self.bands.items():
            if not ends or list(ends) != sorted(set(ends)):
                raise DataError(f"the bands of {column!r} must be rising numbers, got {list(ends)}")
        if overlap := set(levels(self.positive)) & set(levels(self.negative)):
            raise DataError(f"label value {min(overlap)!r} is both positive and negative")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        known = (self.label, *self.numeric, *self.categorical, *self.sensitive, self.institution)
        return tuple(dict.fromkeys(name for name in known if name))


def read_mapping(path: Path) -> TabularMapping:
    """Read a mapping file.

    Raises:
        DataError: not TOML, an unknown key (the nearest known one is named), or an ill-typed value.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise DataError(f"{path}: the mapping cannot be read. It must be a TOML file in UTF-8.") from None
    return parse_mapping(text, path.name)


def built_in(name: str) -> TabularMapping:
    """The mapping of a built-in set: "adult" or "heart-disease"."""
    text = resources.files("tacit.data").joinpath("mappings", f"{name}.toml").read_text("utf-8")
    return parse_mapping(text, f"{name}.toml")


def parse_mapping(text: str, where: str = "mapping") -> TabularMapping:
    """A mapping from TOML text.

    Raises:
        DataError: not TOML, an unknown key (the nearest known one is named), or an ill-typed value.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{where} is not valid TOML: {error}") from None
    known = {item.name: str(item.type) for item in fields(TabularMapping)}
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            raise DataError(f"{where}: unknown key {key!r} ({hint})")
    arguments = {key: _value(entry, known[key], f"{where}: {key}") for key, entry in table.items()}
    try:
        return TabularMapping(**arguments)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _value(entry: Any, kind: str, where: str) -> Any:
    """An entry as the field's type asks: text, truth, list, or a table of lists."""
    if kind in ("str", "bool"):
        if type(entry).__name__ != kind:
            raise DataError(f"{where} must be {'a text' if kind == 'str' else 'true or false'}, got {entry!r}")
        return entry
    if kind.startswith("tuple"):
        return _list(entry, where, numbers="float" in kind)
    if not isinstance(entry, dict):
        raise DataError(f"{where} must be a table, written [{where.rsplit(': ')[-1]}], got {entry!r}")
    if "Mapping[str, Mapping" in kind:
        return {key: _words(part, f"{where}.{key}") for key, part in entry.items()}
    return {key: _list(part, f"{where}.{key}", numbers="float" in kind) for key, part in entry.items()}


def _list(entry: Any, where: str, numbers: bool) -> tuple[Any, ...]:
    """A list of texts (a single text and whole numbers are understood too) or of numbers."""
    parts = entry if isinstance(entry, list) else [entry]
    if numbers:
        if any(type(part) not in (int, float) for part in parts):
            raise DataError(f"{where} must be a list of numbers, got {entry!r}")
        return tuple(float(part) for part in parts)
    if any(type(part) not in (str, int) for part in parts):
        raise DataError(f"{where} must be a list of texts, got {entry!r}")
    return tuple(str(part) for part in parts)


def _words(entry: Any, where: str) -> dict[str, str]:
    if not isinstance(entry, dict) or not all(isinstance(word, str) for word in entry.values()):
        raise DataError(f"{where} must be a table of texts, got {entry!r}")
    return dict(zip(levels(list(entry)), entry.values(), strict=True))
