"""From canaries found and missed to a lower bound on epsilon, at a stated confidence.

One run: T. Steinke, M. Nasr, M. Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023,
https://arxiv.org/abs/2305.08846, theorem 5.2. f-DP: S. Mahloujifar, L. Melis, K. Chaudhuri, "Auditing f-Differential
Privacy in One Run", 2024, https://arxiv.org/abs/2410.22235, for the family of Gaussian trade-offs. GDP from both error
rates: https://arxiv.org/abs/2406.04827; M. Annamalai, E. De Cristofaro, "Nearly Tight Black-Box Auditing of
Differentially Private Machine Learning", NeurIPS 2024, https://arxiv.org/abs/2405.14106; the conversion to (epsilon,
delta) is corollary 1 of J. Dong, A. Roth, W. Su, "Gaussian Differential Privacy", 2019,
https://arxiv.org/abs/1905.02383.
Differs from the papers: thresholds are fixed before the scores are seen, and the confidence is divided among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from tacit.core.values import Array

_NORMAL = NormalDist()
MOST = 60.0  # no bound beyond is looked for


def _cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def _quantile(p: float) -> float:
    if p <= 0.0:
        return -math.inf
    return math.inf if p >= 1.0 else _NORMAL.inv_cdf(p)


@lru_cache(maxsize=256)
def _choose(n: int) -> Array:
    """(n + 1,) logarithms of the binomial coefficients."""
    top = math.lgamma(n + 1)
    return np.array([top - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1)])


def binomial(n: int, p: float) -> Array:
    """(n + 1,) probabilities of 0 to n successes in n trials."""
    if p <= 0.0 or p >= 1.0:
        out = np.zeros(n + 1)
        out[0 if p <= 0.0 else n] = 1.0
        return out
    k = np.arange(n + 1)
    return np.asarray(np.exp(_choose(n) + k * math.log(p) + (n - k) * math.log1p(-p)))


def upper_rate(errors: int, trials: int, alpha: float) -> float:
    """Clopper and Pearson's one-sided upper bound on an error rate, at confidence 1 - alpha."""
    if errors >= trials:
        return 1.0
    low, high = errors / trials, 1.0
    for _ in range(50):
        middle = (low + high) / 2.0
        low, high = (middle, high) if binomial(trials, middle)[: errors + 1].sum() > alpha else (low, middle)
    return high


def one_run_p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Chance, at most, of so many correct guesses if the training is (epsilon, delta)-DP: theorem 5.2.

    Each of the `canaries` was included by its own fair coin; `guesses` of these coins were guessed.
    """
    chances = binomial(guesses, 1.0 / (1.0 + math.exp(-epsilon)))
    beta = float(chances[correct:].sum())
    below = np.cumsum(chances[:correct][::-1])  # mass of correct - 1, of correct - 1 and correct - 2, ...
    alpha = float(np.max(below / np.arange(1, correct + 1))) if correct else 0.0
    return min(1.0, beta + 2.0 * canaries * delta * max(alpha, 0.0))


def one_run(canaries: int, guesses: int, correct: int, delta: float, confidence: float = 0.95) -> float:
    """Largest epsilon that so many correct guesses refute, at this confidence; 0 where they refute none."""
    return _largest(lambda e: one_run_p_value(canaries, guesses, correct, e, delta) < 1.0 - confidence, MOST)


def f_dp_refuted(canaries: int, guesses: int, correct: int, mu: float, confidence: float = 0.95) -> bool:
    """Whether so many correct guesses refute the Gaussian trade-off of `mu`."""
    share = guesses / canaries
    level = (1.0 - confidence) * share
    h, r = level * (guesses - correct) / guesses, level * correct / guesses
    for i in range(correct - 1, -1, -1):
        raised = max(h, _cdf(_quantile(min(r, 1.0)) - mu))
        r += i / (guesses - i) * (raised - h)
        h = raised
    return r + h > share


def f_dp(canaries: int, guesses: int, correct: int, delta: float, confidence: float = 0.95) -> float:
    """Epsilon at `delta` of the largest Gaussian trade-off that so many correct guesses refute."""
    return gdp_epsilon(_largest(lambda m: f_dp_refuted(canaries, guesses, correct, m, confidence), 20.0), delta)


def gdp_delta(mu: float, epsilon: float) -> float:
    """The delta of a mu-GDP mechanism at this epsilon."""
    if mu <= 0.0:
        return 0.0
    tail = _cdf(-epsilon / mu - mu / 2.0)
    scaled = math.exp(min(epsilon + math.log(tail), 0.0)) if tail > 0.0 else 0.0
    return _cdf(-epsilon / mu + mu / 2.0) - scaled


def gdp_epsilon(mu: float, delta: float) -> float:
    """The epsilon of a mu-GDP mechanism at this delta: 0 where mu says nothing."""
    return 0.0 if mu <= 0.0 else _largest(lambda e: gdp_delta(mu, e) > delta, 500.0)


def gdp(found: Array, absent: Array, thresholds: Sequence[float], delta: float, confidence: float = 0.95) -> float:
    """Lower bound on epsilon of a Gaussian mechanism, from scores of canaries that took part and that did not.

    Both error rates at each threshold get Clopper-Pearson bounds; the confidence is divided among the thresholds, which
    must have been fixed before the scores were seen. Valid for mechanisms whose trade-off is Gaussian.
    """
    return gdp_epsilon(max(0.0, *(_mu(*rates) for rates in error_rates(found, absent, thresholds, confidence))), delta)


def rates(found: Array, absent: Array, thresholds: Sequence[float], delta: float, confidence: float = 0.95) -> float:
    """As `gdp` for any (epsilon, delta)-DP mechanism: P. Kairouz, S. Oh, P. Viswanath, ICML 2015, theorem 2.1."""
    best = 0.0
    for miss, alarm in error_rates(found, absent, thresholds, confidence):
        for one, other in ((miss, alarm), (alarm, miss)):
            if 1.0 - delta - one > 0.0:
                best = max(best, math.log((1.0 - delta - one) / other))
    return best


def error_rates(
    found: Array, absent: Array, thresholds: Sequence[float], confidence: float
) -> list[tuple[float, float]]:
    """(miss, false alarm) at each threshold: upper bounds that hold together at the confidence."""
    alpha = (1.0 - confidence) / (2 * len(thresholds))
    return [
        (
            upper_rate(int(np.sum(found < t)), len(found), alpha),
            upper_rate(int(np.sum(absent >= t)), len(absent), alpha),
        )
        for t in thresholds
    ]


def _mu(miss: float, alarm: float) -> float:
    return _quantile(1.0 - alarm) - _quantile(miss) if miss < 1.0 and alarm < 1.0 else 0.0


def _largest(holds: Callable[[float], bool], most: float) -> float:
    """The largest value up to `most` at which a falling condition holds; 0 where it never does."""
    low, high = 0.0, most
    if not holds(1e-9):
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
