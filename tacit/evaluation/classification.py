"""Quality of a classifier's probabilities, with bootstrap intervals over customers or over rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tacit.core.values import Array
from tacit.evaluation.bootstrap import bounds, resamples
from tacit.evaluation.errors import ScoreError
from tacit.evaluation.kernel import kernel

METRICS = ("accuracy", "precision", "recall", "f1", "auc", "log_loss")
_ABREAST = 64  # resamples whose AUC is computed side by side
_TINY = 1e-15  # log loss of a confident mistake stays finite: at most 34.5 nats


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Classification:
    """Labels and probabilities of the same rows, and whose rows they are. Personal until averaged.

    Raises:
        ScoreError: shapes differ, there are no rows, a label is not 0 or 1, a probability not in [0, 1].
    """

    labels: Array  # (rows,) 0 or 1
    probabilities: Array  # (rows,) of label 1
    owner: Array | None = None  # (rows,) customer of each row; None: every row is another customer
    threshold: float = 0.5  # label 1 is predicted from this probability on

    def __post_init__(self) -> None:
        if self.labels.ndim != 1 or self.labels.shape != self.probabilities.shape or len(self.labels) == 0:
            raise ScoreError(
                f"labels and probabilities (rows,) were needed, got {self.labels.shape} and {self.probabilities.shape}"
            )
        if self.owner is not None and self.owner.shape != self.labels.shape:
            raise ScoreError(f"one owner for each of {len(self.labels)} rows was needed, got {self.owner.shape}")
        if not np.isin(self.labels, (0, 1)).all():
            raise ScoreError("labels must be 0 or 1")
        if not ((self.probabilities >= 0) & (self.probabilities <= 1)).all():  # refuses NaN as well
            raise ScoreError("probabilities must lie in [0, 1]; NaN means that the model has diverged")

    def __repr__(self) -> str:
        """Shows sizes only."""
        return f"Classification({len(self.labels)} rows, threshold {self.threshold})"

    def metrics(self) -> dict[str, float]:
        """Each of METRICS over all rows. AUC is NaN where only one label occurs; 0 / 0 counts as 0 in the others."""
        cluster = np.zeros(len(self.labels), np.int64)
        values = self._metrics(cluster, np.ones((1, 1)))[0]
        return dict(zip(METRICS, values.tolist(), strict=True))

    def resampled(self, draws: int = 2000, seed: int = 0) -> Array:
        """(draws, len(METRICS)) metrics over resampled customers, each with all of its rows (cluster bootstrap)."""
        owner = np.arange(len(self.labels)) if self.owner is None else self.owner
        names, cluster = np.unique(owner, return_inverse=True)
        return np.concatenate([self._metrics(cluster, weights) for weights in resamples(len(names), draws, seed)])

    def summary(self, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
        """METRICS by name, "low" and "high" ends of their 95 % intervals, threshold, and what the majority label gets.

        None where a metric is undefined.
        """
        low, high = bounds(self.resampled(draws, seed))
        share = float(np.mean(self.labels))
        return {
            **{name: _or_none(value) for name, value in self.metrics().items()},
            "low": {name: _or_none(value) for name, value in zip(METRICS, low.tolist(), strict=True)},
            "high": {name: _or_none(value) for name, value in zip(METRICS, high.tolist(), strict=True)},
            "threshold": self.threshold,
            "majority": max(share, 1.0 - share),
            "rows": len(self.labels),
        }

    def _metrics(self, cluster: Array, weights: Array) -> Array:
        """(b, len(METRICS)) with each row counted as often as `weights` (b, clusters) says of its cluster (rows,)."""
        positive = self.labels == 1
        said = self.probabilities >= self.threshold
        loss = row_log_loss(self.labels, self.probabilities)
        rows = np.stack([positive & said, ~positive & said, positive & ~said, ~positive & ~said, loss]).astype(float)
        clusters = weights.shape[1]
        sums = weights @ np.stack([np.bincount(cluster, row, minlength=clusters) for row in rows], axis=1)
        tp, fp, fn, tn, lost = sums.T
        total = tp + fp + fn + tn
        order = np.argsort(self.probabilities, kind="stable")
        ranked = np.ascontiguousarray(self.probabilities[order], np.float64)
        areas = np.empty(len(weights))
        for low in range(0, len(weights), _ABREAST):
            few = np.ascontiguousarray(weights[low : low + _ABREAST].T)
            _areas(ranked, positive[order], cluster[order], few, areas[low : low + _ABREAST])
        return np.stack(
            [
                _ratio(tp + tn, total),
                _ratio(tp, tp + fp),
                _ratio(tp, tp + fn),
                _ratio(2 * tp, 2 * tp + fp + fn),
                areas,
                _ratio(lost, total),
            ],
            axis=1,
        )


def auc(labels: Array, scores: Array) -> float:
    """Area under the ROC curve: chance that a row of label 1 scores above one of label 0, ties counted half.

    The rank formula (Hanley and McNeil, Radiology 143, 1982). NaN where only one label occurs. O(rows log rows).
    """
    if np.isnan(scores).any():
        raise ScoreError("scores hold NaN")
    order = np.argsort(scores, kind="stable")
    out = np.empty(1)
    ranked = np.ascontiguousarray(scores[order], np.float64)
    _areas(ranked, labels[order] == 1, np.zeros(len(labels), np.int64), np.ones((1, 1)), out)
    return float(out[0])


def row_log_loss(labels: Array, probabilities: Array) -> Array:
    """(rows,) minus the natural logarithm of the probability given to the true label, in nats, at most 34.5."""
    p = np.clip(np.asarray(probabilities, np.float64), _TINY, 1.0 - _TINY)
    return -np.where(labels == 1, np.log(p), np.log1p(-p))


def _ratio(a: Array, b: Array) -> Array:
    return np.divide(a, b, out=np.zeros(len(a)), where=b > 0)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


@kernel
def _areas(scores: Array, positive: Array, cluster: Array, weights: Array, out: Array) -> None:
    """Rows in order of score, all draws at once: their weights (clusters, draws) lie side by side for the processor."""
    draws = weights.shape[1]
    below, ones, wins = np.zeros(draws), np.zeros(draws), np.zeros(draws)  # weight of labels 0 and 1 so far; pairs won
    zero, one = np.zeros(draws), np.zeros(draws)  # the same among rows that tie with the last one
    for row in range(len(scores) + 1):
        if row == len(scores) or (row > 0 and scores[row] != scores[row - 1]):
            for draw in range(draws):
                wins[draw] += one[draw] * (below[draw] + 0.5 * zero[draw])
                below[draw] += zero[draw]
                ones[draw] += one[draw]
                zero[draw] = 0.0
                one[draw] = 0.0
        if row < len(scores):
            side = one if positive[row] else zero
            for draw in range(draws):
                side[draw] += weights[cluster[row], draw]
    for draw in range(draws):
        both = ones[draw] * below[draw]
        out[draw] = wins[draw] / both if both > 0.0 else np.nan
