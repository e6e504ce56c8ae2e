"""Clients stacked into blocks of similar length: every step is taken for a whole block at once, in torch.

Uses a model's hand-written gradient where it has one, else torch.func.vmap over the work's own step. Item tables are
cut down to the rows that each client names, so a block's memory follows its rows, not the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tacit.core.protocols import Carry, HasGradients, LocalWork, Statistics, Tree
from tacit.core.values import Array, Params, Population
from tacit.learning.local_sgd import LocalSGD
from tacit.learning.trainers.accumulate import add_statistics
from tacit.learning.trainers.blocks import Block, blocks


@dataclass(frozen=True, slots=True)
class Stacked:
    """Blocks of clients in torch. Serves every model with a loss."""

    budget: int = 32768  # examples per block (clients x longest client), so that a block fits the second-level cache

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"budget must be at least 1 example, got {self.budget}")

    def refuses(self, work: LocalWork | Statistics) -> str | None:
        """Nothing."""
        return None

    def total(
        self,
        work: LocalWork | Statistics,
        shared: Params,
        own: dict[str, Array],
        population: Population,
        cohort: Array,
        seed: int,
        clip_norm: float | None,
    ) -> Params:
        """Sums of the cohort's contributions, float64; `own` is updated in place."""
        if isinstance(work, Statistics):
            return add_statistics(work, shared, own, population, cohort, clip_norm)
        sums: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for block in blocks(work, population, cohort, seed, self.budget):
                self._block(work, shared, own, block, sums, clip_norm)
        return {name: value.numpy() for name, value in sums.items()}

    def _block(
        self,
        work: LocalWork,
        shared: Params,
        own: dict[str, Array],
        block: Block,
        sums: dict[str, torch.Tensor],
        clip_norm: float | None,
    ) -> None:
        tables = work.model.tables
        broadcast: Tree = {}
        for name, value in shared.items():
            tensor = torch.tensor(value)
            if name in tables:
                rows = tensor.index_select(0, block.touched.flatten())
                broadcast[name] = rows.reshape(*block.touched.shape, *value.shape[1:])
            else:
                broadcast[name] = tensor.unsqueeze(0).expand(len(block.clients), *value.shape)
        mine: Tree = {name: torch.from_numpy(values[block.clients]) for name, values in own.items()}
        carry = torch.func.vmap(work.start)(broadcast, mine)
        if isinstance(work.model, HasGradients) and isinstance(work, LocalSGD):
            carry = _by_hand(work, work.model, carry, block)
        else:
            carry = _by_vmap(work, carry, block)
        delta, private = torch.func.vmap(work.finish)(broadcast, carry)
        scale = _scale(delta, clip_norm)
        for name, value in delta.items():
            if scale is not None:
                value = value * scale.reshape(-1, *([1] * (value.ndim - 1)))
            part = torch.zeros(shared[name].shape) if name in tables else value.sum(0)
            if name in tables:
                part.index_add_(0, block.touched.flatten(), value.flatten(0, 1))
            sums[name] = sums[name] + part if name in sums else part.double()
        for name, value in private.items():
            own[name][block.clients] = value.numpy()


def _scale(delta: Tree, clip_norm: float | None) -> torch.Tensor | None:
    """(clients,) factor that brings each client's delta into the ball.

    Raises:
        ValueError: a delta holds NaN or infinity.
    """
    if clip_norm is None:
        if not all(bool(torch.isfinite(value.sum())) for value in delta.values()):
            raise ValueError("a contribution holds NaN or infinity (a learning rate too high?): it must not be sent")
        return None
    square = torch.stack(
        [
            torch.linalg.vector_norm(value.flatten(1) if value.ndim > 1 else value[:, None], dim=1) ** 2
            for value in delta.values()
        ]
    )
    length = torch.sqrt(square.double().sum(0))
    if not bool(torch.isfinite(length).all()):
        raise ValueError("a contribution holds NaN or infinity (a learning rate too high?): it must not be sent")
    return torch.clamp(clip_norm / torch.clamp(length, min=1e-30), max=1.0).float()


def _by_hand(work: LocalSGD, model: HasGradients, carry: Carry, block: Block) -> Carry:
    """All steps with hand-written gradients, in place; clients stand by falling number of steps, so the first go on."""
    fixed = work.model.constants
    params = {n: value if n in fixed else value.contiguous().clone() for n, value in carry["params"].items()}
    mask = block.batches["mask"]
    weights = mask / torch.clamp(mask.sum(-1, keepdim=True), min=1.0)
    for number, batch in enumerate(_batches(block)):
        alive = len(batch["mask"])
        now = {name: value[:alive] for name, value in params.items()}
        anchor = {name: value[:alive] for name, value in carry["anchor"].items()}
        work.step_stacked(now, anchor, batch, model.gradients(now, batch, weights[:alive, number]))
    return {"params": params, "anchor": carry["anchor"], "count": {"rows": mask.sum((1, 2))}}


def _by_vmap(work: LocalWork, carry: Carry, block: Block) -> Carry:
    """All steps by vmap over the work's own step; clients that are done fall off the end."""
    step = torch.func.vmap(work.step)
    done: list[Carry] = []
    for batch in _batches(block):
        alive, have = len(batch["mask"]), len(carry["count"]["rows"])
        if alive < have:
            done.append(_part(carry, alive, have))
            carry = _part(carry, 0, alive)
        with torch.enable_grad():
            carry = step(carry, batch)
    parts = [carry, *reversed(done)]
    return {kind: {name: torch.cat([p[kind][name] for p in parts]) for name in carry[kind]} for kind in carry}


def _part(carry: Carry, low: int, high: int) -> Carry:
    return {kind: {name: value[low:high] for name, value in tree.items()} for kind, tree in carry.items()}


def _batches(block: Block) -> Iterator[Tree]:
    for number in range(len(block.alive)):
        alive = int(block.alive[number])
        yield {name: values[:alive, number] for name, values in block.batches.items()}
