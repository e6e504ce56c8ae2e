"""The job in torch: the forward pass that every torch peer uses, and local training by plain SGD."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, embedding

from benchmarks.work_item import JobName, WorkItem

Batch = tuple[Tensor, Tensor]


def logits(name: JobName, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Scores of one batch, `(samples,)`, from shared and private parameters together."""
    if name == "mf":
        return embedding(inputs, parameters["item_table"]) @ parameters["user"]
    if name == "lr":
        return torch.addmm(parameters["b"], inputs, parameters["w"]).squeeze(1)
    values = embedding(inputs, parameters["item_table"]) if name == "ncf" else inputs
    hidden = torch.addmm(parameters["b1"], values, parameters["w1"]).relu()
    return torch.addmm(parameters["b2"], hidden, parameters["w2"]).squeeze(1)


def loss(name: JobName, parameters: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the batch."""
    return binary_cross_entropy_with_logits(logits(name, parameters, inputs), labels)


def client_tensors(work: WorkItem, client: int) -> Batch:
    """All samples of one client in their order."""
    begin, end = int(work.offsets[client]), int(work.offsets[client + 1])
    inputs = torch.from_numpy(work.inputs[begin:end])
    if not inputs.is_floating_point():
        inputs = inputs.long()
    return inputs, torch.from_numpy(work.labels[begin:end])


def client_batches(work: WorkItem, client: int) -> list[Batch]:
    """The client's batches, as views."""
    inputs, labels = client_tensors(work, client)
    return list(zip(torch.split(inputs, work.batch), torch.split(labels, work.batch), strict=True))


def initial_shared(work: WorkItem) -> dict[str, Tensor]:
    """A fresh copy of the initial global parameters."""
    return {name: torch.from_numpy(value.copy()) for name, value in work.shared.items()}


def initial_private(work: WorkItem, client: int) -> dict[str, Tensor]:
    """A fresh copy of the client's initial private parameters, ready to be trained."""
    return {name: torch.from_numpy(value[client].copy()).requires_grad_() for name, value in work.private.items()}


def train(work: WorkItem, parameters: Mapping[str, Tensor], batches: list[Batch]) -> None:
    """One epoch of SGD over the batches in order, changing the parameters in place.

    The parameters are leaves that require gradients. Nothing else happens here: no optimiser object, no data loader.
    """
    values = list(parameters.values())
    for inputs, labels in batches:
        gradients = torch.autograd.grad(loss(work.name, parameters, inputs, labels), values)
        with torch.no_grad():
            for value, gradient in zip(values, gradients, strict=True):
                value.sub_(gradient, alpha=work.learning_rate)
