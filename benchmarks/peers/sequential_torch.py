"""Peer: the plain loop in torch, one client after the other. Also the reference for every other system's model."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.peers.clock import Clock
from benchmarks.peers.command import Command, parse
from benchmarks.peers.outcome import report, save_model
from benchmarks.peers.torch_job import client_batches, initial_private, initial_shared, train


def run(command: Command) -> None:
    """Time the rounds and save the model after two of them."""
    torch.set_num_threads(command.threads)
    work = command.load()
    batches = [client_batches(work, client) for client in range(work.clients)]
    private = [initial_private(work, client) for client in range(work.clients)]
    model = initial_shared(work)
    local = {name: value.clone().requires_grad_() for name, value in model.items()}
    clock = Clock()
    for number in range(command.rounds + 1):
        cohort = work.cohort(number, command.cohort)
        clock.start()
        total = {name: torch.zeros_like(value) for name, value in model.items()}
        for client in cohort:
            with torch.no_grad():
                for name, value in model.items():
                    local[name].copy_(value)
            train(work, {**local, **private[client]}, batches[client])
            with torch.no_grad():
                for name, value in model.items():
                    total[name] += local[name] - value
        for name, value in model.items():
            value += total[name] / len(cohort)
        clock.stop()
        if number == 1:
            save_model(command.model, {name: value.numpy() for name, value in model.items()})
    libraries = {"torch": torch.__version__, "numpy": np.__version__}
    report(command, work, clock, "sequential torch", torch.__version__, libraries)


if __name__ == "__main__":
    run(parse(__doc__ or "", {}))
