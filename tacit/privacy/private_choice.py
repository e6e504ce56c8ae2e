"""Choose one of several trainings by what customers' held-out items say of them, and pay for the choice.

R. McKenna, D. Sheldon: "Permute-and-Flip: A New Mechanism for Differentially Private Selection", NeurIPS 2020,
https://arxiv.org/abs/2010.12603, Algorithm 1; never worse than the exponential mechanism (`exponential.py`), which it
replaces here. It is the place of the largest score plus exponential noise (Z. Ding et al.: "The Permute-and-Flip
Mechanism Is Identical to Report-Noisy-Max with Exponential Noise", 2021, https://arxiv.org/abs/2105.07260); one more
customer moves no score down and none up by more than 1, so the others' lead over a place grows or shrinks by 1 at most,
and scores need no factor of 1/2. Differs from the paper: coins are exact, no double decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Array, Event
from tacit.privacy.discrete_noise import coin


@dataclass(frozen=True, slots=True)
class PrivateChoice:
    """Chooses among trainings by the number of customers whose validation item each of them hits.

    The choice alone is released: neither the hits nor how close they were. Of n trainings the chosen one has on average
    no more than log(n) / epsilon hits less than the best.

    Guarantees:
        each place is chosen with its chance.
        the chance of any choice changes by at most a factor of e to the epsilon when a customer joins.
        a place with more hits is at least as likely.
    """

    epsilon: float = 0.1  # of the choice, for each customer; beside what the trainings cost

    def __post_init__(self) -> None:
        if not 0.0 < self.epsilon < math.inf:
            raise ValueError(f"PrivateChoice needs a finite epsilon > 0, got {self.epsilon}")

    def pick(self, hits: Array, source: Randomness) -> int:
        """The place that was chosen.

        Args:
            hits: (n,) whole numbers: customers counted at each place. A customer counts at a place once or not at all.
            source: of the choice.

        Raises:
            ValueError: no hits, or some that are no whole numbers of customers.
        """
        if len(hits) == 0 or not np.all(np.isfinite(hits)) or np.any(hits != np.rint(hits)) or np.min(hits) < 0:
            raise ValueError("PrivateChoice needs whole numbers of hits, at least one")
        best, left = int(np.max(hits)), list(range(len(hits)))
        while True:  # the best is kept whenever its turn comes
            place = left.pop(_below(len(left), source))
            if coin(Fraction(self.epsilon) * (best - int(hits[place])), source):
                return place

    def event(self) -> Event:
        """What the choice costs."""
        return Event("exponential", 1.0 / self.epsilon, "all", 1.0)


def _below(limit: int, source: Randomness) -> int:
    """A whole number from 0 to limit - 1, each as likely."""
    while True:
        word = int.from_bytes(source.bytes(8), "little")
        if word < (1 << 64) // limit * limit:
            return word % limit
