"""Epsilon spent, by dp-accounting: privacy loss distributions, with RDP as the check.

V. Doroshenko et al.: "Connect the Dots: Tighter Discrete Approximations of Privacy Loss Distributions", PoPETs 2022,
https://arxiv.org/abs/2207.04380. I. Mironov: "Renyi Differential Privacy", CSF 2017, https://arxiv.org/abs/1702.07476.
Rounds with everyone and Gaussian noise compose to one Gaussian, whose epsilon has a closed form (B. Balle, Y.-X. Wang,
ICML 2018, https://arxiv.org/abs/1805.06530, Theorem 8).
A cohort of fixed size is accounted under the replace-one relation, where one client moves a clipped sum by twice the
clip norm: the smaller of sampling without replacement (Y.-X. Wang, B. Balle, S. Kasiviswanathan, AISTATS 2019,
https://arxiv.org/abs/1808.00087) and of no sampling at all, which wins where the cohort is most of the clients.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from itertools import cycle
from typing import Any, TypeAlias

import dp_accounting as dp
import numpy as np
from dp_accounting.gaussian_mechanism import get_epsilon_gaussian, get_sigma_gaussian
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant, compute_epsilon
from dp_accounting.rdp.rdp_privacy_accountant import DEFAULT_RDP_ORDERS

from tacit.core.values import Array, Event

Groups: TypeAlias = tuple[tuple[Event, int], ...]

# What a mechanism's noise_multiplier is, always against one client (or example) added or removed:
GAUSSIAN = "gaussian"  # standard deviation / L2 sensitivity
LAPLACE = "laplace"  # scale / L1 sensitivity
PURE = ("discrete laplace", "exponential", "randomized response")  # 1 / epsilon of one release
MECHANISMS = (GAUSSIAN, LAPLACE, *PURE)
_DISTINCT = 32  # kinds of rounds that are composed exactly; more are rounded, towards more epsilon
_FAST_ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 512)  # whole ones: ten times as fast
_MOST = 1e5  # noise multiplier beyond which a search gives up


@dataclass(frozen=True, slots=True)
class Spent:
    """A privacy statement that can stand alone: what, how much, for whom, against which neighbour."""

    epsilon: float
    delta: float
    unit: str  # whose presence is hidden: "example", "customer", "institution", ...
    neighbouring: str  # "add-or-remove-one" or "replace-one"
    accountant: str  # "PLD", "RDP", "closed form", or "sum" (of epsilons, where delta is 0)
    check: float  # epsilon by RDP for the same events: never below what the accountant gives, but for rounding

    def summary(self) -> dict[str, Any]:
        """As reports state it."""
        return {
            "unit": self.unit,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "neighbouring": self.neighbouring,
            "accountant": self.accountant,
            "epsilon_by_rdp": self.check,
        }


def spent(events: Sequence[Event], delta: float, unit: str = "customer") -> Spent:
    """Epsilon of all events together; identical ones are grouped, so that a thousand rounds cost as much as one.

    Rounds of different noise are composed each with its own; more than 32 kinds of sampled rounds are rounded to 32,
    each to less noise, so that the epsilon stays an upper bound (by at most some per cent).

    Raises:
        ValueError: an event of an unknown mechanism, or events of both relations mixed.
    """
    return _spent(tuple(sorted(Counter(events).items(), key=repr)), delta, unit)


@lru_cache(maxsize=4096)
def _spent(groups: Groups, delta: float, unit: str) -> Spent:
    for event, _ in groups:
        if event.mechanism not in MECHANISMS:
            raise ValueError(f"no accounting is known for the mechanism {event.mechanism!r}: known are {MECHANISMS}")
    fixed = {event.sampling == "fixed" for event, _ in groups}
    if len(fixed) > 1:
        raise ValueError("fixed-size and Poisson cohorts cannot be composed: their neighbouring relations differ")
    relation = "replace-one" if fixed == {True} else "add-or-remove-one"
    groups = tuple((event, count) for event, count in groups if event.noise_multiplier != math.inf)
    if not groups:
        return Spent(0.0, delta, unit, relation, "PLD", 0.0)
    if delta == 0.0:
        epsilon = math.fsum(_pure(event) * count for event, count in groups)
        return Spent(epsilon, delta, unit, relation, "sum", epsilon)
    if fixed == {False}:
        epsilon, check, how = _add_or_remove(_few(merged(groups)), delta)
        return Spent(epsilon, delta, unit, relation, how, check)
    everyone = tuple((replace(e, noise_multiplier=e.noise_multiplier / 2.0, sampling="all"), n) for e, n in groups)
    epsilon, check, how = _add_or_remove(merged(everyone), delta)
    if any(event.sampling_rate < 1.0 for event, _ in groups):
        sampled = _rdp(_few(groups), delta)
        check = min(check, sampled)
        if sampled < epsilon:
            epsilon, how = sampled, "RDP"
    return Spent(epsilon, delta, unit, relation, how, check)


def merged(groups: Groups) -> Groups:
    """Gaussian rounds with everyone as the one Gaussian that they compose to."""
    plain = [(e, n) for e, n in groups if e.mechanism == GAUSSIAN and _whole(e)]
    if not plain:
        return groups
    precision = math.fsum(n / e.noise_multiplier**2 for e, n in plain)
    one = Event(GAUSSIAN, 1.0 / math.sqrt(precision), "all", 1.0)
    return ((one, 1), *(g for g in groups if g not in plain))


def _few(groups: Groups) -> Groups:
    """At most `_DISTINCT` noise multipliers for each mechanism and rate: else each rounded down to a geometric grid."""
    kinds: dict[Event, list[float]] = {}
    for event, _ in groups:
        kinds.setdefault(replace(event, noise_multiplier=0.0), []).append(math.log(event.noise_multiplier))
    out: Counter[Event] = Counter()
    for event, count in groups:
        logs = kinds[replace(event, noise_multiplier=0.0)]
        step = 0.01  # 1 %, doubled until few are left: the same points in every round, so that caches serve
        while len(logs) > _DISTINCT and (max(logs) - min(logs)) / step > _DISTINCT - 2:
            step *= 2.0
        if len(logs) > _DISTINCT:
            down = math.exp(math.floor(math.log(event.noise_multiplier) / step) * step)
            event = replace(event, noise_multiplier=min(down, event.noise_multiplier))
        out[event] += count
    return tuple(out.items())


def _add_or_remove(groups: Groups, delta: float) -> tuple[float, float, str]:
    """(epsilon, epsilon by RDP, accountant) under add-or-remove-one."""
    check = _rdp(groups, delta)
    if len(groups) == 1 and groups[0][0].mechanism == GAUSSIAN and _whole(groups[0][0]):
        event, count = groups[0]
        with np.errstate(divide="ignore"):
            epsilon = float(get_epsilon_gaussian(event.noise_multiplier / math.sqrt(count), delta))
        return epsilon, max(check, epsilon), "closed form"
    interval = 10.0 ** math.floor(math.log10(min(max(check, 1e-3), 10.0)) - 3.0) if check < 1.0 else 1e-3
    if check > 100.0:
        interval = 1e-2
    parts = [distribution(event, interval).self_compose(count) for event, count in groups]
    return float(reduce(lambda one, other: one.compose(other), parts).get_epsilon_for_delta(delta)), check, "PLD"


@lru_cache(maxsize=512)
def distribution(event: Event, interval: float) -> Any:
    """The privacy loss distribution of one event."""
    with _Quiet():
        accountant = PLDAccountant(value_discretization_interval=interval)
        accountant.compose(_pld_event(event))
        return accountant._pld


def _rdp(groups: Groups, delta: float) -> float:
    """Epsilon by RDP: under replace-one where cohorts are of fixed size, else under add-or-remove-one."""
    orders = tuple(DEFAULT_RDP_ORDERS) if len(groups) <= 4 else _FAST_ORDERS
    curve = np.sum([count * rdp_curve(event, orders) for event, count in groups], axis=0)
    with _Quiet():
        return float(compute_epsilon(orders, curve, delta)[0])


@lru_cache(maxsize=4096)
def rdp_curve(event: Event, orders: tuple[float, ...]) -> Array:
    """(orders,) Renyi divergence of one event."""
    fixed = event.sampling == "fixed"
    relation = dp.NeighboringRelation.REPLACE_ONE if fixed else dp.NeighboringRelation.ADD_OR_REMOVE_ONE
    with _Quiet():
        accountant = RdpAccountant(orders, relation)
        accountant.compose(_rdp_event(event))
        return np.array(accountant._rdp)


class _Quiet:
    """Silences dp-accounting, which warns of every order that it leaves out of the (valid) bound."""

    def __enter__(self) -> None:
        self._log = logging.getLogger("absl")
        self._level = self._log.level
        self._log.setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        self._log.setLevel(self._level)


def _whole(event: Event) -> bool:
    return event.sampling == "all" or event.sampling_rate >= 1.0


def _pure(event: Event) -> float:
    """Epsilon of one release without delta, sampling included (B. Balle et al., NeurIPS 2018); infinity for others."""
    if event.mechanism == GAUSSIAN:
        return math.inf
    epsilon = 1.0 / event.noise_multiplier
    if event.sampling == "fixed":
        epsilon *= 2.0
    if _whole(event) or epsilon > 700.0:
        return epsilon
    return math.log1p(event.sampling_rate * math.expm1(epsilon))


def _pld_event(event: Event) -> dp.DpEvent:
    """The event under add-or-remove-one. Of all epsilon-private mechanisms a bit flipped at random leaks most."""
    if event.mechanism in PURE:
        return dp.dp_event.DiscreteLaplaceDpEvent(_pure(event), 1)
    noise = (dp.LaplaceDpEvent if event.mechanism == LAPLACE else dp.GaussianDpEvent)(event.noise_multiplier)
    return noise if _whole(event) else dp.PoissonSampledDpEvent(event.sampling_rate, noise)


def _rdp_event(event: Event) -> dp.DpEvent:
    """The event for RDP; what is epsilon-private is epsilon^2 / 2-zCDP."""
    if event.mechanism != GAUSSIAN:
        return dp.ZCDpEvent(0.5 * _pure(event) ** 2)
    if event.sampling == "fixed":
        noise = dp.GaussianDpEvent(event.noise_multiplier / 2.0)
        if _whole(event):
            return noise
        size = 10**6  # dp-accounting wants the source size; the rate is all that its formula uses
        return dp.SampledWithoutReplacementDpEvent(size, max(1, round(event.sampling_rate * size)), noise)
    noise = dp.GaussianDpEvent(event.noise_multiplier)
    return noise if _whole(event) else dp.PoissonSampledDpEvent(event.sampling_rate, noise)


def noise_multiplier(
    epsilon: float, delta: float, rounds: int, sampling: str, sampling_rate: float, mechanism: str = GAUSSIAN
) -> float:
    """The least noise multiplier (to 0.1 %) that keeps `rounds` equal rounds within (epsilon, delta).

    Raises:
        ValueError: no multiplier below 10^5 is enough.
    """
    double = 2.0 if sampling == "fixed" else 1.0
    if mechanism != GAUSSIAN:
        each = epsilon / rounds
        if sampling != "all" and sampling_rate < 1.0:
            each = math.log1p(math.expm1(each) / sampling_rate)
        enough = double / each * (1.0 + 1e-9)
        if delta == 0.0 and enough <= _MOST:
            return enough
        if delta == 0.0:
            raise ValueError(f"no noise multiplier below 100,000 keeps {rounds} rounds within epsilon {epsilon}")
        return least_noise(
            epsilon, delta, lambda noise: [Event(mechanism, noise, sampling, sampling_rate)] * rounds, enough
        )
    with np.errstate(divide="ignore"):
        alone = float(get_sigma_gaussian(epsilon, delta))
    rate = 1.0 if sampling == "all" else min(sampling_rate, 1.0)
    guess = double / math.sqrt(math.log1p((1.0 / alone) ** 2 / (rate**2 * rounds))) if rate < 1.0 else 0.0
    if mechanism == GAUSSIAN and rate == 1.0:
        guess = double * alone * math.sqrt(rounds)
        if guess * (1.0 + 1e-9) <= _MOST:
            return guess * (1.0 + 1e-9)  # room for rounding
    return least_noise(
        epsilon, delta, lambda noise: [Event(mechanism, noise, sampling, sampling_rate)] * rounds, guess or 1.0
    )


def least_noise(epsilon: float, delta: float, events: Callable[[float], Sequence[Event]], guess: float = 1.0) -> float:
    """The least noise multiplier (to 0.1 %) with which `events(multiplier)` together stay within (epsilon, delta).

    Raises:
        ValueError: no multiplier below 10^5 is enough.
    """

    def over(noise: float) -> float:
        """How much too much is spent, as a logarithm."""
        cost = spent(events(noise), delta).epsilon
        return math.log(max(cost, 1e-300) / epsilon)

    low = high = min(max(guess, 1e-3), _MOST)
    above = below = over(high)
    factor = 1.02
    while above > 0.0:  # too little noise: upwards, by growing steps
        low, below = high, above
        if low >= _MOST:
            count = len(events(1.0))
            raise ValueError(f"no noise multiplier below 100,000 keeps {count} rounds within epsilon {epsilon}")
        high, factor = min(high * factor, _MOST), factor**2
        above = over(high)
    while below <= 0.0 and low > 1e-6:
        high, above = low, below
        low, factor = low / factor, factor**2
        below = over(low)
    for nudge in cycle((4e-4, -4e-4)):  # where a line in logarithms crosses 0: just above, then just below
        if high - low <= 1e-3 * high or below <= 0.0:
            break
        share = below / (below - above)
        middle = low * math.exp(math.log(high / low) * share + nudge)
        if not low < middle < high:
            middle = math.sqrt(low * high)
        found = over(middle)
        if found > 0.0:
            low, below = middle, found
        else:
            high, above = middle, found
    return high
