"""The work item of `make bench`: one synthetic job per model family, the same for every system that is compared.

Four jobs, drawn from a seed with NumPy alone. `mf` and `ncf`: customers with a long-tailed catalogue, every positive
beside four negatives sampled beforehand. `lr` and `mlp`: silos with rows of 30 features. A job says which samples
each client holds, in which order it sees them, in which batches, and where every parameter starts, so that two
systems given the same job must end at the same model. `README.md` beside this file describes the arrays.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

JobName = Literal["mf", "ncf", "mlp", "lr"]
Array = npt.NDArray[np.generic]
NAMES: tuple[JobName, ...] = get_args(JobName)
VERSION = 1
NEGATIVES = 4
DIM = 32
HIDDEN = {"ncf": 32, "mlp": 64}


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One job: the samples of every client in their fixed order, and the initial parameters.

    Attributes:
        name: `mf`, `ncf`, `mlp` or `lr`.
        batch: samples in one SGD step; a client's last batch is what is left (its loss is the mean over that).
        learning_rate: of plain SGD, no momentum, no decay.
        offsets: int64, `(clients + 1,)`; client `c` holds the samples `offsets[c]` to `offsets[c + 1]`.
        inputs: int32 item numbers `(samples,)` for `mf` and `ncf`; float32 rows `(samples, features)` otherwise.
        labels: float32 `(samples,)`, 0 or 1.
        shared: initial global parameters, float32, by name.
        private: initial private parameters, float32, by name; the first axis is the client.
    """

    name: JobName
    batch: int
    learning_rate: float
    offsets: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.int32] | npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    shared: dict[str, npt.NDArray[np.float32]]
    private: dict[str, npt.NDArray[np.float32]]

    @property
    def clients(self) -> int:
        """Number of clients in the population."""
        return len(self.offsets) - 1

    def cohort(self, round_number: int, size: int) -> npt.NDArray[np.int64]:
        """Clients of one round (counted from 0), in the order in which they are trained and summed.

        The whole population in its own order, or the next `size` of one fixed shuffle, starting over at its end.
        """
        if size >= self.clients:
            return np.arange(self.clients)
        order = np.random.default_rng(97).permutation(self.clients)
        return order[np.arange(round_number * size, (round_number + 1) * size) % self.clients]

    def arrays(self) -> dict[str, Array]:
        """Every array by its name in the file."""
        return {
            "offsets": self.offsets,
            "inputs": self.inputs,
            "labels": self.labels,
            **{f"shared.{name}": value for name, value in self.shared.items()},
            **{f"private.{name}": value for name, value in self.private.items()},
        }

    def digest(self) -> str:
        """Sixteen hex digits that tell two jobs apart; systems are compared only where theirs agree."""
        state = hashlib.sha256(f"{self.name} {self.batch} {self.learning_rate!r}".encode())
        for name, value in sorted(self.arrays().items()):
            state.update(f" {name} {value.dtype} {value.shape} ".encode())
            state.update(np.ascontiguousarray(value).tobytes())
        return state.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write the job as an uncompressed .npz without pickles."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(
            partial,
            allow_pickle=False,
            name=np.array(self.name),
            batch=np.array(self.batch),
            rate=np.array(self.learning_rate),
            **self.arrays(),
        )
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> WorkItem:
        """Read a job that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        groups: dict[str, dict[str, npt.NDArray[np.float32]]] = {"shared": {}, "private": {}}
        for key, value in arrays.items():
            group, _, name = key.partition(".")
            if name:
                groups[group][name] = value
        (name,) = (known for known in NAMES if known == str(arrays["name"]))
        return cls(
            name=name,
            batch=int(arrays["batch"]),
            learning_rate=float(arrays["rate"]),
            offsets=arrays["offsets"],
            inputs=arrays["inputs"],
            labels=arrays["labels"],
            shared=groups["shared"],
            private=groups["private"],
        )


def _positives_per_client(rng: np.random.Generator, clients: int) -> npt.NDArray[np.int64]:
    """Long-tailed activity like MovieLens 100K's: about 106 on average, median near 73, 21 to 737."""
    counts = np.rint(np.exp(np.log(70.0) + 0.905 * rng.standard_normal(clients)))
    positives: npt.NDArray[np.int64] = np.clip(counts, 21, 737).astype(np.int64)
    return positives


