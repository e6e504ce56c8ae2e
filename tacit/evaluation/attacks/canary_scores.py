"""How likely each canary was in a training, by what was released of every round.

The statistic is the log likelihood ratio of "its vector" against "nothing" (or "its opposite"), under the noise and the
sampling that the plan claims: a training that draws its cohorts hides in which rounds a canary spoke, so each round is
weighed by the chance that it did (the mixture in section 3 of M. Abadi et al., "Deep Learning with Differential
Privacy", CCS 2016, https://arxiv.org/abs/1607.00133). Where everybody speaks in each round, it is the sum of inner
products over rounds that G. Andrew et al., ICLR 2024, https://arxiv.org/abs/2302.03098, take.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.values import Array

SHARES = (0.25, 0.5, 0.75)  # of the way between what canaries score that stayed out and that joined, as expected
DRAWS = 4000


@dataclass(frozen=True, slots=True)
class Game:
    """What a canary does: it joins by a fair coin, and speaks in each round that draws it."""

    noise: tuple[float, ...] = (1.0,)  # standard deviation along a canary in each round, in clip norms
    rate: float = 1.0  # chance that a client is drawn in a round
    replace: bool = False  # who stays out sends the opposite vector instead of zeros

    def scores(self, seen: Array) -> Array:
        """(canaries,) log likelihood ratios over all rounds, of inner products over the clip norm (rounds, canaries).

        NaN stands where a canary is known to have been silent.
        """
        width = np.square(self.noise)[:, None]
        joined = (2.0 * seen - 1.0) / (2.0 * width)  # against a round in which it was silent
        opposite = (-2.0 * seen - 1.0) / (2.0 * width)
        out = self._mixed(joined) - (self._mixed(opposite) if self.replace else 0.0)
        return np.asarray(np.nansum(out, axis=0))

    def _mixed(self, ratio: Array) -> Array:
        """Log of (1 - rate) + rate * exp(ratio)."""
        if self.rate >= 1.0:
            return ratio
        return np.asarray(np.logaddexp(np.log1p(-self.rate), np.log(self.rate) + ratio))

    def thresholds(self, shown: Array) -> list[float]:
        """Scores at which canaries are called found: from claims and public cohorts alone, not from what was seen."""
        source = np.random.default_rng(0)
        chance = self.rate * np.mean(~np.isnan(shown), axis=1)  # of speaking, in each round
        spoken = source.random((len(self.noise), DRAWS)) < chance[:, None]
        blur = np.array(self.noise)[:, None] * source.standard_normal(spoken.shape) if self.rate < 1.0 else 0.0
        one = np.where(spoken, 1.0, 0.0 if self.rate < 1.0 else np.nan)
        found = float(self.scores(one + blur).mean())
        absent = float(self.scores((-one if self.replace else 0.0 * one) + blur).mean())
        return [absent + share * (found - absent) for share in SHARES]
