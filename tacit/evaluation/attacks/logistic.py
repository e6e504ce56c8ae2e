"""The attacker's own logistic regression: a few Newton steps with a ridge."""

from __future__ import annotations

import numpy as np

from tacit.core.values import Array


def fit(x: Array, y: Array, ridge: float = 1.0, steps: int = 25) -> Array:
    """(features + 1,) weights, bias last, of p(y = 1 | x) for x (rows, features) and y (rows,) in {0, 1}."""
    design = np.concatenate([np.asarray(x, np.float64), np.ones((len(x), 1))], axis=1)
    pull = np.full(design.shape[1], ridge)
    pull[-1] = 1e-6
    weights = np.zeros(design.shape[1])
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -35.0, 35.0)))
        slope = design.T @ (p - y) + pull * weights
        curve = (design * (p * (1.0 - p))[:, None]).T @ design + np.diag(pull)
        step = np.linalg.solve(curve, slope)
        weights = weights - step
        if float(np.abs(step).max()) < 1e-8:
            break
    return weights


def score(x: Array, weights: Array) -> Array:
    """(rows,) log odds."""
    return np.asarray(np.asarray(x, np.float64) @ weights[:-1] + weights[-1])