def recommender_job(
    name: Literal["mf", "ncf"], clients: int = 943, items: int = 1_682, batch: int = 64, seed: int = 11
) -> WorkItem:
    """Customers with a long-tailed catalogue: each positive beside four sampled negatives, shuffled once.

    Negatives are drawn with repetition from the items that the client has no positive for, so one batch may hold
    an item twice: its gradient is then the sum of both.
    """
    rng = np.random.default_rng(seed)
    counts = _positives_per_client(rng, clients)
    log_popularity = -0.85 * np.log(np.arange(items) + 8.0)
    rng.shuffle(log_popularity)
    offsets = np.concatenate([[0], np.cumsum(counts * (1 + NEGATIVES))]).astype(np.int64)
    inputs = np.empty(offsets[-1], np.int32)
    labels = np.empty(offsets[-1], np.float32)
    for client, count in enumerate(counts):
        # The largest of log weight + Gumbel noise are a draw without repetition, in proportion to the weights.
        keys = log_popularity + rng.gumbel(size=items)
        chosen = np.argpartition(keys, items - count)[items - count :]
        others = np.setdiff1d(np.arange(items), chosen, assume_unique=True)
        drawn = np.concatenate([chosen, rng.choice(others, count * NEGATIVES)])
        order = rng.permutation(len(drawn))
        inputs[offsets[client] : offsets[client + 1]] = drawn[order]
        labels[offsets[client] : offsets[client + 1]] = order < count
    shared = {"item_table": _normal(rng, 0.1, items, DIM)}
    private = {"user": _normal(rng, 0.1, clients, DIM)}
    if name == "ncf":
        head = _perceptron(rng, DIM, HIDDEN["ncf"])
        private = {part: np.repeat(value[None], clients, axis=0) for part, value in head.items()}
    return WorkItem(name, batch, 0.5, offsets, inputs, labels, shared, private)


def tabular_job(
    name: Literal["mlp", "lr"], clients: int = 1_000, rows: int = 100, features: int = 30, seed: int = 176
) -> WorkItem:
    """Silos whose features are shifted against each other, with a curved rule for the label; batch 25.

    The seed is chosen, not taken: in the first two rounds of `mlp` no hidden unit comes nearer to the kink of its
    ReLU than 7e-7 (one of 400 seeds; usually 1e-7 or less). Nearer than float32's rounding, two right systems may
    fall on different sides of it, and their models then differ by 5e-6 with nothing wrong.
    """
    rng = np.random.default_rng(seed)
    shift = rng.standard_normal((clients, 1, features)) * 0.3
    values = rng.standard_normal((clients, rows, features)) + shift
    direction = rng.standard_normal((2, features)) / np.sqrt(features)
    score = values @ direction[0] * 2.0 + np.abs(values @ direction[1]) - 0.8
    labels = rng.random((clients, rows)) < 1.0 / (1.0 + np.exp(-score))
    shared = {"w": _normal(rng, 0.05, features, 1), "b": np.zeros(1, np.float32)}
    if name == "mlp":
        shared = _perceptron(rng, features, HIDDEN["mlp"])
    return WorkItem(
        name=name,
        batch=25,
        learning_rate=0.5,
        offsets=np.arange(clients + 1, dtype=np.int64) * rows,
        inputs=values.reshape(-1, features).astype(np.float32),
        labels=labels.reshape(-1).astype(np.float32),
        shared=shared,
        private={},
    )


def _normal(rng: np.random.Generator, scale: float, *shape: int) -> npt.NDArray[np.float32]:
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def _perceptron(rng: np.random.Generator, inputs: int, hidden: int) -> dict[str, npt.NDArray[np.float32]]:
    """Weights of inputs-hidden-1 with ReLU between, laid out (in, out): `relu(x @ w1 + b1) @ w2 + b2`."""
    return {
        "w1": _normal(rng, inputs**-0.5, inputs, hidden),
        "b1": np.zeros(hidden, np.float32),
        "w2": _normal(rng, hidden**-0.5, hidden, 1),
        "b2": np.zeros(1, np.float32),
    }


def draw(name: JobName) -> WorkItem:
    """The job of that name in its standard size."""
    if name == "mf" or name == "ncf":
        return recommender_job(name)
    return tabular_job(name)


def tile(work: WorkItem, clients: int) -> WorkItem:
    """The same population over and over until it has `clients` clients, every array really allocated."""
    times = -(-clients // work.clients)
    lengths = np.tile(np.diff(work.offsets), times)[:clients]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    whole, rest = divmod(int(offsets[-1]), len(work.labels))
    inputs: Any = np.concatenate([work.inputs] * whole + [work.inputs[:rest]])
    return replace(
        work,
        offsets=offsets,
        inputs=inputs,
        labels=np.concatenate([work.labels] * whole + [work.labels[:rest]]),
        private={name: np.concatenate([value] * times)[:clients] for name, value in work.private.items()},
    )


def ensure(name: JobName, folder: Path) -> Path:
    """The file of the standard job in `folder`, drawn and written first if it is not there."""
    path = folder / f"{name}-{VERSION}.npz"
    if not path.exists():
        draw(name).save(path)
    return path


def main() -> None:
    """Write the standard jobs and say what is in them."""
    parser = argparse.ArgumentParser(description="Draw the work items of make bench.")
    parser.add_argument("--folder", type=Path, default=Path(".bench/work"))
    parser.add_argument("--work", choices=NAMES, nargs="*", default=list(NAMES))
    options = parser.parse_args()
    for name in options.work:
        path = ensure(name, options.folder)
        work = WorkItem.load(path)
        lengths = np.diff(work.offsets)
        print(
            f"{path}: {work.clients} clients, {len(work.labels)} samples ({int(work.labels.sum())} positive), "
            f"per client mean {lengths.mean():.0f}, median {np.median(lengths):.0f}, {lengths.min()} to "
            f"{lengths.max()}; {int(np.ceil(lengths / work.batch).sum())} steps per epoch; digest {work.digest()}"
        )


if __name__ == "__main__":
    main()
