"""The accountant against closed forms, published figures and itself."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
from scipy import optimize, special

from tacit.core.values import Event
from tacit.privacy.accountant import noise_multiplier, spent

DELTA = 1e-5


def gaussian(multiplier: float, sampling: str = "all", rate: float = 1.0) -> Event:
    """One round."""
    return Event("gaussian", multiplier, sampling, rate)


def exact(multiplier: float, rounds: int, delta: float) -> float:
    """Epsilon of `rounds` Gaussian releases by the closed form of Balle and Wang (ICML 2018), Theorem 8."""
    mu = math.sqrt(rounds) / multiplier

    def excess(epsilon: float) -> float:
        tail = epsilon + special.log_ndtr(-mu / 2.0 - epsilon / mu)
        return float(special.ndtr(mu / 2.0 - epsilon / mu) - math.exp(tail)) - delta

    return float(optimize.brentq(excess, 0.0, 10.0 * (mu + mu**2) + 50.0, xtol=1e-12))


def test_the_oracle_gives_the_textbook_value() -> None:
    """Golden: one release with multiplier 1 at delta 1e-5 costs 4.3772 (Balle and Wang's algorithm)."""
    assert exact(1.0, 1, 1e-5) == pytest.approx(4.3772, abs=1e-4)


@pytest.mark.parametrize(
    ("multiplier", "rounds", "delta"),
    [(0.6, 1, 1e-5), (1.0, 1, 1e-5), (1.0, 10, 1e-5), (5.0, 100, 1e-6), (20.0, 1, 1e-3), (3.0, 1000, 1e-9)],
)
def test_rounds_with_everyone_cost_what_the_closed_form_says(multiplier: float, rounds: int, delta: float) -> None:
    """The PLD is an upper bound: never below the exact value, and at most 1 % or 0.01 above it."""
    truth = exact(multiplier, rounds, delta)
    paid = spent([gaussian(multiplier)] * rounds, delta)
    assert truth - 1e-6 <= paid.epsilon <= truth * 1.01 + 0.01
    assert paid.epsilon <= paid.check <= truth * 1.35 + 0.3


def test_a_thousand_poisson_rounds_cost_the_published_figures() -> None:
    """Golden, dp-accounting 0.6: rate 0.01, multiplier 1, 1,000 rounds, delta 1e-5: PLD 1.8289, RDP 2.1014."""
    paid = spent([gaussian(1.0, "poisson", 0.01)] * 1000, DELTA)
    assert paid.epsilon == pytest.approx(1.8289, abs=5e-4)
    assert paid.check == pytest.approx(2.1014, abs=5e-4)
    assert (paid.unit, paid.delta) == ("customer", DELTA)
    assert (paid.neighbouring, paid.accountant) == ("add-or-remove-one", "PLD")


def test_a_fixed_cohort_is_accounted_as_such_and_costs_more_than_a_poisson_one() -> None:
    """Golden: 10 of 1,000 replace-one, noise / sensitivity 1, costs 3.58.

    Replacing a client moves a clipped sum by 2 clip norms, so noise of 2 clip norms has noise / sensitivity 1, and
    noise of 1 clip norm costs far more.
    """
    paid = spent([gaussian(2.0, "fixed", 0.01)] * 1000, DELTA)
    assert paid.epsilon == pytest.approx(3.58, abs=5e-3)
    assert (paid.neighbouring, paid.accountant) == ("replace-one", "RDP")
    same_noise = spent([gaussian(1.0, "fixed", 0.01)] * 1000, DELTA)
    poisson = spent([gaussian(1.0, "poisson", 0.01)] * 1000, DELTA)
    assert same_noise.epsilon > paid.epsilon > poisson.epsilon


def test_a_fixed_cohort_of_everyone_costs_what_twice_the_sensitivity_costs() -> None:
    paid = spent([gaussian(2.0, "fixed", 1.0)] * 5, DELTA)
    assert paid.epsilon == pytest.approx(spent([gaussian(1.0)] * 5, DELTA).epsilon, rel=1e-9)
    assert paid.neighbouring == "replace-one"


@pytest.mark.parametrize("rate", [0.3, 0.7, 0.95])
def test_a_fixed_cohort_never_costs_more_than_no_sampling_at_all(rate: float) -> None:
    """At high rates the bound for sampling without replacement is the looser one."""
    paid = spent([gaussian(3.0, "fixed", rate)] * 10, DELTA)
    everyone = spent([gaussian(3.0, "fixed", 1.0)] * 10, DELTA)
    assert paid.epsilon <= everyone.epsilon
    assert spent([gaussian(3.0, "fixed", 0.01)] * 10, DELTA).epsilon < paid.epsilon


@pytest.mark.parametrize("event", [gaussian(1.3, "poisson", 0.05), gaussian(4.0, "fixed", 0.05), gaussian(4.0)])
def test_more_rounds_and_less_noise_and_larger_cohorts_and_smaller_deltas_cost_more(event: Event) -> None:
    base = spent([event] * 20, DELTA).epsilon
    assert spent([event] * 21, DELTA).epsilon > base
    assert spent([replace(event, noise_multiplier=event.noise_multiplier * 0.9)] * 20, DELTA).epsilon > base
    assert spent([event] * 20, DELTA / 10.0).epsilon > base
    if event.sampling != "all":
        assert spent([replace(event, sampling_rate=0.06)] * 20, DELTA).epsilon > base


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1, 0.5])
def test_rdp_is_never_below_the_pld_and_close_to_it_where_epsilon_matters(rate: float) -> None:
    paid = spent([gaussian(1.1, "poisson", rate)] * 100, DELTA)
    assert paid.epsilon <= paid.check
    assert paid.check <= 1.3 * paid.epsilon or paid.check < 1.0


