"""The server's side of a crash: the newest finished round of a training, written at once or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tacit.core.values import Array, DataError, Event, Round, State
from tacit.federation import array_file

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
                    arrays[f"{prefix}/{part}/{name}"] = np.asarray(value)
    about = asdict_round(point.round) | {"records": point.records}
    array_file.save(path, arrays, json.dumps(about))


def load(path: Path) -> Checkpoint | None:
    """The newest checkpoint, or None where there is none.

    Raises:
        DataError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        arrays, told = array_file.load(path)
    except DataError:
        raise DataError(f"checkpoint {path.name} is damaged: the run cannot resume from it") from None
    about, states = json.loads(told), {}
    for prefix in ("last", "best"):
        if any(name.startswith(f"{prefix}/") for name in arrays):
            parts = [
                {name.split("/", 2)[2]: value for name, value in arrays.items() if name.startswith(f"{prefix}/{part}/")}
                for part in PARTS
            ]
            states[prefix] = State(parts[0], parts[1])
    records = about.pop("records")
    events = tuple(Event(**event) for event in about.pop("events"))
    notes = tuple(about.pop("notes", ()))
    round = Round(**about, events=events, notes=notes, state=states["last"])
    return Checkpoint(round, records, states.get("best"))


def asdict_round(record: Round) -> dict[str, Any]:
    """A round without its state: numbers, and notes where there are any."""
    told = {
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
    told |= {"notes": list(record.notes)} if record.notes else {}
    return told | ({"proofs": record.proofs} if record.proofs else {})
