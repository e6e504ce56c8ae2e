"""tacit's side of the comparison: one trainer on the work item, in the peers' command line and with their JSON.

    python -m benchmarks.tacit_run --work mf --rounds 5 --out .bench/results/tacit-mf.json

The trainer comes from the environment: TACIT_TRAINER = fused, stacked or loop; TACIT_CLIP bounds each client's L2 norm
and adds Gaussian noise to the sum (client-level privacy); without it there is neither.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import numpy as np

from benchmarks.peers.command import Command, parse
from benchmarks.work_item import WorkItem
from tacit.core.trees import flatten, unflatten
from tacit.core.values import Array, Params, Population, Schema, State
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.learning.trainers.fused import Fused
from tacit.learning.trainers.loop import Loop
from tacit.learning.trainers.stacked import Stacked
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.multilayer_perceptron import MultilayerPerceptron
from tacit.models.neural_collaborative_filtering import NeuralCollaborativeFiltering
from tacit.privacy.randomness import secure

TRAINERS = {"fused": Fused(), "stacked": Stacked(), "loop": Loop()}
NAMES = {"mf": {"items": "item_table"}, "ncf": {"items": "item_table"}, "lr": {"weight": "w", "bias": "b"}}


def population(work: WorkItem) -> Population:
    """The job's rows as a population."""
    if work.name in ("mf", "ncf"):
        schema = Schema("interactions", items=len(work.shared["item_table"]))
        return Population(schema, work.offsets, {"item": work.inputs, "label": work.labels})
    schema = Schema("tabular", features=work.inputs.shape[1])
    return Population(schema, work.offsets, {"x": work.inputs, "y": work.labels})


def model_of(name: str) -> Any:
    """The job's model; negatives are in the data."""
    return {
        "mf": MatrixFactorisation(dim=32, negatives=0),
        "ncf": NeuralCollaborativeFiltering(dim=32, hidden=32, negatives=0),
        "mlp": MultilayerPerceptron(hidden=64),
        "lr": LogisticRegression(),
    }[name]


def initial(work: WorkItem, model: Any, people: Population) -> tuple[State, dict[str, Array]]:
    """The job's initial values under tacit's names: the server's state, and private parameters stacked."""
    shared = dict(model.init(people.schema, 0))
    for name in model.private:
        del shared[name]
    ours = NAMES.get(work.name, {name: name for name in work.shared})
    for mine, theirs in ours.items():
        shared[mine] = work.shared[theirs].reshape(shared[mine].shape)
    shape = model.init(people.schema, 0)
    own = {name: work.private[name].reshape(people.__len__(), *shape[name].shape).copy() for name in model.private}
    return State(shared), own


def theirs(work: WorkItem, shared: Params) -> dict[str, Array]:
    """Shared parameters under the job's names and shapes."""
    ours = NAMES.get(work.name, {name: name for name in work.shared})
    return {their: shared[mine].reshape(work.shared[their].shape) for mine, their in ours.items()}


def run(command: Command) -> dict[str, Any]:
    """Train, time the rounds after the first, save the model after two."""
    work = command.load()
    people, model = population(work), model_of(work.name)
    algorithm = FedAvg(local=SGD(lr=work.learning_rate, batch_size=work.batch, shuffle=False))
    trainer = TRAINERS[os.environ.get("TACIT_TRAINER", "fused" if work.name == "mf" else "stacked")]
    clip = float(os.environ["TACIT_CLIP"]) if "TACIT_CLIP" in os.environ else None
    state, own = initial(work, model, people)
    cpu, wall = [], []
    for number in range(command.rounds + 1):
        cohort = work.cohort(number, command.cohort or work.clients)
        began, started = time.process_time(), time.perf_counter()
        total = trainer.total(algorithm.work(model, number + 1), state.shared, own, people, cohort, number, clip)
        if clip is not None:
            noisy = flatten(total)
            total = unflatten(noisy + clip * secure().normal(len(noisy)), total)
        state = algorithm.update(state, model, total, len(cohort), number + 1)
        cpu.append(time.process_time() - began)
        wall.append(time.perf_counter() - started)
        if number == 1:
            np.savez(command.model, **theirs(work, state.shared))
    timed = cpu[1:]
    size = command.cohort or work.clients
    return {
        "system": f"tacit {type(trainer).__name__.lower()}" + (" with client-level noise" if clip else ""),
        "work": work.name,
        "job": work.digest(),
        "clients": work.clients,
        "cohort": size,
        "threads": command.threads,
        "rounds_timed": len(timed),
        "clients_per_cpu_second": size / float(np.median(timed)),
        "clients_per_wall_second": size / float(np.median(wall[1:])),
        "cpu_seconds": timed,
        "wall_seconds": wall[1:],
        "first_round": {"cpu_seconds": cpu[0], "wall_seconds": wall[0]},
    }


def main() -> None:
    """Entry point."""
    command = parse(__doc__ or "", {})
    import torch

    torch.set_num_threads(command.threads)
    found = run(command)
    command.out.parent.mkdir(parents=True, exist_ok=True)
    command.out.write_text(json.dumps(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
