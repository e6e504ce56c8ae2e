"""The ClientApp of the Flower peer, in a module of its own.

Flower sends the app to the actor with every message. From an importable module that is a name; from `__main__` it
is the code itself, rebuilt each time, which was measured to be about six times slower.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from benchmarks.peers.torch_job import Batch, client_batches, initial_private, train
from benchmarks.work_item import WorkItem

app = ClientApp()


@lru_cache(maxsize=1)
def job(path: str, threads: int) -> tuple[WorkItem, list[list[Batch]]]:
    """The job and every client's batches, read once per actor."""
    torch.set_num_threads(threads)
    work = WorkItem.load(Path(path))
    return work, [client_batches(work, client) for client in range(work.clients)]


@app.train()
def train_client(message: Message, context: Context) -> Message:
    """One epoch of one client; its private parameters live in the context that Flower keeps for the node."""
    config = message.content.config_records["config"]
    client = int(str(config["client"]))
    work, batches = job(str(config["data"]), int(str(config["threads"])))
    arrays = message.content.array_records["arrays"]
    shared = {name: value.requires_grad_() for name, value in arrays.to_torch_state_dict().items()}
    own = f"private-{client}"
    if own in context.state.array_records:
        private = dict(context.state.array_records[own].to_torch_state_dict())
        private = {name: value.requires_grad_() for name, value in private.items()}
    else:
        private = initial_private(work, client)
    train(work, {**shared, **private}, batches[client])
    if private:
        context.state[own] = ArrayRecord({name: value.detach() for name, value in private.items()})
    content = RecordDict()
    content["arrays"] = ArrayRecord({name: value.detach() for name, value in shared.items()})
    content["metrics"] = MetricRecord({"num-examples": 1})  # the weight: every client counts the same
    return Message(content=content, reply_to=message)
