"""A private choice: its chances against a count of every order and coin, and what a customer who joins changes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import Event
from tacit.privacy.accountant import spent
from tacit.privacy.exponential import Exponential
from tacit.privacy.private_choice import PrivateChoice
from tacit.privacy.randomness import secure, simulated


def chances(hits: list[int], epsilon: float) -> np.ndarray:
    """Oracle: every order of the places, every coin."""
    out = np.zeros(len(hits))
    for order in itertools.permutations(range(len(hits))):
        going = 1.0 / math.factorial(len(hits))
        for place in order:
            falls = math.exp(-epsilon * (max(hits) - hits[place]))
            out[place] += going * falls
            going *= 1.0 - falls
    return out


@pytest.mark.parametrize(("hits", "epsilon"), [([7, 5, 6], 0.5), ([3, 3], 1.0), ([0, 4, 2, 4], 0.2), ([9], 3.0)])
def test_each_place_is_chosen_with_its_chance(hits: list[int], epsilon: float) -> None:
    """4,000 choices, seed fixed: each count within 5.5 standard errors; false alarm 4e-8 each."""
    source, mechanism = simulated("choice", *hits), PrivateChoice(epsilon)
    counts = np.bincount([mechanism.pick(np.array(hits), source) for _ in range(4_000)], minlength=len(hits))
    hoped = chances(hits, epsilon)
    assert hoped.sum() == pytest.approx(1.0)
    assert np.all(np.abs(counts - 4_000 * hoped) <= 5.5 * np.sqrt(4_000 * hoped * (1.0 - hoped)) + 1e-9)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=5), st.sampled_from([0.1, 1.0, 3.0]))
@settings(max_examples=200, deadline=None)
def test_the_chance_of_any_choice_changes_by_at_most_a_factor_of_e_to_the_epsilon_when_a_customer_joins(
    places: list[tuple[int, bool]], epsilon: float
) -> None:
    before = chances([hits for hits, _ in places], epsilon)
    after = chances([hits + joins for hits, joins in places], epsilon)
    assert np.abs(np.log(before / after)).max() <= epsilon + 1e-9


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.sampled_from([0.1, 1.0]))
@settings(max_examples=100, deadline=None)
def test_a_place_with_more_hits_is_at_least_as_likely(hits: list[int], epsilon: float) -> None:
    found = chances(hits, epsilon)
    assert all(
        found[i] >= found[j] - 1e-12 for i, j in itertools.permutations(range(len(hits)), 2) if hits[i] >= hits[j]
    )
    lost = float(found @ (max(hits) - np.array(hits)))
    assert lost <= math.log(len(hits)) / epsilon + 1e-9  # as its docstring says
    rival = Exponential(epsilon, monotone=True).chances(np.array(hits, float))
    assert lost <= float(rival @ (max(hits) - np.array(hits))) + 1e-9  # never worse than the exponential mechanism


def test_it_costs_its_epsilon() -> None:
    assert PrivateChoice(0.25).event() == Event("exponential", 4.0, "all", 1.0)
    assert spent([PrivateChoice(0.25).event()], 0.0).epsilon == pytest.approx(0.25)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_a_choice_that_could_not_protect_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        PrivateChoice(wrong)


@pytest.mark.parametrize("hits", [[], [1.5, 2.0], [math.nan, 1.0], [-1.0, 3.0], [math.inf]])
def test_what_is_no_number_of_customers_is_refused(hits: list[float]) -> None:
    with pytest.raises(ValueError, match="whole"):
        PrivateChoice().pick(np.array(hits), secure())
