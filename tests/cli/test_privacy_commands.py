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


def test_noise_that_is_correlated_over_rounds_is_answered_for_cohorts_that_take_turns(tacit) -> None:
    """Independent noise in six participations is the known one of six rounds with everybody; sums gain by bands."""
    asked = ("--rounds", 60, "--sampling", 0.1, "--cohort", "cyclic", "--json")
    found = {}
    for mechanism in ("gaussian", "banded", "tree"):
        found[mechanism] = tacit("privacy", "calibrate", "--epsilon", 8, "--mechanism", mechanism, *asked).json
        noise = found[mechanism]["noise_multiplier"]
        again = tacit("privacy", "calibrate", "--noise", noise, "--mechanism", mechanism, *asked).json
        assert again == found[mechanism] and again["separation"] == 10 and again["sampling"] == "cyclic"
        assert again["epsilon"] == pytest.approx(8.0) and again["epsilon"] <= 8.0
    six = tacit("privacy", "calibrate", "--epsilon", 8, "--rounds", 6, "--json").json
    assert found["gaussian"]["noise_multiplier"] == pytest.approx(six["noise_multiplier"])
    assert found["banded"]["noise_in_sums"] < 0.5 * found["gaussian"]["noise_in_sums"]
    assert (found["banded"]["bands"], found["gaussian"]["bands"]) == (10, 1) and "bands" not in found["tree"]
    said = tacit("privacy", "calibrate", "--epsilon", 8, "--sampling", 0.1, "--mechanism", "tree")
    assert said.status == 1 and "--cohort cyclic" in said.err
    said = tacit("privacy", "calibrate", "--epsilon", 8, "--cohort", "cyclic", "--mechanism", "laplace")
    assert said.status == 1 and "not accounted for cohorts that take turns" in said.err
