"""Named arrays on disk, written whole or not at all, with a digest that shows damage: what a crash is survived by."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tacit.core.values import Array, DataError, Params


def save(path: Path, arrays: Params, about: str = "") -> None:
    """Replace the file: after a crash there is the old one or the new one, never a part of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    temporary = path.with_suffix(".tmp")
    save_file(whole, temporary, {"about": about, "sha256": _digest(whole, about)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(path: Path) -> tuple[dict[str, Array], str]:
    """The arrays and what was said about them.

    Raises:
        DataError: no such file, or a bit of it is not as it was written.
    """
    try:
        with safe_open(path, "np") as file:
            told = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, TypeError):
        raise DataError(f"{path.name} is missing or damaged") from None
    about = told.get("about", "")
    if told.get("sha256") != _digest(arrays, about):
        raise DataError(f"{path.name} is damaged")
    return arrays, about


def _digest(arrays: Params, about: str) -> str:
    found = hashlib.sha256(about.encode())
    for name in sorted(arrays):
        found.update(repr((name, arrays[name].dtype.str, arrays[name].shape)).encode())
        found.update(arrays[name].tobytes())
    return found.hexdigest()
