"""A lower bound on epsilon from error rates, where cohorts are drawn: against the accountant's own curve.

Amplification by sampling makes a trade-off that is no Gaussian one. So the family of mechanisms is the plan itself with
all its noise multiplied by one factor: for each factor the accountant says epsilon at many deltas, and error rates that
break one of these statements refute the factor and all larger ones (P. Kairouz, S. Oh, P. Viswanath, ICML 2015, theorem
2.1: an attacker against (epsilon, delta) has 1 - miss <= e^epsilon * alarm + delta). The smallest factor that is
refuted gives the bound. It is valid where what is released is this plan with some amount of noise, as the bound over
Gaussian trade-offs is where everybody is in each round: M. Nasr et al., "Tight Auditing of Differentially Private
Machine Learning", USENIX Security 2023, https://arxiv.org/abs/2302.07956, section 4, audits such curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from tacit.core.values import Array, Event
from tacit.evaluation.attacks.audit_bounds import error_rates
from tacit.privacy.accountant import spent
from tacit.privacy.trade_off import deltas

EPSILONS = np.concatenate([np.linspace(0.0, 4.0, 21), np.geomspace(4.5, 60.0, 20)])
OCTAVE = 4  # factors between one and its double
LEAST, MOST = -2 * OCTAVE, 2 * OCTAVE  # from a quarter of the noise to four times as much


def as_accounted(
    found: Array,
    absent: Array,
    thresholds: Sequence[float],
    events: Sequence[Event],
    delta: float,
    confidence: float = 0.95,
) -> float:
    """Epsilon at `delta` of the plan with the least noise that the scores refute; 0 where they refute none.

    Args:
        found: scores of canaries that joined.
        absent: scores of those that did not.
        thresholds: fixed before the scores were seen; the confidence is divided among them.
        events: what the accountant was told of the rounds.
        delta: of the statement.
        confidence: of the bound.
    """
    rates = error_rates(found, absent, thresholds, confidence)
    rounds = tuple(events)
    if not rounds or not _refuted(rates, rounds, MOST):
        return 0.0
    low, high = (LEAST - 1, 0) if _refuted(rates, rounds, 0) else (0, MOST)  # high is refuted, low is not known to be
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _refuted(rates, rounds, middle) else (middle, high)
    return spent(_scaled(rounds, high), delta).epsilon


def _refuted(rates: Sequence[tuple[float, float]], events: tuple[Event, ...], step: int) -> bool:
    """Whether error rates break what the accountant says of the noise times 2^(step / OCTAVE)."""
    curve, grown = _curve(events, step), np.exp(EPSILONS)
    return any(bool(np.any(1.0 - one > grown * other + curve)) for pair in rates for one, other in (pair, pair[::-1]))


@lru_cache(maxsize=512)
def _curve(events: tuple[Event, ...], step: int) -> Array:
    return deltas(_scaled(events, step), EPSILONS)


def _scaled(events: tuple[Event, ...], step: int) -> list[Event]:
    return [replace(event, noise_multiplier=event.noise_multiplier * 2.0 ** (step / OCTAVE)) for event in events]
