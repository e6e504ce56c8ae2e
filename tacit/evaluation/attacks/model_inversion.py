"""A customer's other items, read out of the published model by somebody who knows one rare item of it.

J. Calandrino et al., "You Might Also Like: Privacy Risks of Collaborative Filtering", S&P 2011. Where an item has few
owners, its neighbours in the model are their histories. The model is what a training is for: a secure sum does not
hide it, and only noise (or learning less from one customer) does. Differs from the paper: the finished model, once,
instead of its changes over time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Recommender
from tacit.core.values import Array, Params, Population, Schema
from tacit.evaluation.attacks import logistic
from tacit.evaluation.attacks.item_sets import popularity
from tacit.evaluation.attacks.leakage import Leakage, per_group
from tacit.evaluation.attacks.protections import Protection
from tacit.evaluation.attacks.scene import Scene, membership
from tacit.evaluation.attacks.view import released


@dataclass(frozen=True, slots=True)
class ModelInversion:
    """Rank all items by the model for a stranger who has only the target's rarest item; leakage beyond popularity."""

    rate: float = 0.01  # false-positive rate

    @property
    def serves(self) -> tuple[str, ...]:
        """Recommenders."""
        return ("interactions",)

    @property
    def question(self) -> str:
        """In words."""
        return "What else does the owner of a rare item have, by the published model?"

    def refuses(self, scene: Scene) -> str | None:
        """Models that do not rank, or that publish nothing item by item."""
        named = isinstance(scene.plan.model, Recommender)
        return None if named else f"{type(scene.plan.model).__name__} does not rank items"

    def attempt(self, scene: Scene, protection: Protection) -> Leakage:
        """Leakage of items, a question for each customer of the cohort; the model learned from all of the cohort."""
        targets, known = scene.sides()
        popular = popularity(membership(scene.clients.take(known)))
        seen, truth, guess = self._asked(scene, targets, protection, popular)
        taught, answers, _ = self._asked(scene, known[: len(targets)], protection, popular)
        weights = logistic.fit(taught.reshape(-1, taught.shape[2]), answers.ravel(), ridge=1e-3)
        return per_group("items", truth, logistic.score(seen, weights), guess, self.rate, scene.seed)

    def _asked(
        self, scene: Scene, clients: Array, protection: Protection, popular: Array
    ) -> tuple[Array, Array, Array]:
        """Of a model trained on these clients: (clients, items - 1, 3) features, who has what, and popularity.

        Features are popularity, the model's score for who has the client's rarest item, and whether that is high. The
        rarest item is known before: neither found nor missed.
        """
        mine = scene.clients.take(clients)
        model = released(scene.plan, mine, protection).shared
        truth = membership(mine)
        rare = np.argmin(np.where(truth, truth.sum(axis=0), len(truth) + 1), axis=1)
        score = neighbours(scene, model, rare)
        rows = np.arange(len(rare))[:, None]
        others = np.stack([np.delete(np.arange(truth.shape[1]), item) for item in rare])
        score, truth = score[rows, others], truth[rows, others]
        scaled = (score - score.mean(axis=1, keepdims=True)) / np.maximum(score.std(axis=1, keepdims=True), 1e-12)
        guess = popular[others]
        return np.stack([guess, scaled, np.maximum(scaled - 2.0, 0.0)], axis=2), truth, guess


def neighbours(scene: Scene, model: Params, items: Array) -> Array:
    """(targets, items) what the model ranks for strangers with one item each.

    A model with private vectors cannot be asked for a stranger: its shared item table is, by inner products.
    """
    recommender = scene.plan.model
    if scene.plan.algorithm.private(recommender):
        table = next(np.asarray(v, np.float64) for v in model.values() if len(v) == scene.clients.schema.items)
        return np.asarray(table[items] @ table.T)
    assert isinstance(recommender, Recommender)
    return np.asarray(recommender.scores(model, {}, _strangers(scene.clients.schema, items)), np.float64)


def _strangers(schema: Schema, items: Array) -> Population:
    """One invented client for each item, with this item alone."""
    count = len(items)
    fields: dict[str, Array] = {
        "item": items.astype(np.int32),
        "rating": np.full(count, 5.0, np.float32),
        "time": np.arange(count),
    }
    return Population(schema, np.arange(count + 1, dtype=np.int64), fields)
