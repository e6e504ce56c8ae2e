"""Whether a customer was among those that a published recommender learned from: LiRA with shadow trainings.

As in `row_membership`, target and shadows are trainings on random halves of a pool, on the real path. The attacker
knows the customer's history: it hides some of its items and asks the model for them. The statistic is how high they
rank.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tacit.core.protocols import Recommender
from tacit.core.values import Array, Params, Population
from tacit.evaluation.attacks import likelihood_ratio
from tacit.evaluation.attacks.leakage import Leakage
from tacit.evaluation.attacks.protections import Protection
from tacit.evaluation.attacks.scene import Scene, membership
from tacit.evaluation.attacks.view import released

HIDDEN = 1.0 / 3.0  # of a customer's items


@dataclass(frozen=True, slots=True)
class CustomerMembership:
    """Every attacker reads the finished model, so a secure sum changes nothing here; noise does."""

    rate: float = 0.05  # false-positive rate
    worlds: int = 8  # trainings, each on half of the pool
    pool: int = 0  # customers; 0 = twice a cohort, so that as many learn together as in the scene's sums

    @property
    def serves(self) -> tuple[str, ...]:
        """Recommenders."""
        return ("interactions",)

    @property
    def question(self) -> str:
        """In words."""
        return "Was a known customer among those that the published model learned from?"

    def refuses(self, scene: Scene) -> str | None:
        """Models that do not rank, and fewer customers than halves are worth drawing of."""
        if not isinstance(scene.plan.model, Recommender):
            return f"{type(scene.plan.model).__name__} does not rank items"
        count = self._count(scene)
        return None if count >= 40 else f"{count} customers are too few to train on halves of"

    def attempt(self, scene: Scene, protection: Protection) -> Leakage:
        """Leakage of customers, with the figures of the offline attack and of one global threshold."""
        count = self._count(scene)
        source = np.random.default_rng([scene.seed, 5])
        pool = scene.clients.take(np.sort(source.permutation(len(scene.clients))[:count]))
        members = likelihood_ratio.halves(self.worlds, count, source)
        asked = source.random(int(pool.offsets[-1])) >= HIDDEN
        statistics = np.zeros((self.worlds, count))
        for world, inside in enumerate(members):
            plan = replace(scene.plan, seed=scene.plan.seed + world)
            model = released(plan, pool.take(np.flatnonzero(inside)), protection).shared
            statistics[world] = _height(scene, model, pool, asked)
        return likelihood_ratio.leakage("customers", statistics, members, "online", self.rate, scene.seed)

    def _count(self, scene: Scene) -> int:
        return min(self.pool or 2 * scene.cohort, len(scene.clients))


def _height(scene: Scene, model: Params, pool: Population, asked: Array) -> Array:
    """(clients,) mean standardised score of the items that are not `asked` with, (rows,) bool."""
    owner = pool.owner()
    sizes = np.bincount(owner[asked], minlength=len(pool))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    known = Population(pool.schema, offsets, {name: values[asked] for name, values in pool.fields.items()})
    recommender = scene.plan.model
    if scene.plan.algorithm.private(recommender):  # vectors that stay on clients: the shared table is all there is
        table = next(np.asarray(v, np.float64) for v in model.values() if len(v) == pool.schema.items)
        score = membership(known) @ table @ table.T
    else:
        assert isinstance(recommender, Recommender)
        score = np.asarray(recommender.scores(model, {}, known), np.float64)
    score = (score - score.mean(axis=1, keepdims=True)) / np.maximum(score.std(axis=1, keepdims=True), 1e-12)
    hidden = membership(pool) & ~membership(known)
    return np.asarray((score * hidden).sum(axis=1) / np.maximum(hidden.sum(axis=1), 1))
