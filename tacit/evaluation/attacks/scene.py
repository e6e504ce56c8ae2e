"""What an attack is staged on: a plan's model and algorithm, clients, and facts that they have not told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from tacit.core.plan import Plan
from tacit.core.values import Array, Population
from tacit.evaluation.attacks.leakage import Leakage
from tacit.evaluation.attacks.protections import Protection


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Scene:
    """A stage. `plan` is of one training, without `also`; every attack puts its own protection into it.

    A random cohort, at most half of the clients, is attacked; the others are what the attacker knows: people like them,
    whose rows it has (public profiles, own customers). Popularity and shares are counted on these.
    """

    plan: Plan
    clients: Population
    attributes: Mapping[str, Array] = field(default_factory=dict)  # name -> (clients,) str, known of the other half
    cohort: int = 100  # clients in one sum
    seed: int = 0

    def __repr__(self) -> str:
        """Shows sizes only."""
        return f"Scene({len(self.clients)} clients, sums of {self.cohort})"

    @property
    def kind(self) -> str:
        """interactions or tabular."""
        return self.clients.schema.kind

    def sides(self, most: int = 0) -> tuple[Array, Array]:
        """(targets, known): a cohort of clients (or `most`) under attack, and those that the attacker knows."""
        order = np.random.default_rng(self.seed).permutation(len(self.clients))
        half = min(most or self.cohort, len(order) // 2)
        return np.sort(order[:half]), np.sort(order[half:])


@runtime_checkable
class Attack(Protocol):
    """One attack: a frozen value; all randomness comes from the scene's seed."""

    @property
    def serves(self) -> tuple[str, ...]:
        """Kinds of data: "interactions", "tabular"."""

    @property
    def question(self) -> str:
        """What the attacker wants to know, in words."""

    def refuses(self, scene: Scene) -> str | None:
        """Why it cannot be staged there, or None."""

    def attempt(self, scene: Scene, protection: Protection) -> Leakage:
        """What it recovers under a protection."""


def membership(population: Population) -> Array:
    """(clients, items) bool: who has what."""
    out = np.zeros((len(population), population.schema.items), bool)
    out[population.owner(), population.fields["item"]] = True
    return out
