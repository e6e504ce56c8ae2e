"""A run's folder: whose it is, that one process at a time works in it, and what a resumed run must find unchanged."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from tacit.audit.ledger import Ledger
from tacit.core.plan import Plan
from tacit.core.values import DataError
from tacit.data.interactions import Interactions
from tacit.data.tabular import Tabular
from tacit.evaluation.cost import Cost

STATE = "state"  # checkpoints and private parameters: what a resumed run needs, and nobody afterwards


def refuse_another(folder: Path, plan: Plan) -> None:
    """Leave the run of another plan alone.

    Raises:
        DataError: the folder holds one, or is no folder.
    """
    path = folder / "plan.toml"
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file, and a run needs a folder: choose another one")
    if path.exists() and path.read_bytes() != plan.toml().encode():
        raise DataError(f"{folder} holds a run of another plan: choose another folder, or resume it without a plan")


def own(folder: Path, plan: Plan) -> None:
    """Mark the folder as this plan's; a folder that is so already is left as it is.

    Raises:
        DataError: it cannot be made.
    """
    path = folder / "plan.toml"
    if path.exists():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".tmp").write_bytes(plan.toml().encode())
        os.replace(path.with_suffix(".tmp"), path)
    except OSError as error:
        raise DataError(f"the run folder {folder} cannot be made: {error.strerror}") from None


def append_round(folder: Path, record: Mapping[str, Any]) -> None:
    """Add a round to rounds.jsonl, unless it stands there: a resumed run says its old rounds again."""
    path = folder / "rounds.jsonl"
    line = json.dumps(dict(record), sort_keys=True)
    if path.exists():
        whole = path.read_text(encoding="utf-8").split("\n")
        if line in whole[:-1]:
            return
        if whole[-1]:  # a line torn by a crash
            path.write_text("".join(part + "\n" for part in whole[:-1]), encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def store_plan(folder: Path, ledger: Ledger, name: str, plan: Plan) -> None:
    """Keep a training's own plan, noise calibrated, as plans/NAME.toml under the ledger: rounds carry its digest."""
    path = "plans/" + re.sub(r"[^A-Za-z0-9._-]", "-", name) + ".toml"
    (folder / "plans").mkdir(exist_ok=True)
    (folder / path).write_bytes(plan.toml().encode())
    ledger.append_once("file", path, {"path": path, "sha256": plan.digest()})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which falls with the process.

    Raises:
        DataError: another process works in this folder.
    """
    try:
        with FileLock(folder / ".lock", timeout=0):
            try:
                yield
            finally:
                if not (folder / STATE).exists():  # finished: nobody needs the lock again
                    (folder / ".lock").unlink(missing_ok=True)
    except Timeout:
        raise DataError(f"another process is working on {folder}: wait for it, or choose another folder") from None


def same_data(folder: Path, data: Interactions | Tabular) -> None:
    """Remember a keyed digest of the data, or compare with what is remembered. The key never leaves the state.

    Raises:
        DataError: the data are not those that the run began with.
    """
    path = folder / STATE / "data.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    key = bytes.fromhex(known["key"]) if known else secrets.token_bytes(32)
    code = hmac.new(key, _content(data), hashlib.sha256).hexdigest()
    if known:
        if not hmac.compare_digest(code, known["code"]):
            raise DataError(
                f"{data.name} is not what this run began with: restore the data, or begin anew in another folder"
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"key": key.hex(), "code": code}), encoding="utf-8")


def _content(data: Interactions | Tabular) -> bytes:
    """SHA-256 over every array of the data, with names and types."""
    digest = hashlib.sha256()

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key in sorted(value):
                add(f"{name}/{key}", value[key])
        elif isinstance(value, np.ndarray):
            plain = value.astype("U") if value.dtype.kind == "O" else np.ascontiguousarray(value)
            digest.update(f"{name} {plain.dtype.str} {plain.shape}".encode() + plain.tobytes())

    for name in data.__slots__:
        add(name, getattr(data, name))
    return digest.digest()


def earlier(folder: Path) -> Cost:
    """What the earlier processes of this run cost."""
    path = folder / STATE / "cost.json"
    return Cost(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Cost()


def remember(folder: Path, cost: Cost) -> None:
    """Store what all processes of this run cost so far."""
    path = folder / STATE / "cost.json"
    path.with_suffix(".tmp").write_text(json.dumps(cost.summary()), encoding="utf-8")
    os.replace(path.with_suffix(".tmp"), path)


def close(folder: Path) -> None:
    """Forget what only a resumed run needs: the private parameters of simulated clients among it."""
    shutil.rmtree(folder / STATE, ignore_errors=True)
