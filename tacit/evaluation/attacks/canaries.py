"""A trainer that has some clients send a crafted vector: canaries, on the path that everybody's contribution takes.

G. Andrew et al., "One-shot Empirical Privacy Estimation for Federated Learning", ICLR 2024,
https://arxiv.org/abs/2302.03098: canary clients send random unit vectors, nearly orthogonal to one another and to all
that is learned. Here they are the clients from number `first` on, without rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tacit.core.protocols import LocalWork, Statistics, Trainer
from tacit.core.trees import flatten, size, unflatten
from tacit.core.values import Array, Params, Population
from tacit.learning.contribution import template
from tacit.learning.trainers.choice import FASTEST
from tacit.privacy.clip import clipped


@dataclass(frozen=True, slots=True)
class Canaries:
    """Clients below `first` do the work; the others send `norm` times their own unit vector, bounded like the rest."""

    first: int = 0  # number of the first canary among all clients
    drawn: int = 0  # vectors that were drawn, for canaries that joined and for those that did not
    marks: tuple[int, ...] = ()  # which of them each canary client sends
    norm: float = 1.0
    seed: int = 0
    inner: Trainer | None = None  # for the others; None = the fastest that serves

    def refuses(self, work: LocalWork | Statistics) -> str | None:
        """What the inner trainer refuses."""
        return None if self.inner is None else self.inner.refuses(work)

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
        """Sums over a cohort: of those who learn, as the inner trainer has them, and of canaries."""
        inner = self.inner or next(trainer for trainer in FASTEST if trainer.refuses(work) is None)
        numbers = cohort + population.first
        nobody = {name: values[:0] for name, values in own.items()}
        like = template(work, shared, nobody, population.schema)
        total = np.zeros(size(like))
        if np.any(numbers < self.first):
            total += flatten(inner.total(work, shared, own, population, cohort[numbers < self.first], seed, clip_norm))
        for number in numbers[numbers >= self.first].tolist():
            vector = self.norm * vectors(len(total), self.drawn, self.seed)[self.marks[number - self.first]]
            total += vector if clip_norm is None else clipped(vector, clip_norm)
        return unflatten(total, like)


@lru_cache(maxsize=2)
def vectors(length: int, count: int, seed: int) -> Array:
    """(count, length) float64 random unit vectors."""
    drawn = np.random.default_rng([seed, length, count]).standard_normal((count, length))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
