"""Frozen dataclasses to TOML and back: a component is a table with its class name under `kind`."""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar

import tomli_w

from tacit.core.values import PlanError

T = TypeVar("T")
_OWN = ("baselines", "tradeoff", "choose")  # of one training alone: further trainings do not inherit them
Vocabulary = Mapping[str, Mapping[str, type]]  # field name of the plan -> kind -> class


def dumps(value: Any) -> str:
    """Canonical TOML of a dataclass: every field that is not None and not an empty tuple, in declaration order."""
    table = _table(value, top=True)
    if others := getattr(value, "also", ()):
        table["also"] = [_difference(_table(other, top=True), table) for other in others]
    return tomli_w.dumps(table)


def _table(value: Any, top: bool = False) -> dict[str, Any]:
    table: dict[str, Any] = {} if top else {"kind": type(value).__name__}
    for item in fields(value):
        entry = getattr(value, item.name)
        if entry is not None and entry != () and item.name != "also":
            # 1 and 1.0 are equal, so plans that hold them are: they must not differ in their digests
            whole = item.type in ("float", float) and isinstance(entry, int)
            table[item.name] = float(entry) if whole else _plain(entry)
    return table


def _difference(mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """What a further training changes; `false` switches off what the plan has and the training has not."""
    theirs = {key: entry for key, entry in theirs.items() if key not in _OWN}
    changed = {key: entry for key, entry in mine.items() if theirs.get(key) != entry}
    return changed | {key: False for key in theirs if key not in mine}


def _plain(entry: Any) -> Any:
    if is_dataclass(entry):
        return _table(entry)
    if isinstance(entry, tuple | list):
        return [_plain(part) for part in entry]
    if isinstance(entry, Mapping):
        return {key: _plain(part) for key, part in entry.items()}
    return entry


def loads(text: str, cls: type[T], vocabulary: Vocabulary, where: str = "plan") -> T:
    """Read a dataclass from TOML.

    Raises:
        PlanError: not TOML, an unknown key or kind (the nearest known one is named), a missing or ill-typed value.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{where} is not valid TOML: {error}") from None
    also = table.pop("also", [])
    if not also:
        return typing.cast(T, _build(table, cls, vocabulary, where))
    if not isinstance(also, list) or not all(isinstance(part, dict) for part in also):
        raise PlanError(f"{where}: also must be a list of tables, written [[also]]")
    inherited = {key: entry for key, entry in table.items() if key not in _OWN}
    _build(inherited, cls, vocabulary, where)  # what is wrong with it is wrong here, not in those that inherit it
    known = {item.name: type(item.default) for item in fields(typing.cast(Any, cls))}
    others = []
    for number, part in enumerate(also):
        merged = {
            key: entry for key, entry in {**inherited, **part}.items() if entry is not False or known.get(key) is bool
        }
        others.append(_build(merged, cls, vocabulary, f"{where}: also[{number}]"))
    return typing.cast(T, _build(table, cls, vocabulary, where, tuple(others)))


def _build(
    table: Mapping[str, Any], cls: type[Any], vocabulary: Vocabulary, where: str, also: tuple[Any, ...] = ()
) -> Any:
    known: dict[str, Field[Any]] = {item.name: item for item in fields(cls)}
    for key in table:
        if key not in known:
            raise PlanError(f"{where}: unknown key {key!r}{_nearest(key, known)}")
    hints = typing.get_type_hints(cls)
    arguments: dict[str, Any] = {"also": also} if also else {}
    for name, item in known.items():
        if name in table:
            arguments[name] = _value(table[name], hints[name], name, vocabulary, f"{where}: {name}")
        elif item.default is MISSING and item.default_factory is MISSING:
            raise PlanError(f"{where}: {name} is needed and missing")
    try:
        return cls(**arguments)
    except PlanError:
        raise
    except (TypeError, ValueError) as error:
        raise PlanError(f"{where}: {error}") from None


def _value(entry: Any, hint: Any, name: str, vocabulary: Vocabulary, where: str) -> Any:
    if name in vocabulary and hint not in (int, float, str, bool):  # a number may have a component's name
        many = typing.get_origin(hint) is tuple
        if many != isinstance(entry, list):
            raise PlanError(f"{where} must be {'a list of components' if many else 'one component'}, got {entry!r}")
        if many:
            return tuple(_component(part, name, vocabulary, f"{where}[{i}]") for i, part in enumerate(entry))
        return _component(entry, name, vocabulary, where)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
        origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(entry, list):
            raise PlanError(f"{where} must be a list, got {entry!r}")
        inner = typing.get_args(hint)[0]
        return tuple(_value(part, inner, "", vocabulary, f"{where}[{i}]") for i, part in enumerate(entry))
    if hint is float and isinstance(entry, int) and not isinstance(entry, bool):
        return float(entry)
    if hint in (int, float, str, bool):
        if type(entry) is not hint:
            raise PlanError(f"{where} must be of type {hint.__name__}, got {entry!r}")
        return entry
    raise PlanError(f"{where} cannot be given in a file")


def _component(entry: Any, name: str, vocabulary: Vocabulary, where: str) -> Any:
    if isinstance(entry, str):  # a bare kind: every component can be built without arguments
        entry = {"kind": entry}
    kinds = vocabulary[name]
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise PlanError(f'{where} needs a kind, one of: {", ".join(sorted(kinds))}. Example: kind = "{min(kinds)}"')
    kind = entry["kind"]
    if kind not in kinds:
        raise PlanError(f"{where}: unknown kind {kind!r}{_nearest(kind, kinds)}; known: {', '.join(sorted(kinds))}")
    return _build({key: part for key, part in entry.items() if key != "kind"}, kinds[kind], vocabulary, where)


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(sorted(known))})"
