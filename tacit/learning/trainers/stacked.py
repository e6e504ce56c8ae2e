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
                broadcast[name] = tensor[block.touched]
            else:
                broadcast[name] = tensor.unsqueeze(0).expand(len(block.clients), *value.shape)
        mine: Tree = {name: torch.from_numpy(values[block.clients]) for name, values in own.items()}
        carry = torch.func.vmap(work.start)(broadcast, mine)
        finished = self._steps(work, carry, block)
        delta, private = torch.func.vmap(work.finish)(broadcast, finished)
        square = sum(torch.square(value.double()).reshape(len(value), -1).sum(1) for value in delta.values())
        length = torch.sqrt(torch.as_tensor(square))
        if not bool(torch.isfinite(length).all()):
            raise ValueError("a contribution holds NaN or infinity (a learning rate too high?): it must not be sent")
        scale = None if clip_norm is None else torch.clamp(clip_norm / torch.clamp(length, min=1e-300), max=1.0)
        for name, value in delta.items():
            value = value.double()
            if scale is not None:
                value = value * scale.reshape(-1, *([1] * (value.ndim - 1)))
            if name in tables:
                if name not in sums:
                    sums[name] = torch.zeros(shared[name].shape, dtype=torch.float64)
                sums[name].index_add_(0, block.touched.reshape(-1), value.flatten(0, 1))
            else:
                sums[name] = sums[name] + value.sum(0) if name in sums else value.sum(0)
        for name, value in private.items():
            own[name][block.clients] = value.numpy()

    def _steps(self, work: LocalWork, carry: Carry, block: Block) -> Carry:
        """All steps of a block; clients are sorted by their number of steps, so those that are done fall off the end."""
        by_hand = isinstance(work.model, HasGradients) and isinstance(work, LocalSGD)
        if by_hand:  # steps are then taken in place: on tensors of our own
            carry = {**carry, "params": {name: value.clone() for name, value in carry["params"].items()}}
        step = torch.func.vmap(work.step)
        done: list[Carry] = []
        for number, batch in enumerate(_batches(block)):
            alive = int(block.alive[number])
            have = len(carry["count"]["rows"])
            if alive < have:
                done.append(_part(carry, alive, have))
                carry = _part(carry, 0, alive)
            if by_hand:
                assert isinstance(work, LocalSGD) and isinstance(work.model, HasGradients)
                weight = batch["mask"] / torch.clamp(batch["mask"].sum(-1, keepdim=True), min=1.0)
                carry = work.move(carry, batch, work.model.gradients(carry["params"], batch, weight))
            else:
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
