"""The reference: one client after the other, one batch after the other, autograd."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tacit.core.protocols import LocalWork, Statistics, Tree
from tacit.core.values import Array, Params, Population
from tacit.learning.examples import examples
from tacit.learning.trainers.accumulate import add, add_statistics


@dataclass(frozen=True, slots=True)
class Loop:
    """The sequential loop. Slow and plain: every other trainer is tested against it."""

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
        sums: dict[str, Array] = {}
        broadcast = {name: torch.tensor(value) for name, value in shared.items()}
        for client in cohort.tolist():
            mine = {name: torch.tensor(own[name][client]) for name in own}
            carry = work.start(broadcast, mine)
            for epoch in range(work.epochs):
                drawn = examples(
                    work, population.rows(client), population.schema, seed, population.first + client, epoch
                )
                for batch in _batches(drawn, work.batch_size, epoch):
                    carry = work.step(carry, batch)
            contribution, mine = work.finish(broadcast, carry)
            add(sums, {name: value.numpy() for name, value in contribution.items()}, clip_norm)
            for name, value in mine.items():
                own[name][client] = value.numpy()
        return sums


def _batches(drawn: Params, size: int, epoch: int) -> list[Tree]:
    count = len(next(iter(drawn.values())))
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in drawn.items()}
    if "item" in tensors:
        tensors["item"] = tensors["item"].long()
    out = []
    for start in range(0, count, size):
        batch = {name: values[start : start + size] for name, values in tensors.items()}
        rows = min(size, count - start)
        out.append({**batch, "mask": torch.ones(rows), "epoch": torch.tensor(float(epoch))})
    return out
