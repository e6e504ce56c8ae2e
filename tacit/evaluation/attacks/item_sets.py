"""Which items a customer has, read off its updates (or off sums that it is in), of one round or of several.

An item table moves only in the rows that a client learned from, and the direction tells bought from drawn: what fits
moves along the customer's vector, what does not, against it. Statistics name items even more plainly (a count per
item, the diagonal of a Gram matrix). W. Yuan et al., "Interaction-Level Membership Inference Attack Against Federated
Recommender Systems", WWW 2023, https://arxiv.org/abs/2301.10964. Differs from the paper: no shadow training; signs of
the leading direction, weighed against popularity by a logistic regression on clients that the attacker knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tacit.core.trees import unflatten
from tacit.core.values import Array, Params, Population, Vector
from tacit.evaluation.attacks import logistic
from tacit.evaluation.attacks.leakage import Leakage, per_group
from tacit.evaluation.attacks.protections import Protection
from tacit.evaluation.attacks.scene import Scene, membership
from tacit.evaluation.attacks.view import observe, watch

TEACHERS = 40  # known clients on whose messages the attacker learns to read


@dataclass(frozen=True, slots=True)
class ItemSets:
    """Rank all items by what the message says of them and by popularity; leakage is beyond popularity alone."""

    rate: float = 0.01  # false-positive rate
    rounds: int = 1  # that the attacker saw

    @property
    def serves(self) -> tuple[str, ...]:
        """Recommenders."""
        return ("interactions",)

    @property
    def question(self) -> str:
        """In words."""
        return "Which items does a customer have" + (f", by {self.rounds} rounds?" if self.rounds > 1 else "?")

    def over(self, rounds: int) -> ItemSets:
        """The same attack by what so many rounds show."""
        return replace(self, rounds=rounds)

    def refuses(self, scene: Scene) -> str | None:
        """Contributions that say nothing item by item."""
        like = observe(scene.plan, scene.clients.take([0]), Protection()).like
        if _parts(like, scene.clients.schema.items):
            return None
        return f"a contribution to {type(scene.plan.model).__name__} holds no part that is laid out by items"

    def attempt(self, scene: Scene, protection: Protection) -> Leakage:
        """Leakage of items, a question for each customer of the cohort."""
        targets, known = scene.sides()
        mine, public = scene.clients.take(targets), scene.clients.take(known)
        popular = popularity(membership(public))
        score = read(scene, mine, protection, popular, known, self.rounds)
        truth = membership(mine)
        return per_group("items", truth, score, np.broadcast_to(popular, truth.shape), self.rate, scene.seed)


def popularity(has: Array) -> Array:
    """(items,) logarithm of each item's share of the customers (customers, items), smoothed."""
    return np.asarray(np.log((has.sum(axis=0) + 0.5) / (len(has) + 1.0)))


def read(
    scene: Scene, clients: Population, protection: Protection, popular: Array, known: Array, rounds: int = 1
) -> Array:
    """(clients, items) log odds that a client has an item, from what the attacker sees of them and from popularity.

    How to weigh the two is learned on known clients, observed under the same protection: their sum is one of as many
    clients as the target's (as far as there are so many), so that it is as blurred. Evidence is averaged over rounds.
    """
    each = protection.reads == "each"
    teachers = scene.clients.take(known[: TEACHERS if each else len(clients)])
    asked = _evidence(scene, clients, protection, popular, rounds, len(clients) if each else 1)
    taught = _evidence(scene, teachers, protection, popular, rounds, TEACHERS if each else 1)
    answers = membership(teachers)[: len(taught) if each else TEACHERS]
    taught = np.broadcast_to(taught, (len(answers), *taught.shape[1:]))
    weights = logistic.fit(taught.reshape(-1, taught.shape[2]), answers.ravel(), ridge=1e-3)
    scores = np.stack([logistic.score(one, weights) for one in asked])
    return np.broadcast_to(scores, (len(clients), scores.shape[1]))


def _evidence(
    scene: Scene, clients: Population, protection: Protection, popular: Array, rounds: int, count: int
) -> Array:
    """(count, items, features) what rounds show of each of so many of these clients, or of their sum."""
    total: Array | float = 0.0
    items = scene.clients.schema.items
    for view in watch(scene.plan, clients, protection, rounds):
        several = range(min(count, len(clients)))
        total = total + np.stack([evidence(view.of(c), view.like, items, popular) for c in several])
    return np.asarray(total) / rounds


def evidence(vector: Vector, like: Params, items: int, popular: Array) -> Array:
    """(items, features): for each part laid out by items its size, its signed place on the leading axis, its sign."""
    columns = [popular]
    arrays = unflatten(vector, like)
    for name in _parts(like, items):
        part = np.asarray(arrays[name], np.float64)
        if part.shape[0] != items:
            part = part[_diagonal(items)]
        flat = part.reshape(items, -1)
        size = np.linalg.norm(flat, axis=1)
        along = flat[:, 0] if flat.shape[1] == 1 else _along(flat)
        unit = float(np.sqrt(np.mean(np.square(along)))) or 1.0
        columns += [np.log1p(size / (float(size.mean()) or 1.0)), along / unit, np.sign(along)]
    return np.stack(columns, axis=1)


def _along(flat: Array) -> Array:
    """(items,) place on the leading direction, turned so that the fewer items (bought, not drawn) lie ahead."""
    _, vectors = np.linalg.eigh(flat.T @ flat)
    along = flat @ vectors[:, -1]
    return np.asarray(along if np.sum(along > 0.0) <= np.sum(along < 0.0) else -along)


def _parts(like: Params, items: int) -> list[str]:
    found = (items, items * (items + 1) // 2)
    return [name for name, value in sorted(like.items()) if np.shape(value) and np.shape(value)[0] in found]


def _diagonal(items: int) -> Array:
    """Places of the diagonal in a packed triangle."""
    i = np.arange(items)
    return i * items - i * (i - 1) // 2
