"""Who takes part: exact sizes, coins, nodes, and what can be reproduced."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.federation.cohort import by_node, draw, vanishes


def test_a_fixed_cohort_has_its_size_and_names_each_client_once(make_plan):
    for round in range(1, 30):
        cohort = draw(make_plan(cohort=13, simulation=False), 40, round)
        assert len(set(cohort.tolist())) == 13
        assert np.array_equal(cohort, np.sort(cohort))
        assert cohort.min() >= 0 and cohort.max() < 40


@pytest.mark.parametrize("sampling", ["fixed", "poisson"])
def test_every_client_is_equally_likely_to_be_asked(make_plan, sampling):
    """Seed 0; 2,000 rounds, 40 clients, rate 1/4. Each count is within 5.5 standard deviations: false alarm < 2e-6."""
    plan = make_plan(cohort=10, sampling=sampling, seed=0)
    counts = np.bincount(np.concatenate([draw(plan, 40, r) for r in range(2000)]), minlength=40)
    assert np.all(np.abs(counts - 500) <= 5.5 * np.sqrt(2000 * 0.25 * 0.75))


def test_poisson_cohorts_vary_as_coins_do(make_plan):
    """Seed 1; 2,000 cohorts of 40 coins at 1/4: mean within 5 sigma, variance within 6 sigma: false alarm < 1e-6."""
    plan = make_plan(cohort=10, sampling="poisson", seed=1)
    sizes = np.array([len(draw(plan, 40, r)) for r in range(2000)])
    variance = 40 * 0.25 * 0.75
    assert abs(sizes.mean() - 10) <= 5 * np.sqrt(variance / 2000)
    assert abs(sizes.var() - variance) <= 6 * variance * np.sqrt(2 / 2000)


@pytest.mark.parametrize("sampling", ["fixed", "poisson"])
def test_cohorts_are_reproducible_under_simulation_only(make_plan, sampling):
    """Without simulation 20 cohorts of 10 in 40 come out alike by chance with probability below 1e-100."""
    plans = [make_plan(cohort=10, sampling=sampling, simulation=it) for it in (True, False)]
    again = [[draw(plan, 40, r).tolist() for r in range(20)] for plan in plans for _ in range(2)]
    assert again[0] == again[1]
    assert again[2] != again[3]
    assert again[0] != again[2]


def test_rounds_under_simulation_draw_different_cohorts(make_plan):
    plan = make_plan(cohort=10)
    assert len({tuple(draw(plan, 40, r).tolist()) for r in range(50)}) == 50


@settings(max_examples=50, deadline=None)
@given(counts=st.lists(st.integers(0, 12), min_size=1, max_size=6), data=st.data())
def test_a_cohort_told_to_nodes_names_the_same_clients(counts, data):
    nodes = {f"n{i}": count for i, count in enumerate(counts)}
    total = sum(counts)
    cohort = np.array(sorted(data.draw(st.sets(st.integers(0, max(total - 1, 0)), max_size=total))), np.int64)
    cohort = cohort[cohort < total]
    first = dict(zip(nodes, np.cumsum([0, *counts[:-1]]).tolist(), strict=True))
    told = by_node(cohort, nodes)
    assert all(len(mine) for mine in told.values())
    assert sorted(int(c) + first[n] for n, mine in told.items() for c in mine) == cohort.tolist()


def test_the_simulated_share_of_a_cohort_drops_out(make_plan):
    """Seed 0; 8,000 coins at 0.2: within 5 standard deviations, false alarm < 1e-6. Nobody drops out by default."""
    plan = make_plan(dropout=0.2)
    gone = sum(vanishes(plan, client, round) for client in range(40) for round in range(200))
    assert abs(gone - 1600) <= 5 * np.sqrt(8000 * 0.2 * 0.8)
    assert not any(vanishes(make_plan(), client, 1) for client in range(40))
