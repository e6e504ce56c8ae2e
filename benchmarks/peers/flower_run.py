"""Peer: Flower's simulation (Message API, FedAvg, Ray), one actor on one CPU.

CPU time is that of the driver and of every process that Ray started, found by a mark in their environment (Linux).
The cohort is the job's, not one of Flower's own drawing, so that the model can be compared. One node per client is
the job as it is; Flower asks every node for messages ten times a second, whether it takes part or not, so `--nodes`
with the size of the cohort shows what it does without those that do not (a node then serves several clients).
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from importlib.metadata import version

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.peers.clock import Clock, ProcessFamily
from benchmarks.peers.command import Command, parse
from benchmarks.peers.flower_app import app as client_app
from benchmarks.peers.outcome import report, save_model
from benchmarks.peers.torch_job import initial_shared
from benchmarks.work_item import WorkItem

SWITCHES = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"}


class CohortAveraging(FedAvg):
    """FedAvg that asks the clients of the job's cohort, each always through the same node."""

    def __init__(self, work: WorkItem, command: Command) -> None:
        super().__init__(fraction_evaluate=0.0, min_available_nodes=command.nodes)
        self.work = work
        self.command = command

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The messages of one round (Flower counts rounds from 1)."""
        while len(nodes := sorted(grid.get_node_ids())) < self.command.nodes:
            time.sleep(0.1)  # the first round may begin before all nodes are there
        for client in self.work.cohort(server_round - 1, self.command.cohort):
            own = ConfigRecord({**config, "client": int(client)})
            content = RecordDict({"arrays": arrays, "config": own})
            yield Message(content=content, message_type=MessageType.TRAIN, dst_node_id=nodes[client % len(nodes)])


@contextlib.contextmanager
def standard_output_kept() -> Iterator[None]:
    """What libraries and their children print goes to standard error meanwhile."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def run(command: Command) -> None:
    """Time the rounds and save the model after two of them."""
    if not os.path.isdir("/proc/self"):
        raise SystemExit("flower_run: counts the CPU time of Ray's processes from /proc, which only Linux has")
    torch.set_num_threads(command.threads)
    work = command.load()
    run_id = uuid.uuid4().hex
    family = ProcessFamily(f"TACIT_BENCH_FAMILY={run_id}")
    os.environ["TACIT_BENCH_FAMILY"] = run_id
    clock = Clock(family.cpu_seconds)
    children_mb: list[float] = []

    def after_round(number: int, arrays: ArrayRecord) -> None:
        """Called by the strategy before the first round (0) and after each."""
        if number > 0:
            clock.stop()
            children_mb.append(family.memory_mb())
        if number == 2:
            save_model(command.model, {name: array.numpy() for name, array in arrays.items()})
        clock.start()

    server_app = ServerApp()

    @server_app.main()
    def serve(grid: Grid, context: Context) -> None:
        """All rounds."""
        CohortAveraging(work, command).start(
            grid=grid,
            initial_arrays=ArrayRecord(initial_shared(work)),
            num_rounds=command.rounds + 1,
            train_config=ConfigRecord({"data": str(command.data), "threads": command.threads}),
            evaluate_fn=after_round,
        )

    with tempfile.TemporaryDirectory() as home, standard_output_kept():
        os.environ["FLWR_HOME"] = home
        run_simulation(
            server_app=server_app,
            client_app=client_app,
            num_supernodes=command.nodes,
            backend_config={
                "init_args": {"num_cpus": 1, "object_store_memory": 256 * 1024**2},
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            },
        )
    libraries = {name: version(name) for name in ("torch", "ray")} | {"numpy": np.__version__}
    system = "Flower simulation" + (f", {command.nodes} nodes" if command.nodes != work.clients else "")
    report(command, work, clock, system, version("flwr"), libraries, max(children_mb))


if __name__ == "__main__":
    run(parse(__doc__ or "", SWITCHES))
