"""Peer: pfl-research, `SimulatedBackend` with `FederatedAveraging`, one process.

Set up in its favour: each user's dataset object is made once and its batches are cut before the clock starts;
private parameters stay where they are trained, outside the model that pfl copies, subtracts and resets per user.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from torch import Tensor

from benchmarks.peers.clock import Clock
from benchmarks.peers.command import Command, parse
from benchmarks.peers.outcome import report, save_model
from benchmarks.peers.torch_job import client_tensors, initial_private, initial_shared, loss
from benchmarks.work_item import WorkItem


class JobModel(torch.nn.Module):
    """The shared parameters; beside them, not registered, the private ones of every user."""

    def __init__(self, work: WorkItem) -> None:
        super().__init__()
        self.job = work.name
        for name, value in initial_shared(work).items():
            self.register_parameter(name, torch.nn.Parameter(value))
        self.shared = dict(self.named_parameters())
        # Torch registers no tensor that lies in a list, so pfl neither averages these nor sends them anywhere.
        self.private = [initial_private(work, client) for client in range(work.clients)]
        self.turn(0)

    def turn(self, client: int) -> None:
        """From now on the model is this client's."""
        self.mine = {**self.shared, **self.private[client]}

    def local_optimizer(self, shared: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
        """SGD on the shared parameters and on those of the client whose turn it is."""
        return torch.optim.SGD(self.mine.values(), lr=lr)

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Called by pfl with each training batch."""
        return loss(self.job, self.mine, inputs, labels)

    def metrics(self, inputs: Tensor, labels: Tensor) -> dict[str, Weighted]:
        """Called by pfl in round 0, which no evaluation frequency excludes and which is not timed."""
        with torch.no_grad():
            return {"loss": Weighted(self.loss(inputs, labels).item() * len(labels), len(labels))}


class PersonalAveraging(FederatedAveraging):  # type: ignore[misc]
    """FederatedAveraging that tells the model whose turn it is."""

    def simulate_one_user(self, model: Any, user_dataset: Any, central_context: Any) -> Any:
        """Train one user with its own private parameters."""
        model.pytorch_model.turn(user_dataset.metadata["client"])
        return super().simulate_one_user(model, user_dataset, central_context)


class Laps(TrainingProcessCallback):  # type: ignore[misc]
    """Reads the clock at the end of each round and saves the model after the second, outside the timed part."""

    def __init__(self, clock: Clock, command: Command) -> None:
        self.clock = clock
        self.command = command

    def on_train_begin(self, *, model: Any) -> Metrics:
        """The first round begins."""
        self.clock.start()
        return Metrics()

    def after_central_iteration(self, aggregate_metrics: Any, model: Any, *, central_iteration: int) -> Any:
        """A round has ended and the next begins."""
        self.clock.stop()
        if central_iteration == 1:
            shared = model.pytorch_model.shared
            save_model(self.command.model, {name: value.detach().numpy() for name, value in shared.items()})
        self.clock.start()
        return False, Metrics()


def run(command: Command) -> None:
    """Time the rounds and save the model after two of them."""
    torch.set_num_threads(command.threads)
    work = command.load()
    module = JobModel(work)
    model = PyTorchModel(
        module,
        local_optimizer_create=module.local_optimizer,
        central_optimizer=torch.optim.SGD(module.parameters(), lr=1.0),
    )
    users = [
        PyTorchTensorDataset(client_tensors(work, client), user_id=str(client), metadata={"client": client})
        for client in range(work.clients)
    ]
    for user in users:
        list(user.iter(work.batch))
    turns = (int(client) for number in range(command.rounds + 1) for client in work.cohort(number, command.cohort))
    clock = Clock()
    PersonalAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=command.rounds + 1,
            evaluation_frequency=10**9,  # pfl 0.6.0 divides by it, so 0 is no way to say never
            train_cohort_size=command.cohort,
            val_cohort_size=None,
        ),
        backend=SimulatedBackend(
            training_data=FederatedDataset(users.__getitem__, lambda: next(turns)),
            val_data=FederatedDataset(users.__getitem__, lambda: 0),
        ),
        model=model,
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=work.learning_rate, local_batch_size=work.batch
        ),
        # The batch size of training: pfl caches the batches of one size only.
        model_eval_params=NNEvalHyperParams(local_batch_size=work.batch),
        callbacks=[Laps(clock, command)],
        send_metrics_to_platform=False,
    )
    libraries = {"torch": torch.__version__, "numpy": np.__version__}
    report(command, work, clock, "pfl-research", version("pfl"), libraries)


if __name__ == "__main__":
    run(parse(__doc__ or "", {"PFL_PYTORCH_DEVICE": "cpu"}))
