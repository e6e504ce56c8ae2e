"""A trainer that has some clients send a crafted vector: canaries, on the path that everybody's contribution takes.

G. Andrew et al., "One-shot Empirical Privacy Estimation for Federated Learning", ICLR 2024,
https://arxiv.org/abs/2302.03098: canary clients send random unit vectors, nearly orthogonal to one another and to all
that is learned. Here they are the clients from number `first` on, without rows. Differs from the paper: where a
contribution is long, a vector is spread over 4,096 random places of it, which keeps the inner products of two vectors
as small (variance 1 / length) and a thousand vectors in memory.
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

SPREAD = 4096  # places that one vector fills, at most


@dataclass(frozen=True, slots=True)
class Canaries:
    """Clients below `first` do the work; the others send `norm` times their own unit vector, bounded like the rest."""

    first: int = 0  # number of the first canary among all clients
    sends: tuple[int, ...] = ()  # what each canary sends: its vector (1), its opposite (-1), or zeros (0)
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
        marks = Marks(len(total), len(self.sends), self.seed)
        for canary in (numbers[numbers >= self.first] - self.first).tolist():
            values = self.norm * self.sends[canary] * marks.values[canary]
            total[marks.places[canary]] += values if clip_norm is None else clipped(values, clip_norm)
        return unflatten(total, like)


@dataclass(frozen=True, slots=True)
class Marks:
    """The canaries' unit vectors in a contribution of `length` values: a function of the seed."""

    length: int
    count: int
    seed: int = 0

    @property
    def places(self) -> Array:
        """(count, k) where each vector is not 0, each place once."""
        return _drawn(self.length, self.count, self.seed)[0]

    @property
    def values(self) -> Array:
        """(count, k) float64 what stands there, of norm 1."""
        return _drawn(self.length, self.count, self.seed)[1]

    def along(self, vector: Array) -> Array:
        """(count,) inner products with one vector (length,), or with one for each (count, length)."""
        places, values = _drawn(self.length, self.count, self.seed)
        found = vector[places] if vector.ndim == 1 else np.take_along_axis(vector, places, axis=1)
        return np.asarray(np.einsum("ck,ck->c", found, values))


@lru_cache(maxsize=2)
def _drawn(length: int, count: int, seed: int) -> tuple[Array, Array]:
    source = np.random.default_rng([seed, length, count])
    k = min(length, SPREAD)
    drawn = source.standard_normal((count, k))
    if k == length:
        places = np.broadcast_to(np.arange(length), (count, k))
    else:
        places = np.stack([source.choice(length, k, replace=False, shuffle=False) for _ in range(count)])
    return places, np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
