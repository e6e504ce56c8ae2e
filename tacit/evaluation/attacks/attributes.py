"""What a customer has not told (gender, age band), guessed from its message by those who told.

U. Weinsberg et al., "BlurMe: Inferring and Obfuscating User Gender Based on Ratings", RecSys 2012. Differs from the
paper: the attacker has no ratings, only a message; it reads the item set off it first (see `item_sets`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tacit.core.values import Array
from tacit.evaluation.attacks.item_sets import ItemSets, popularity, read
from tacit.evaluation.attacks.leakage import Leakage, pooled
from tacit.evaluation.attacks.protections import Protection
from tacit.evaluation.attacks.scene import Scene, membership


@dataclass(frozen=True, slots=True)
class Attributes:
    """A ridge classifier learned on known customers' items, asked about those read from messages.

    Every pair of customer and possible value is a candidate. Guessing is by the shares of the values among the known.
    """

    attribute: str = "gender"
    rate: float = 0.1  # false-positive rate over (customer, value) pairs
    ridge: float = 0.3
    targets: int = 400  # asked about, where each message can be read; else a sum's cohort
    rounds: int = 1  # that the attacker saw

    @property
    def serves(self) -> tuple[str, ...]:
        """Recommenders."""
        return ("interactions",)

    @property
    def question(self) -> str:
        """In words."""
        return f"What is a customer's {self.attribute.replace('_', ' ')}?"

    def variants(self, scene: Scene) -> list[Attributes]:
        """One for each attribute of few values that the scene's clients have."""
        names = [n for n, values in scene.attributes.items() if 2 <= len(np.unique(values)) <= 12]
        return [replace(self, attribute=name) for name in sorted(names)]

    def refuses(self, scene: Scene) -> str | None:
        """Data without the attribute, or contributions that say nothing item by item."""
        if self.attribute not in scene.attributes:
            return f"these data hold no {self.attribute.replace('_', ' ')}"
        return ItemSets().refuses(scene)

    def attempt(self, scene: Scene, protection: Protection) -> Leakage:
        """Leakage of customers."""
        targets, known = scene.sides(self.targets if protection.reads == "each" else 0)
        values, told = np.unique(scene.attributes[self.attribute], return_inverse=True)
        has = membership(scene.clients.take(known))
        truth = told[targets][:, None] == np.arange(len(values))
        shares = np.bincount(told[known], minlength=len(values)) / len(known)
        guess = np.broadcast_to(shares, truth.shape)
        owner = np.repeat(np.arange(len(targets)), len(values))
        if protection.reads == "sum":  # it says the same of all its members: nobody is told apart
            flat = guess.ravel()
            return pooled("customers", truth.ravel(), flat, flat, self.rate, owner, scene.seed)
        odds = read(scene, scene.clients.take(targets), protection, popularity(has), known, self.rounds)
        believed = 1.0 / (1.0 + np.exp(-np.clip(odds, -35.0, 35.0)))
        score = shares + _ridge(has, np.eye(len(values))[told[known]] - shares, believed, self.ridge)
        return pooled("customers", truth.ravel(), score.ravel(), guess.ravel(), self.rate, owner, scene.seed)


def _ridge(has: Array, y: Array, asked: Array, ridge: float) -> Array:
    """(asked, k) least-squares predictions of y (known, k), from rows of length 1 around the known mean."""
    x, z = _unit(np.asarray(has, np.float64)), _unit(asked)
    centre = x.mean(axis=0)
    x, z = x - centre, z - centre
    weights = np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), y)
    return np.asarray(z @ (x.T @ weights))


def _unit(rows: Array) -> Array:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
