"""The exponential mechanism: choose one of several by noisy score.

F. McSherry, K. Talwar: "Mechanism Design via Differential Privacy", FOCS 2007. Drawn as the largest score plus Gumbel
noise (the "Gumbel max trick"), which has the same distribution. Differs from a hardened sampler: the noise is in
doubles, so chances below about 2^-50 are not exact; only the place of the largest is released, never its value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Array, Event


@dataclass(frozen=True, slots=True)
class Exponential:
    """Chooses place i with a chance proportional to exp(epsilon * score_i / (2 * sensitivity)).

    Guarantees:
        each place is chosen with its chance.
        the chance of any choice changes by at most a factor of e to the epsilon.
    """

    epsilon: float = 1.0  # of one choice
    sensitivity: float = 1.0  # by which one unit can move any score
    monotone: bool = False  # a unit moves all scores the same way (counts): half the noise for the same epsilon

    def __post_init__(self) -> None:
        if not 0.0 < self.epsilon < math.inf or not 0.0 < self.sensitivity < math.inf:
            raise ValueError(
                f"Exponential needs finite epsilon and sensitivity > 0, got {self.epsilon}, {self.sensitivity}"
            )

    def _logits(self, scores: Array) -> Array:
        if len(scores) == 0 or not np.all(np.isfinite(scores)):
            raise ValueError("Exponential needs at least one score, all of them finite")
        scale = self.epsilon / (self.sensitivity if self.monotone else 2.0 * self.sensitivity)
        return np.asarray(np.asarray(scores, np.float64) * scale)

    def chances(self, scores: Array) -> Array:
        """(n,) with which each place is chosen."""
        logits = self._logits(scores)
        weights = np.exp(logits - logits.max())
        return np.asarray(weights / weights.sum())

    def choose(self, scores: Array, source: Randomness) -> int:
        """The place that was chosen.

        Raises:
            ValueError: no scores, or one that is not finite.
        """
        logits = self._logits(scores)
        return int(np.argmax(logits - np.log(-np.log(source.uniform(len(logits))))))

    def event(self) -> Event:
        """What one choice costs."""
        return Event("exponential", 1.0 / self.epsilon, "all", 1.0)
