"""What privacy costs on public data, by the built-in plans: the figures that the project promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tacit.cli.commands import plan_of
from tacit.job.api import run

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_noise_in_shares_ranks_as_well_as_noise_by_the_server(tmp_path):
    """Within the server's 95 % interval, at the same epsilon; 200 customers, of whom 5 % vanish. Seed fixed."""
    plan = plan_of(str(EXAMPLES / "distributed-noise.toml"))
    plan = replace(plan, simulation=True, also=tuple(replace(a, simulation=True) for a in plan.also))
    report = run(plan, tmp_path / "run").report
    central = report["central"]
    for metric in ("hr@10", "ndcg@10"):
        assert central["low"][metric] <= report["distributed"][metric] <= central["high"][metric]
    assert report["privacy"]["epsilon"] > 0.0 and report["secure_sum"]["dropped"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_adult_persons_are_protected_with_epsilon_a_tenth_for_half_a_point_of_accuracy(public, tmp_path, seed):
    """Eight silos, real shares of noise inside the secure sum. Seeded: noise and silos differ between the seeds."""
    public("adult")
    plan = plan_of("adult-private")
    plan = replace(plan, seed=seed, simulation=True, also=tuple(replace(a, seed=seed) for a in plan.also))
    report = run(plan, tmp_path / "run").report
    assert report["private"]["accuracy"] >= report["open"]["accuracy"] - 0.005
    assert report["private"]["accuracy"] >= report["centralized"]["accuracy"] - 0.005
    privacy = report["privacy"]
    assert privacy["epsilon"] <= 0.1 and privacy["delta"] == 1e-5 and privacy["unit"] == "example"
    assert report["secure_sum"]["exact"] is True and report["ledger"]["verified"] is True
