"""Whether a customer, all of whose rows the attacker knows, took part in a round: LiRA on what the server received.

The attacker computes what the customer would have sent (batches and negatives follow the plan's public seed) and looks
for it in each message, or in the sum. Shadow worlds are sums over random halves of the candidates: linear algebra, so
thousands of them cost nothing. An attacker that knows this much is the one that differential privacy speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.values import Array
from tacit.evaluation.attacks import likelihood_ratio
from tacit.evaluation.attacks.leakage import Leakage, pooled
from tacit.evaluation.attacks.protections import Protection
from tacit.evaluation.attacks.scene import Scene
from tacit.evaluation.attacks.view import observe
from tacit.privacy.clip import clipped


@dataclass(frozen=True, slots=True)
class SumMembership:
    """Half of twice a cohort takes part. Guessing is a coin; leakage is the share of participants told apart."""

    rate: float = 0.05  # false-positive rate
    worlds: int = 2000  # shadow sums

    @property
    def serves(self) -> tuple[str, ...]:
        """Any data whose clients are people."""
        return ("interactions", "tabular")

    @property
    def question(self) -> str:
        """In words."""
        return "Did a known customer take part in a round?"

    def refuses(self, scene: Scene) -> str | None:
        """Fewer than 20 clients: no rate of 5 % can be told apart."""
        few = len(scene.clients) < 20
        return f"{len(scene.clients)} clients are too few to take half of them" if few else None

    def attempt(self, scene: Scene, protection: Protection) -> Leakage:
        """Leakage of customers."""
        source = np.random.default_rng([scene.seed, 1])
        size = min(scene.cohort, len(scene.clients) // 2)
        pool = source.permutation(len(scene.clients))[: 2 * size]
        inside = np.zeros(len(pool), bool)
        inside[source.permutation(len(pool))[:size]] = True
        numbers = np.arange(len(pool))
        took = scene.clients.take(pool[inside])
        view = observe(scene.plan, took, protection, numbers[inside])
        own = observe(scene.plan, scene.clients.take(pool), Protection(), numbers).each
        assert own is not None
        bounds = [t.bound for t in protection.protect if t.bound is not None]
        if bounds:
            own = np.stack([clipped(u, min(bounds)) for u in own])
        length = np.maximum(np.linalg.norm(own, axis=1), 1e-12)
        if view.each is not None:
            sizes = np.maximum(np.linalg.norm(view.each, axis=1), 1e-12)
            score = np.max((own @ view.each.T) / length[:, None] / sizes[None, :], axis=1)
        else:
            gram = own @ own.T / length[None, :]
            coins = _halves(source, self.worlds, len(pool), size)
            shadows = coins @ gram + protection.noise(size) * source.standard_normal((self.worlds, len(pool)))
            score = likelihood_ratio.online(own @ view.released / length, shadows, coins)
        return pooled("customers", inside, score, np.zeros(len(pool)), self.rate, seed=scene.seed)


def _halves(source: np.random.Generator, worlds: int, pool: int, size: int) -> Array:
    """(worlds, pool) bool with `size` ones in each row."""
    order = np.argsort(source.random((worlds, pool)), axis=1)
    return np.asarray(order < size)
