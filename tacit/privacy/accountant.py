"""Epsilon spent, by dp-accounting: privacy loss distributions, with RDP as the check.

V. Doroshenko et al.: "Connect the Dots: Tighter Discrete Approximations of Privacy Loss Distributions", PoPETs 2022,
https://arxiv.org/abs/2207.04380. I. Mironov: "Renyi Differential Privacy", CSF 2017, https://arxiv.org/abs/1702.07476.
A cohort of fixed size is accounted as such: sampling without replacement under the replace-one relation (Y.-X. Wang,
B. Balle, S. Kasiviswanathan, AISTATS 2019, https://arxiv.org/abs/1808.00087), where one client moves a clipped sum by
twice the clip norm.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import dp_accounting as dp
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from tacit.core.values import Event


@dataclass(frozen=True, slots=True)
class Spent:
    """A privacy statement that can stand alone: what, how much, for whom, against which neighbour."""

    epsilon: float
    delta: float
    unit: str  # whose presence is hidden
    neighbouring: str  # "add-or-remove-one" or "replace-one"
    accountant: str  # "PLD" or "RDP"
    check: float  # epsilon by RDP for the same events: never below what PLD gives, but for rounding


def spent(events: Sequence[Event], delta: float, unit: str = "customer") -> Spent:
    """Epsilon of all events together; identical ones are grouped, so that a thousand rounds cost as much as one.

    Raises:
        ValueError: an event of an unknown mechanism, or events of both relations mixed.
    """
    return _spent(tuple(sorted(Counter(events).items(), key=repr)), delta, unit)


@lru_cache(maxsize=4096)
def _spent(groups: tuple[tuple[Event, int], ...], delta: float, unit: str) -> Spent:
    for event, _ in groups:
        if event.mechanism != "gaussian":
            raise ValueError(f"no accounting is known for the mechanism {event.mechanism!r}")
    fixed = {event.sampling == "fixed" for event, _ in groups}
    if len(fixed) > 1:
        raise ValueError("fixed-size and Poisson cohorts cannot be composed: their neighbouring relations differ")
    if not groups:
        return Spent(0.0, delta, unit, "add-or-remove-one", "PLD", 0.0)
    if fixed == {True}:
        epsilon = _compose(RdpAccountant(neighboring_relation=dp.NeighboringRelation.REPLACE_ONE), groups, delta)
        return Spent(epsilon, delta, unit, "replace-one", "RDP", epsilon)
    pld = _compose(PLDAccountant(value_discretization_interval=1e-3), groups, delta)
    return Spent(pld, delta, unit, "add-or-remove-one", "PLD", _compose(RdpAccountant(), groups, delta))


def _compose(accountant: dp.PrivacyAccountant, groups: tuple[tuple[Event, int], ...], delta: float) -> float:
    log = logging.getLogger("absl")  # dp-accounting warns there of every order that it leaves out of the (valid) bound
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        for event, count in groups:
            accountant.compose(_dp_event(event), count)
        return float(accountant.get_epsilon(delta))
    finally:
        log.setLevel(level)


def _dp_event(event: Event) -> dp.DpEvent:
    if event.sampling == "all" or event.sampling_rate >= 1.0:
        if event.sampling == "fixed":  # everyone, under replace-one: twice the sensitivity
            return dp.GaussianDpEvent(event.noise_multiplier / 2.0)
        return dp.GaussianDpEvent(event.noise_multiplier)
    if event.sampling == "poisson":
        return dp.PoissonSampledDpEvent(event.sampling_rate, dp.GaussianDpEvent(event.noise_multiplier))
    # dp-accounting wants the source size; the rate is all that its formula uses.
    size = 10**6
    sample = max(1, round(event.sampling_rate * size))
    return dp.SampledWithoutReplacementDpEvent(size, sample, dp.GaussianDpEvent(event.noise_multiplier / 2.0))


def noise_multiplier(epsilon: float, delta: float, rounds: int, sampling: str, sampling_rate: float) -> float:
    """The least noise multiplier (to 0.1 %) that keeps `rounds` rounds within (epsilon, delta).

    Raises:
        ValueError: no multiplier below 10^5 is enough.
    """

    def cost(noise: float) -> float:
        return spent([Event("gaussian", noise, sampling, sampling_rate)] * rounds, delta).epsilon

    low, high = 0.05, 1.0
    while cost(high) > epsilon:
        low, high = high, high * 2.0
        if high > 1e5:
            raise ValueError(f"no noise multiplier below 100,000 keeps {rounds} rounds within epsilon {epsilon}")
    while high - low > 1e-3 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if cost(middle) > epsilon else (low, middle)
    return high
