"""Whether a customer, all of whose rows the attacker knows, took part: LiRA on what the server received.

The attacker computes what the customer would have sent (batches and negatives follow the plan's public seed) and looks
for it in each message, or in the sum. Shadow worlds are sums over random halves of the candidates: linear algebra, so
thousands of them cost nothing. Over several rounds inner products add up, each round weighed by how far it tells in
from out. An attacker that knows this much is the one that differential privacy speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tacit.core.values import Array
from tacit.evaluation.attacks import likelihood_ratio
from tacit.evaluation.attacks.leakage import Leakage, pooled, recovered_at
from tacit.evaluation.attacks.protections import Protection
from tacit.evaluation.attacks.scene import Scene
from tacit.evaluation.attacks.view import Puppets, watch
from tacit.privacy.clip import clipped


@dataclass(frozen=True, slots=True)
class SumMembership:
    """Half of twice a cohort takes part. Guessing is a coin; leakage is the share of participants told apart."""

    rate: float = 0.05  # false-positive rate
    worlds: int = 2000  # shadow sums
    rounds: int = 1  # that the attacker saw; who takes part is in all of them

    @property
    def serves(self) -> tuple[str, ...]:
        """Any data whose clients are people."""
        return ("interactions", "tabular")

    @property
    def question(self) -> str:
        """In words."""
        return f"Did a known customer take part in {f'{self.rounds} rounds' if self.rounds > 1 else 'a round'}?"

    def over(self, rounds: int) -> SumMembership:
        """The same attack by what so many rounds show."""
        return replace(self, rounds=rounds)

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
        puppets = Puppets(scene.plan, scene.clients.take(pool), self.rounds, numbers)
        bounds = [t.bound for t in protection.protect if t.bound is not None]
        coins = _halves(source, self.worlds, len(pool), size)
        observed, shadows = np.zeros(len(pool)), np.zeros((self.worlds, len(pool)))
        near = np.zeros((len(pool), size))
        for view in watch(scene.plan, took, protection, self.rounds, numbers[inside]):
            own = puppets.answers(view.shared)
            if bounds:
                own = np.stack([clipped(u, min(bounds)) for u in own])
            length = np.maximum(np.linalg.norm(own, axis=1), 1e-12)
            if view.each is not None:  # whose message is whose shows: the same client in each round
                sizes = np.maximum(np.linalg.norm(view.each, axis=1), 1e-12)
                near += (own @ view.each.T) / length[:, None] / sizes[None, :]
                continue
            gram = own @ own.T / length[None, :]
            noise = source.standard_normal((self.worlds, len(pool)))
            world = coins @ gram + protection.noise(size) * noise
            weight = length / np.maximum((world - coins * length).var(axis=0), 1e-24)
            observed += weight * (own @ view.released / length)
            shadows += weight * world
        summed = protection.reads == "sum"
        score = likelihood_ratio.online(observed, shadows, coins) if summed else np.max(near, axis=1)
        out = pooled("customers", inside, score, np.zeros(len(pool)), self.rate, seed=scene.seed)
        return replace(out, more={f"at {rate:g}": recovered_at(inside, score, rate) for rate in (0.001, 0.01)})


def _halves(source: np.random.Generator, worlds: int, pool: int, size: int) -> Array:
    """(worlds, pool) bool with `size` ones in each row."""
    order = np.argsort(source.random((worlds, pool)), axis=1)
    return np.asarray(order < size)