def test_sampling_everyone_is_no_sampling() -> None:
    assert spent([gaussian(2.0, "poisson", 1.0)] * 3, DELTA).epsilon == spent([gaussian(2.0)] * 3, DELTA).epsilon


def test_the_order_of_rounds_does_not_matter_and_different_rounds_compose() -> None:
    some, others = [gaussian(2.0, "poisson", 0.1)] * 5, [gaussian(1.0, "poisson", 0.2)] * 5
    together = spent(some + others, DELTA)
    assert spent(others + some, DELTA) == together
    assert max(spent(some, DELTA).epsilon, spent(others, DELTA).epsilon) < together.epsilon


def test_nothing_released_costs_nothing() -> None:
    assert spent([], DELTA).epsilon == 0.0


def test_ten_thousand_identical_rounds_are_accounted_at_once_and_only_once() -> None:
    """Composing round by round would take minutes."""
    events = [gaussian(3.0, "poisson", 0.02)] * 10_000
    began = time.process_time()
    first = spent(events, DELTA)
    assert time.process_time() - began < 20.0
    began = time.process_time()
    for _ in range(20):
        assert spent(events, DELTA) == first
    assert time.process_time() - began < 5.0  # a dashboard asks again and again


def test_relations_that_differ_are_not_added_up() -> None:
    with pytest.raises(ValueError, match="neighbouring relations"):
        spent([gaussian(1.0, "fixed", 0.1), gaussian(1.0, "poisson", 0.1)], DELTA)


def test_an_unknown_mechanism_is_not_accounted() -> None:
    with pytest.raises(ValueError, match="'staircase'"):
        spent([Event("staircase", 1.0, "all", 1.0)], DELTA)


def test_rounds_of_different_noise_with_everyone_cost_what_their_one_gaussian_costs() -> None:
    """Oracle: multipliers z_i compose to (sum of z_i^-2)^-1/2."""
    noises = [2.0 + 0.05 * k for k in range(100)]
    one = 1.0 / math.sqrt(sum(z**-2 for z in noises))
    assert spent([gaussian(z) for z in noises], DELTA).epsilon == pytest.approx(exact(one, 1, DELTA), rel=1e-9)


