"""LiRA: how much likelier a statistic is if a record took part than if it did not, by shadow worlds with and without.

N. Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022, https://arxiv.org/abs/2112.03570,
algorithm 1 (online) and section VI-C (offline). The global threshold beside it is S. Yeom et al., CSF 2018.
Differs from the paper: one variance for all records (its own advice for few shadows), with each record's own mean.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tacit.core.values import Array
from tacit.evaluation.attacks.leakage import Leakage, auc, pooled, recovered_at


def online(observed: Array, shadows: Array, members: Array) -> Array:
    """(records,) log likelihood ratios of statistics (records,), by shadows (worlds, records) and who was in them.

    A record that was in all worlds or in none scores 0.
    """
    inside, outside = _moments(shadows, members), _moments(shadows, ~members)
    ratio = _log_density(observed, *inside) - _log_density(observed, *outside)
    return np.asarray(np.where(np.isfinite(ratio), ratio, 0.0))


def offline(observed: Array, shadows: Array, members: Array) -> Array:
    """(records,) how far a statistic lies above those of worlds without the record, in standard deviations."""
    mean, spread = _moments(shadows, ~members)
    score = (observed - mean) / spread
    return np.asarray(np.where(np.isfinite(score), score, 0.0))


def each_world(statistics: Array, members: Array) -> dict[str, Array]:
    """Name -> (worlds * records,) scores: every world is the target once, judged by all others; and one threshold."""
    scores: dict[str, list[Array]] = {"online": [], "offline": []}
    for world in range(len(statistics)):
        others = np.arange(len(statistics)) != world
        for name, rule in (("online", online), ("offline", offline)):
            scores[name].append(rule(statistics[world], statistics[others], members[others]))
    return {name: np.concatenate(parts) for name, parts in scores.items()} | {"threshold": statistics.ravel()}


def halves(worlds: int, records: int, source: np.random.Generator) -> Array:
    """(worlds, records) bool: who is in which world; half of all in each, at random."""
    return np.asarray(np.argsort(source.random((worlds, records)), axis=1) < records // 2)


def leakage(unit: str, statistics: Array, members: Array, rule: str, rate: float, seed: int) -> Leakage:
    """Leakage by the scores of one rule ("online" or "offline"), with the figures of every kind of score."""
    truth, found = members.ravel(), each_world(statistics, members)
    owner = np.tile(np.arange(members.shape[1]), len(members))
    out = pooled(unit, truth, found[rule], np.zeros(len(truth)), rate, owner, seed)
    return replace(out, more=figures(truth, found))


def figures(truth: Array, scores: dict[str, Array]) -> dict[str, float]:
    """AUC and true-positive rates at 0.1 % and 1 % false positives of every kind of score."""
    out: dict[str, float] = {}
    for name, score in scores.items():
        out[f"{name} auc"] = auc(truth, score)
        for rate in (0.001, 0.01):
            out[f"{name} at {rate:g}"] = recovered_at(truth, score, rate)
    return out


def _moments(shadows: Array, which: Array) -> tuple[Array, Array]:
    """Each record's mean over its worlds, and one standard deviation around these means."""
    counts = which.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(which, shadows, 0.0).sum(axis=0) / counts
        apart = np.where(which, shadows - mean, 0.0)
        freedom = np.maximum(counts - 1, 0).sum()
        spread = np.sqrt(np.square(np.nan_to_num(apart)).sum() / freedom) if freedom else np.nan
    return mean, np.maximum(spread, 1e-12)


def _log_density(x: Array, mean: Array, spread: Array) -> Array:
    return np.asarray(-0.5 * np.square((x - mean) / spread) - np.log(spread))
