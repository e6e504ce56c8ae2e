"""The values that every part of tacit speaks: arrays by name, rows of many clients, messages, sums.

Immutable, and importing nothing of ours. Arrays that cross the waist are numpy arrays; torch lives inside models and
trainers (docs/decisions/001-numpy-at-the-waist.md). Fields of these values are public to whoever the docstring names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Params: TypeAlias = Mapping[str, Array]  # parameter name -> array; never mutated in place
Batch: TypeAlias = Mapping[str, Array]  # field name -> (rows, ...)
Vector: TypeAlias = Array  # (d,) all arrays of a Params laid end to end, in name order
Scalar: TypeAlias = str | int | float | bool | bytes
Address: TypeAlias = str  # "node" or "node/3": a node, or the fourth client that it hosts


class TacitError(Exception):
    """Base of the errors that a user may see; `str(error)` says what was needed, what was found, what to do."""


class PlanError(TacitError, ValueError):
    """Two parts of a plan contradict each other, or a plan file cannot be read."""


class DataError(TacitError, ValueError):
    """A file, table or mapping cannot be used; names file and line where there is one."""


class ProtocolError(TacitError, ValueError):
    """A message that breaks its protocol: forged, replayed, malformed, or from a party that may not send it."""


class VerificationError(TacitError, ValueError):
    """A ledger, signature or proof that does not hold."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Public facts about the data that every party must agree on before the first round."""

    kind: str  # "interactions" or "tabular"
    items: int = 0  # catalogue size, for interactions
    features: int = 0  # number of encoded feature columns, for tabular data
    item_features: Array | None = field(default=None, compare=False, repr=False)  # (items, f) public facts of items

    def __post_init__(self) -> None:
        if self.kind not in ("interactions", "tabular"):
            raise ValueError(f"kind must be 'interactions' or 'tabular', got {self.kind!r}")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Population:
    """The rows of many clients, end to end: client c owns rows offsets[c] to offsets[c + 1]. Never leaves its node.

    Interactions carry the fields item (rows,) int32 and, where known, rating (rows,) float32 and time (rows,) int64;
    tabular data carry x (rows, features) float32 and y (rows,) float32 in {0, 1}.
    """

    schema: Schema
    offsets: Array  # (clients + 1,) int64, from 0 to rows
    fields: Batch
    first: int = 0  # number of the first client among all clients, so that seeds do not depend on who hosts it

    def __post_init__(self) -> None:
        rows = int(self.offsets[-1]) if len(self.offsets) else -1
        if rows < 0 or self.offsets[0] != 0 or np.any(np.diff(self.offsets) < 0):
            raise ValueError("offsets must rise from 0 to the number of rows")
        for name, values in self.fields.items():
            if len(values) != rows:
                raise ValueError(f"field {name!r} has {len(values)} rows, offsets say {rows}")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        """Shows sizes only: rows are personal data."""
        return f"Population({len(self)} clients, {int(self.offsets[-1])} rows, fields {sorted(self.fields)})"

    @property
    def sizes(self) -> Array:
        """(clients,) int64 number of rows of each client."""
        return np.diff(self.offsets)

    def rows(self, client: int) -> Batch:
        """The rows of one client, as views."""
        low, high = int(self.offsets[client]), int(self.offsets[client + 1])
        return {name: values[low:high] for name, values in self.fields.items()}

    def owner(self) -> Array:
        """(rows,) int64 client of each row."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def take(self, clients: Sequence[int] | Array) -> Population:
        """The population of only these clients, in this order. A contiguous run is a view, anything else a copy."""
        index = np.asarray(clients, dtype=np.int64)
        if len(index) == 0:
            return Population(self.schema, np.zeros(1, np.int64), {k: v[:0] for k, v in self.fields.items()})
        sizes = self.sizes[index]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        if np.array_equal(index, np.arange(index[0], index[0] + len(index))):
            low, high = int(self.offsets[index[0]]), int(self.offsets[index[-1] + 1])
            return Population(self.schema, offsets, {k: v[low:high] for k, v in self.fields.items()})
        rows = np.repeat(self.offsets[index] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Population(self.schema, offsets, {k: v[rows] for k, v in self.fields.items()})


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What the server asks one node or client. Everything in it is public to that party."""

    kind: str  # "train", or a stage of a secure sum
    round: int
    arrays: Params = field(default_factory=dict)
    config: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """What one node or client answers. Everything in it leaves the client."""

    arrays: Params = field(default_factory=dict)
    config: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Total:
    """What a set of clients contributes, added up: deltas, sufficient statistics, histograms, counts."""

    sums: Params  # name -> array, float64
    clients: int  # how many clients were added

    def __add__(self, other: Total) -> Total:
        sums = {name: self.sums[name] + other.sums[name] for name in self.sums}
        return replace(self, sums=sums, clients=self.clients + other.clients)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What the server keeps between rounds; saved in every checkpoint."""

    shared: Params  # the global model: what is broadcast
    server: Params = field(default_factory=dict, repr=False)  # moments of its optimiser; what it tells nobody


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """What both ends of a transform know of a round. All of it is public."""

    round: int = 1
    rounds: int = 1  # of the whole training
    size: int = 0  # values that come into this transform
    clients: int = 1  # contributions expected in a round: the cohort, or all clients
    parties: int = 1  # of a secure sum: clients, or nodes that speak for several
    seed: int = 0  # fresh in each round, the same for server and clients: for shared bases, sketches, sets of places
    told: Params = field(default_factory=dict)  # the transform's own public state, broadcast with the model
    separation: int = 1  # rounds from one participation of a client to its next: more than 1 in cyclic cohorts only


@dataclass(frozen=True, slots=True)
class Event:
    """Privacy cost of one application of a mechanism, as a value (maps to dp_accounting.DpEvent)."""

    mechanism: str  # "gaussian"
    noise_multiplier: float  # noise standard deviation / clip norm, dimensionless
    sampling: str  # "all", "poisson" or "fixed": how the cohort was drawn
    sampling_rate: float  # cohort / clients


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """One finished round: the only thing the loop hands to evaluation, ledger and report."""

    number: int
    state: State
    cohort: int  # clients asked
    clients: int  # clients whose contribution is in the sum
    dropped: int  # clients that vanished after they were asked
    events: tuple[Event, ...]
    bytes_up: int  # per contributing client, this round
    bytes_down: int
    seconds: float
    sum_digest: str = ""  # SHA-256 of the integers that the secure sum opened, in hex; empty without one
    notes: tuple[str, ...] = ()  # why parties were left out, or the whole round
    proofs: int = 0  # of contributions, that were checked; 0 also where nobody may learn how many took part
