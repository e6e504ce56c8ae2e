"""`tacit privacy calibrate` beyond what test_commands.py asks of it."""

from __future__ import annotations

import pytest


def test_the_example_of_the_manual_answers_the_noise_multiplier_and_the_reverse_its_epsilon(tacit) -> None:
    """Golden: dp-accounting 0.6, 200 Poisson rounds of 10 %, epsilon 1, delta 1e-6."""
    more = ("--delta", 1e-6, "--rounds", 200, "--sampling", 0.1, "--json")
    wanted = tacit("privacy", "calibrate", "--epsilon", 1, *more).json
    assert wanted["noise_multiplier"] == pytest.approx(6.1415, abs=0.01)
    found = tacit("privacy", "calibrate", "--noise-multiplier", wanted["noise_multiplier"], *more).json
    assert found == wanted and found["unit"] == "customer" and found["accountant"] == "PLD"


def test_fixed_cohorts_and_other_mechanisms_and_units_are_named_in_the_answer(tacit) -> None:
    fixed = tacit("privacy", "calibrate", "--noise", 3, "--sampling", 0.1, "--cohort", "fixed", "--json").json
    assert (fixed["neighbouring"], fixed["sampling"]) == ("replace-one", "fixed")
    asked = ("--mechanism", "laplace", "--unit", "example", "--rounds", 5, "--json")
    laplace = tacit("privacy", "calibrate", "--epsilon", 1, *asked).json
    assert (laplace["mechanism"], laplace["unit"]) == ("laplace", "example") and laplace["epsilon"] <= 1.0


def test_noise_that_no_search_finds_is_explained(tacit) -> None:
    said = tacit("privacy", "calibrate", "--epsilon", 1e-9, "--delta", 1e-15)
    assert said.status == 1 and "no noise multiplier" in said.err