@pytest.mark.slow
def test_many_kinds_of_sampled_rounds_are_bounded_from_above_and_closely() -> None:
    """Rounded to few kinds they cost more than the exact composition of a coarser set with more noise, by some %."""
    noises = [2.0 * 1.002**k for k in range(120)]
    paid = spent([gaussian(z, "poisson", 0.05) for z in noises], DELTA)
    least = spent([gaussian(z, "poisson", 0.05) for z in noises[::5] for _ in range(5)], DELTA)
    most = spent([gaussian(z, "poisson", 0.05) for z in noises[4::5] for _ in range(5)], DELTA)
    assert most.epsilon < paid.epsilon < 1.03 * least.epsilon


@pytest.mark.parametrize("mechanism", ["laplace", "discrete laplace", "exponential", "randomized response"])
def test_mechanisms_without_delta_cost_at_most_their_epsilons_added_up_and_less_together(mechanism: str) -> None:
    once = spent([Event(mechanism, 2.0, "all", 1.0)], DELTA)
    assert 0.49 < once.epsilon <= 0.5 + 1e-3
    many = spent([Event(mechanism, 10.0, "all", 1.0)] * 100, DELTA)
    assert many.epsilon < 0.6 * 100 / 10.0
    assert many.epsilon <= many.check
    sampled = spent([Event(mechanism, 10.0, "poisson", 0.1)] * 100, DELTA)
    assert sampled.epsilon < 0.3 * many.epsilon
    replaced = spent([Event(mechanism, 10.0, "fixed", 1.0)] * 100, DELTA)
    assert replaced.epsilon == pytest.approx(spent([Event(mechanism, 5.0, "all", 1.0)] * 100, DELTA).epsilon, rel=1e-6)


def test_noise_without_end_costs_nothing() -> None:
    assert spent([gaussian(math.inf, "poisson", 0.1)] * 3, DELTA).epsilon == 0.0


def test_the_unit_is_the_one_that_was_named() -> None:
    assert spent([gaussian(1.0)], DELTA, "example").unit == "example"


def test_the_accountant_is_quiet(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """The library below warns of each order that it leaves out: the bound stands, and nobody can act on it."""
    spent([gaussian(1.0, "poisson", 0.1)] * 7, DELTA)
    shown = capfd.readouterr()
    assert shown.out == shown.err == "" and not caplog.records


@pytest.mark.parametrize(
    ("epsilon", "rounds", "sampling", "rate", "known"),
    [
        (8.0, 1, "all", 1.0, None),
        (1.0, 200, "poisson", 0.1, 5.43),  # golden: 943 users at 10 %
        pytest.param(8.0, 200, "poisson", 0.1, 1.13, marks=pytest.mark.slow),
        pytest.param(8.0, 3, "fixed", 0.2, None, marks=pytest.mark.slow),
    ],
)
def test_the_noise_multiplier_reaches_its_epsilon_and_hardly_less_noise_would(
    epsilon: float, rounds: int, sampling: str, rate: float, known: float | None
) -> None:
    found = noise_multiplier(epsilon, DELTA, rounds, sampling, rate)
    assert spent([gaussian(found, sampling, rate)] * rounds, DELTA).epsilon <= epsilon
    assert spent([gaussian(found * 0.998, sampling, rate)] * rounds, DELTA).epsilon > epsilon
    if known is not None:
        assert found == pytest.approx(known, abs=0.01)
    if sampling == "all":
        assert exact(found, rounds, DELTA) == pytest.approx(epsilon, rel=0.01)


def test_a_budget_that_no_noise_can_keep_is_refused() -> None:
    with pytest.raises(ValueError, match="keeps 1 rounds within epsilon 1e-09"):
        noise_multiplier(1e-9, 1e-15, 1, "all", 1.0)
