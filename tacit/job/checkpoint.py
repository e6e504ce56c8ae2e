"""The server's side of a crash: the newest finished round of a training, written at once or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tacit.core.values import Array, DataError, Event, Round, State

PARTS = ("shared", "server")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One training's newest round, its record of every round so far, and the best state on validation."""

    round: Round
    records: list[dict[str, Any]]  # one per round, as in rounds.jsonl
    best: State | None = None  # best on validation: shared parameters, and under `server` the private ones


def save(path: Path, point: Checkpoint) -> None:
    """Replace the checkpoint: after a crash there is the old one or the new one, never a part of either."""
    arrays: dict[str, Array] = {}
    for prefix, state in (("last", point.round.state), ("best", point.best)):
        if state is not None:
            for part in PARTS:
                for name, value in getattr(state, part).items():
                    arrays[f"{prefix}/{part}/{name}"] = np.ascontiguousarray(value)
    about = asdict_round(point.round) | {"records": point.records}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(arrays, temporary, {"about": json.dumps(about)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(path: Path) -> Checkpoint | None:
    """The newest checkpoint, or None where there is none.

    Raises:
        DataError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, "np") as file:
            about = json.loads(file.metadata()["about"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        raise DataError(f"checkpoint {path.name} is damaged: the run cannot resume from it") from None
    states = {}
    for prefix in ("last", "best"):
        if any(name.startswith(f"{prefix}/") for name in arrays):
            parts = [
                {name.split("/", 2)[2]: value for name, value in arrays.items() if name.startswith(f"{prefix}/{part}/")}
                for part in PARTS
            ]
            states[prefix] = State(parts[0], parts[1])
    records = about.pop("records")
    events = tuple(Event(**event) for event in about.pop("events"))
    return Checkpoint(Round(**about, events=events, state=states["last"]), records, states.get("best"))


def asdict_round(record: Round) -> dict[str, Any]:
    """A round without its state: numbers only."""
    return {
        "number": record.number,
        "cohort": record.cohort,
        "clients": record.clients,
        "dropped": record.dropped,
        "events": [asdict(event) for event in record.events],
        "bytes_up": record.bytes_up,
        "bytes_down": record.bytes_down,
        "seconds": record.seconds,
        "sum_digest": record.sum_digest,
    }
