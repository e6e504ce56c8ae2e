"""Bounds on epsilon: reference figures of jax-privacy 2.0.0 (its auditing tests), and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import Event
from tacit.evaluation.attacks import accountant_bound, audit_bounds
from tacit.privacy.accountant import spent
from tacit.privacy.trade_off import deltas

KNOWN = [
    (1000, 100, 100, 3.4654, 5.5490),
    (1000, 100, 90, 1.6261, 2.4564),
    (1000, 100, 75, 0.6995, 1.0059),
    (1000, 1000, 600, 0.2972, 0.5835),
    (5000, 100, 100, 3.3524, 4.6242),
    (5000, 1000, 800, 1.2526, 1.8517),
    (5000, 500, 480, 2.7830, 4.0627),
]


@pytest.mark.parametrize(("canaries", "guesses", "correct", "one_run", "f_dp"), KNOWN)
def test_bounds_are_those_of_the_reference(canaries, guesses, correct, one_run, f_dp):
    assert audit_bounds.one_run(canaries, guesses, correct, 1e-5) == pytest.approx(one_run, abs=6e-5)
    assert audit_bounds.f_dp(canaries, guesses, correct, 1e-5) == pytest.approx(f_dp, abs=6e-5)


@pytest.mark.parametrize(
    ("asked", "p"),
    [
        ((1000, 100, 100, 3.0, 1e-5), 0.010411268784),
        ((1000, 100, 90, 1.5, 1e-5), 0.018764588475),
        ((5000, 1000, 700, 0.5, 1e-4), 0.009329616504),
    ],
)
def test_p_values_are_those_of_the_reference(asked, p):
    assert audit_bounds.one_run_p_value(*asked) == pytest.approx(p, abs=1e-11)


@given(st.integers(2, 60), st.integers(0, 60), st.floats(0.0, 5.0))
@settings(max_examples=40, deadline=None)
def test_more_epsilon_makes_any_outcome_more_likely(guesses, correct, epsilon):
    correct = min(correct, guesses)
    p = [audit_bounds.one_run_p_value(100, guesses, correct, e, 1e-5) for e in (epsilon, epsilon + 0.5)]
    assert 0.0 <= p[0] <= p[1] + 1e-12 <= 1.0 + 1e-12


@given(st.integers(1, 300), st.data())
@settings(max_examples=30, deadline=None)
def test_an_upper_rate_is_above_the_observed_one_and_rejects_at_its_level(trials, data):
    errors = data.draw(st.integers(0, trials))
    high = audit_bounds.upper_rate(errors, trials, 0.05)
    assert errors / trials <= high <= 1.0
    if high < 1.0:
        assert audit_bounds.binomial(trials, high)[: errors + 1].sum() == pytest.approx(0.05, abs=1e-6)


@given(st.floats(0.05, 6.0), st.floats(1e-7, 1e-2))
@settings(max_examples=30, deadline=None)
def test_epsilon_of_a_gaussian_trade_off_gives_its_delta_back(mu, delta):
    epsilon = audit_bounds.gdp_epsilon(mu, delta)
    assert audit_bounds.gdp_delta(mu, epsilon) <= delta * (1 + 1e-6) or epsilon == 0.0


def test_bounds_of_an_ideal_gaussian_mechanism_lie_below_its_epsilon_and_near_it():
    """100 audits, 1,000 canaries each, mu = 1: a bound above in 5 % of them at most (seed 0; more than 14 of 100 has a
    chance below 10^-3), and the mean at half of epsilon at least."""
    source, mu, delta = np.random.default_rng(0), 1.0, 1e-5
    true = audit_bounds.gdp_epsilon(mu, delta)
    found = [
        audit_bounds.gdp(source.normal(mu, 1.0, 500), source.normal(0.0, 1.0, 500), (0.25, 0.5, 0.75), delta)
        for _ in range(100)
    ]
    assert sum(bound > true for bound in found) <= 14
    assert np.mean(found) > 0.5 * true


def test_the_general_bound_lies_below_the_gaussian_one_and_above_nothing():
    source = np.random.default_rng(1)
    found, absent = source.normal(3.0, 1.0, 800), source.normal(0.0, 1.0, 800)
    general = audit_bounds.rates(found, absent, (0.5, 1.5, 2.5), 1e-5)
    assert 0.0 < general < audit_bounds.gdp(found, absent, (0.5, 1.5, 2.5), 1e-5)


def test_scores_that_tell_nothing_bound_nothing():
    source = np.random.default_rng(2)
    same = source.normal(size=400), source.normal(size=400)
    assert audit_bounds.gdp(*same, (0.25, 0.5, 0.75), 1e-5) == 0.0
    assert audit_bounds.one_run(1000, 100, 50, 1e-5) == audit_bounds.f_dp(1000, 100, 50, 1e-5) == 0.0


@pytest.mark.parametrize("sampling", ["all", "poisson", "fixed"])
def test_deltas_are_those_of_the_accountants_epsilons(sampling):
    events = [Event("gaussian", 1.5, sampling, 0.2 if sampling != "all" else 1.0)] * 5
    for delta in (1e-5, 1e-3, 1e-2):
        epsilon = spent(events, delta).epsilon
        (found,) = deltas(events, np.array([epsilon]))
        assert found <= delta * 1.2 and (sampling == "fixed" or found >= delta * 0.8)


def test_without_sampling_the_accounted_bound_is_nearly_the_gaussian_one():
    """Eight rounds of noise 4, 1,000 canaries of either kind; steps of the search are 19 % of the noise."""
    source, events = np.random.default_rng(0), [Event("gaussian", 4.0, "all", 1.0)] * 8
    found, absent = source.normal(2.0, 1.0, 1000), source.normal(0.0, 1.0, 1000)
    one = audit_bounds.gdp(found, absent, (0.5, 1.0, 1.5), 1e-5)
    other = accountant_bound.as_accounted(found, absent, (0.5, 1.0, 1.5), events, 1e-5)
    assert 0.6 * one < other <= 1.02 * one


def test_scores_of_a_sampled_gaussian_bound_its_epsilon_from_below():
    """40 audits of 800 canaries, rate 0.3, 4 rounds, noise 1: above in 5 % at most (more than 7 of 40: below 10^-3)."""
    source, rounds, rate = np.random.default_rng(0), 4, 0.3
    events = [Event("gaussian", 1.0, "poisson", rate)] * rounds
    true, found = spent(events, 1e-5).epsilon, []
    for _ in range(40):
        spoken = source.random((rounds, 400)) < rate
        joined = (spoken + source.standard_normal((rounds, 400))).sum(axis=0)
        absent = source.standard_normal((rounds, 400)).sum(axis=0)
        found.append(accountant_bound.as_accounted(joined, absent, (1.0, 2.0, 3.0), events, 1e-5))
    assert sum(bound > true for bound in found) <= 7 and np.mean(found) > 0.2 * true
