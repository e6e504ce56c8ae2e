"""What "data leakage" means everywhere in tacit.

Data leakage is the share of customers (or items, or rows) that an attacker recovers beyond guessing from public
knowledge, at a stated false-positive rate, with its interval:

    share = recovered(rate) - guessed(rate)

where recovered(rate) is the attacker's true-positive rate at that false-positive rate, and guessed(rate) that of
somebody who has seen no message and no model, and ranks by what is public (popularity of items, shares of a
population). 0 says that the messages told nothing; a negative figure, that they misled.

True-positive rates at low false-positive rates instead of accuracy: N. Carlini et al., "Membership Inference Attacks
From First Principles", S&P 2022, https://arxiv.org/abs/2112.03570.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tacit.core.values import Array
from tacit.evaluation.bootstrap import LEVEL, bounds, interval


@dataclass(frozen=True, slots=True)
class Leakage:
    """One attack against one protection; shares between 0 and 1. Names nobody."""

    unit: str  # what is recovered: "items", "customers", "rows"
    rate: float  # false-positive rate at which shares are stated
    recovered: float  # share that the attacker recovers
    guessed: float  # share that public knowledge recovers
    low: float  # interval of the difference, 95 %
    high: float
    tried: int  # how many groups (customers, or rows) the interval is over
    auc: float | None = None
    guessed_auc: float | None = None
    more: Mapping[str, float] | None = None  # further figures that an attack states

    @property
    def share(self) -> float:
        """Data leakage: what is recovered beyond guessing."""
        return self.recovered - self.guessed

    @property
    def broken(self) -> bool:
        """Whether the attack works: its interval lies above 0."""
        return self.low > 0.0

    def summary(self) -> dict[str, Any]:
        """For report.json."""
        return {**{k: v for k, v in asdict(self).items() if v is not None}, "share": self.share, "broken": self.broken}


def recovered_at(truth: Array, score: Array, rate: float) -> float:
    """True-positive rate at a false-positive rate, both (n,); equal scores are ordered by a fair coin, on average.

    NaN where there is no positive or no negative.
    """
    x, y = roc(truth, score)
    if not len(x):
        return float("nan")
    at = int(np.searchsorted(x, rate, side="right")) - 1
    if at + 1 >= len(x):
        return 1.0
    return float(y[at] + (rate - x[at]) / (x[at + 1] - x[at]) * (y[at + 1] - y[at]))


def roc(truth: Array, score: Array) -> tuple[Array, Array]:
    """(false-positive rates, true-positive rates) at every distinct score, from (0, 0) to (1, 1), both rising."""
    truth = np.asarray(truth, bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-np.asarray(score, np.float64), kind="stable")
    ranked, values = truth[order], np.asarray(score, np.float64)[order]
    last = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    found = np.cumsum(ranked)[last]
    wrong = last + 1 - found
    return np.append(0.0, wrong / negatives), np.append(0.0, found / positives)


def auc(truth: Array, score: Array) -> float:
    """Chance that a positive scores above a negative, a tie counting half; NaN without either."""
    truth = np.asarray(truth, bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    _, place, times = np.unique(np.asarray(score, np.float64), return_inverse=True, return_counts=True)
    rank = (np.cumsum(times) - (times - 1) / 2.0)[place]
    return float((rank[truth].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def per_group(unit: str, truth: Array, score: Array, guess: Array, rate: float, seed: int = 0) -> Leakage:
    """Leakage where every row of (groups, candidates) is a question of its own: one customer's items.

    Shares are means over groups; the interval is a bootstrap over groups. Groups without a positive or a negative are
    left out.
    """
    rows = [g for g in range(len(truth)) if 0 < int(np.sum(truth[g])) < truth.shape[1]]
    found = np.array([recovered_at(truth[g], score[g], rate) for g in rows])
    public = np.array([recovered_at(truth[g], guess[g], rate) for g in rows])
    low, high = interval(found - public, seed=seed)
    area, public_area = (float(np.mean([auc(truth[g], part[g]) for g in rows])) for part in (score, guess))
    return Leakage(unit, rate, float(found.mean()), float(public.mean()), low, high, len(rows), area, public_area)


def pooled(
    unit: str, truth: Array, score: Array, guess: Array, rate: float, owner: Array | None = None, seed: int = 0
) -> Leakage:
    """Leakage where all candidates (n,) share one threshold: who is a member. Bootstrap over owners of candidates."""
    owner = np.arange(len(truth)) if owner is None else np.unique(owner, return_inverse=True)[1]
    groups = int(owner.max()) + 1
    source = np.random.default_rng(seed)
    members = [np.flatnonzero(owner == g) for g in range(groups)] if groups < len(truth) else None
    differences = []
    for _ in range(1 if score is guess else 400):  # who only guesses gains nothing, whoever is drawn
        drawn = source.integers(0, groups, groups)
        index = drawn if members is None else np.concatenate([members[g] for g in drawn])
        a, b = (recovered_at(truth[index], part[index], rate) for part in (score, guess))
        differences.append(a - b)
    low, high = bounds(np.array(differences)[:, None], LEVEL)
    found, public = recovered_at(truth, score, rate), recovered_at(truth, guess, rate)
    areas = auc(truth, score), auc(truth, guess)
    return Leakage(unit, rate, found, public, float(low[0]), float(high[0]), groups, *areas)


def exact(unit: str, hits: Array, of: Array, guessed: float, wrong: float, seed: int = 0) -> Leakage:
    """Leakage of an attack that names whole rows: `hits` of `of` rows of each group (groups,) were named exactly.

    `wrong` is the share of what it named that was no row: the false-positive rate that goes with the figure.
    """
    share = np.asarray(hits, np.float64) / np.maximum(np.asarray(of, np.float64), 1.0)
    low, high = interval(share - guessed, seed=seed)
    return Leakage(unit, wrong, float(share.mean()), guessed, low, high, len(share))
