"""Every command explains itself, does what it says, and fails in words with status 1."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tacit.cli import commands
from tacit.cli.main import parser
from tacit.data.folders import folders
from tacit.federation.vocabulary import parse_plan

QUICK = """
name = "federated"
rounds = 2
data = { kind = "Storefront", customers = 30, items = 60 }
clients = "ByCustomer"
model = { kind = "ImplicitALS", dim = 3 }
algorithm = "SumOfStatistics"
"""


def every_command(top: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command that does something."""
    below = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield words
    for action in below:
        for name, child in action.choices.items():
            yield from every_command(child, (*words, name))


DATA = tuple(place.absolute() for place in folders())  # before tests empty them
COMMANDS = tuple(every_command(parser()))


@pytest.fixture
def quick(empty):
    path = empty / "quick.toml"
    path.write_text(QUICK)
    return path


# -- help --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_every_command_shows_examples_of_it(tacit, words):
    said = tacit(*words, "--help")
    assert said.status == 0
    assert re.search(rf"^  tacit {' '.join(words)}\b", said.out, re.MULTILINE), "an example that can be copied"
    assert all(len(line) <= 120 for line in said.out.splitlines())


def test_help_of_every_group_of_commands_shows_an_example_too():
    def groups(top):
        for action in top._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield top
                for child in action.choices.values():
                    yield from groups(child)

    for top in groups(parser()):
        assert re.search(rf"^  {top.prog}\b", top.format_help(), re.MULTILINE), top.prog


def test_help_of_the_whole_shows_every_command(tacit):
    said = tacit("--help")
    assert said.status == 0
    for words in COMMANDS:
        assert words[0] in said.out
    assert said.out.count("tacit ") > 5


def test_examples_of_help_are_commands_that_exist():
    """Each line of an example is taken apart by the parser itself."""

    def texts(top):
        yield top.epilog or ""
        for action in top._actions:
            if isinstance(action, argparse._SubParsersAction):
                for child in action.choices.values():
                    yield from texts(child)

    lines = {line for text in texts(parser()) for line in text.splitlines() if line.startswith("  tacit ")}
    assert len(lines) > 8
    for line in lines:
        parser().parse_args(re.split(r"\s{2,}", line.strip())[0].split()[1:])


def test_an_unknown_command_is_refused(tacit):
    assert tacit("fly").status == 2
    assert tacit().status == 2


# -- plans -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", commands.built_in())
def test_a_printed_plan_is_the_plan(tacit, empty, name):
    said = tacit("plan", name)
    assert (said.status, said.err) == (0, "")
    plan = commands.plan_of(name)
    assert parse_plan(said.out) == plan
    assert said.out.startswith(f"# digest {plan.digest()}\n")
    (empty / "copy.toml").write_text(said.out)
    assert tacit("plan", "copy.toml").out == said.out


def test_an_unknown_plan_is_named_beside_those_that_exist(tacit):
    for command in ("run", "plan", "leak"):
        said = tacit(command, "movielens-10k")
        assert (said.status, said.out) == (1, "")
        assert "'movielens-10k'" in said.err and "movielens-100k" in said.err
        assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cohorts = 3", ("'cohorts'", "did you mean 'cohort'")),
        ('data = { kind = "Storefrnt" }', ("'Storefrnt'", "did you mean 'Storefront'")),
        ('model = { kind = "ImplicitALS", dims = 3 }', ("'dims'", "did you mean 'dim'")),
        ("rounds = 0", ("rounds", "0")),
        ('rounds = "many"', ("rounds", "int")),
        ("rounds = ", ("TOML",)),
        ('algorithm = "FedAvg"', ("FedAvg", "ImplicitALS", "SumOfStatistics")),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_plan_file_with_a_mistake_is_refused_with_the_nearest_right_word(tacit, empty, line, words, command):
    key = line.split(" ")[0]
    lines = [old for old in QUICK.splitlines() if not old.startswith(f"{key} ")]
    (empty / "bad.toml").write_text("\n".join([line, *lines]))
    said = tacit(command, "bad.toml")
    assert (said.status, said.out) == (1, "")
    assert all(word in said.err for word in words)
    assert said.err.startswith("tacit: bad.toml") or key == "rounds" or "algorithm" in line
    assert not (empty / "runs").exists()


def test_a_plan_file_that_cannot_be_read_is_refused(tacit, empty):
    (empty / "folder.toml").mkdir()
    (empty / "latin.toml").write_bytes(b'name = "caf\xe9"')
    for name in ("absent.toml", "folder.toml", "latin.toml", "."):
        said = tacit("run", name)
        assert (said.status, said.out) == (1, "")
        assert name in said.err


# -- run ---------------------------------------------------------------------------------------------------------------


def test_a_run_prints_figures_and_where_its_report_is(tacit, quick):
    said = tacit("run", quick)
    assert (said.status, said.err) == (0, ""), "no progress bar where nobody watches a terminal"
    assert re.search(r"federated +0\.\d{3} \[0\.\d{3}, ", said.out)
    assert said.out.endswith("report       runs/quick/report.html\n")
    assert (quick.parent / "runs" / "quick" / "report.html").exists()


def test_json_is_one_object_and_nothing_else(tacit, quick):
    said = tacit("run", quick, "--json")
    assert said.err == ""
    assert said.json["run_folder"] == "runs/quick"
    assert said.json == json.loads((quick.parent / "runs" / "quick" / "report.json").read_text())


def test_runs_of_the_same_name_are_numbered(tacit, quick):
    folders = [tacit("run", quick, "--json").json["run_folder"] for _ in range(3)]
    assert folders == ["runs/quick", "runs/quick-2", "runs/quick-3"]


def test_options_change_the_plan_and_the_run_says_so(tacit, quick):
    report = tacit("run", quick, "--rounds", 1, "--seed", 5, "--simulation", "--json").json
    assert report["rounds"] == 1
    plan = parse_plan(report["plan"])
    assert (plan.rounds, plan.seed, plan.simulation) == (1, 5, True)
    assert plan == replace(parse_plan(QUICK), rounds=1, seed=5, simulation=True)
    assert any("simulation" in note for note in report["notes"])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "name a plan"),
        (("quick.toml", "--resume", "runs/quick"), "leave the plan out"),
        (("--resume", "."), "holds no run"),
        (("quick.toml", "--rounds", "0"), "rounds must be at least 1"),
        (("quick.toml", "--engine", "ray", "--processes", "0"), "--processes must be at least 1"),
        (("quick.toml", "--out", "quick.toml"), "is a file"),
        (("quick.toml", "--out", "quick.toml/deeper"), "cannot be made"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_words(tacit, quick, argv, words):
    said = tacit("run", *argv)
    assert (said.status, said.out) == (1, "")
    assert words in said.err and said.err.startswith("tacit: ")


@pytest.mark.parametrize("option", [("--rounds", 5), ("--seed", 1), ("--simulation",), ("--out", "elsewhere")])
def test_resuming_refuses_what_it_would_have_to_ignore(tacit, quick, option):
    tacit("run", quick)
    said = tacit("run", "--resume", "runs/quick", *option)
    assert said.status == 1 and option[0] in said.err
    assert tacit("run", "--resume", "runs/quick").status == 0


def test_missing_data_are_named_with_the_places_that_were_looked_into(tacit, empty):
    said = tacit("run", "movielens-100k", "--data", "elsewhere")
    assert (said.status, said.out) == (1, "")
    for words in ("movielens-100k was not found", "elsewhere", "tacit data get movielens-100k"):
        assert words in said.err
    assert not (empty / "runs").exists()


@pytest.mark.parametrize(
    "argv",
    [("run", "movielens-100k"), ("run", "nowhere"), ("run",), ("audit", "verify", "nowhere"), ("privacy", "calibrate")],
    ids=" ".join,
)
def test_an_error_too_is_one_json_object_where_json_was_asked_for(tacit, argv):
    said = tacit(*argv, "--json")
    assert said.status == 1
    assert set(said.json) == {"error", "kind"}
    assert said.json["error"] in said.err


def test_an_error_of_the_system_is_told_in_words(tacit, quick, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "runs/quick/model.safetensors")

    monkeypatch.setattr("tacit.job.run.save_file", full)
    said = tacit("run", quick)
    assert said.status == 1
    assert "No space left on device" in said.err and "model.safetensors" in said.err


# -- demo and data -----------------------------------------------------------------------------------------------------


class Watched:
    """Stands for the run of a demo, which takes minutes."""

    def __init__(self):
        self.plans = []

    def __call__(self, plan, folder, *_, **__):
        self.plans.append((plan, folder))
        return "figures"


def test_the_demo_says_first_that_it_uses_generated_data(tacit, empty, monkeypatch):
    watched = Watched()
    monkeypatch.setattr(commands, "_watched", watched)
    said = tacit("demo")
    assert said.status == 0
    assert said.out.splitlines()[0].startswith("A generated storefront: MovieLens 100K was not found.")
    assert "tacit data get movielens-100k" in said.out.splitlines()[0]
    ((plan, folder),) = watched.plans
    assert plan == commands.plan_of("storefront") and str(folder) == "runs/demo"


def test_the_demo_says_first_that_it_uses_movielens_where_it_is_found(tacit, empty, monkeypatch):
    where = [place for place in DATA if (place / "movielens-100k").is_dir()]
    if not where and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail("movielens-100k is needed under CI: set TACIT_DATA")
    if not where:
        pytest.skip("needs the set movielens-100k (set TACIT_DATA)")
    watched = Watched()
    monkeypatch.setattr(commands, "_watched", watched)
    said = tacit("demo", "--data", where[0])
    assert said.status == 0
    assert said.out.splitlines()[0].startswith("MovieLens 100K: 100,000 ratings found on this machine.")
    assert watched.plans[0][0] == commands.plan_of("movielens-100k")


def test_a_set_that_is_found_and_broken_is_not_passed_over_as_missing(tacit, empty):
    place = empty / "sets" / "ml-100k"
    place.mkdir(parents=True)
    rows = [f"{u}\t{i}\t{1 + (u + i) % 5}\t{880000000 + i}" for u in range(1, 944) for i in (1, 2, 3)]
    (place / "u.data").write_text("\n".join(rows))
    (place / "u.user").write_text("\n".join(f"{u}|30|M|student|12345" for u in range(1, 944)))
    genres = "|".join(["0"] * 19)
    items = [f"{i}|Film {i} (1995)|01-Jan-1995||http://x|{genres}" for i in range(1, 1683)]
    (place / "u.item").write_text("\n".join(items), encoding="latin-1")
    (place / "u.genre").write_text("\n".join(f"genre{i}|{i}" for i in range(19)))
    said = tacit("demo", "--data", "sets")
    assert (said.status, said.out) == (1, "")
    assert "u.data" in said.err


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_demo_runs_without_any_data(tacit):
    said = tacit("demo", "--out", "demo")
    assert said.status == 0
    assert "exact: yes" in said.out and "verified: yes" in said.out
    assert tacit("audit", "verify", "demo").status == 0


def test_terms_are_shown_before_a_download_and_consent_is_needed(tacit, empty):
    said = tacit("data", "get", "movielens-100k")
    assert said.status == 1
    assert "GroupLens" in said.out and "--yes" in said.err
    assert not (empty / "cache").exists()


def test_data_show_says_what_is_there_and_what_is_not(tacit, empty):
    said = tacit("data", "show")
    assert said.status == 0
    assert re.search(r"storefront +\d+,\d+ rows", said.out)
    assert re.search(r"movielens-100k +not usable: movielens-100k was not found", said.out)


# -- privacy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [(), ("--rounds", 20), ("--rounds", 20, "--sampling", 0.1), ("--delta", 1e-7)], ids=str
)
def test_calibration_in_both_directions_agrees(tacit, more):
    wanted = tacit("privacy", "calibrate", "--epsilon", 3, *more, "--json").json
    found = tacit("privacy", "calibrate", "--noise", wanted["noise_multiplier"], *more, "--json").json
    assert found == wanted
    assert 2.98 < found["epsilon"] <= 3.0
    assert found["epsilon"] <= found["epsilon_by_rdp"] * 1.001
    assert found["neighbouring"] == "add-or-remove-one"


def test_calibration_prints_what_its_statement_rests_on(tacit):
    said = tacit("privacy", "calibrate", "--noise", 1.0, "--rounds", 3)
    for word in ("epsilon", "delta", "neighbouring", "sampling", "rounds", "noise_multiplier"):
        assert re.search(rf"^{word}\b", said.out, re.MULTILINE)


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("--epsilon", 1, "--noise", 1),
        ("--noise", 0),
        ("--noise", -1),
        ("--noise", "nan"),
        ("--noise", "inf"),
        ("--epsilon", 0),
        ("--epsilon", -2),
        ("--epsilon", "nan"),
        ("--epsilon", 1, "--delta", 0),
        ("--epsilon", 1, "--delta", 1),
        ("--epsilon", 1, "--delta", "nan"),
        ("--epsilon", 1, "--sampling", 0),
        ("--epsilon", 1, "--sampling", 1.5),
        ("--epsilon", 1, "--rounds", 0),
    ],
    ids=str,
)
def test_calibration_refuses_what_has_no_meaning(tacit, argv):
    said = tacit("privacy", "calibrate", *argv)
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("tacit: ") and said.err.count("\n") == 1


# -- audit and leak ----------------------------------------------------------------------------------------------------


def test_verification_of_what_is_no_run_is_refused_in_words(tacit, empty):
    for name in ("nowhere", "."):
        said = tacit("audit", "verify", name)
        assert (said.status, said.out) == (1, "")
        assert "missing" in said.err


def test_the_leak_is_reproduced_by_a_command(tacit, quick):
    found = tacit("leak", quick, "--epochs", 15, "--json").json
    assert found["leaky"]["hr@10"] > found["honest"]["hr@10"] + 0.2
    said = tacit("leak", quick, "--epochs", 2)
    assert re.search(r"^honest +HR@10 0\.\d+ \[", said.out, re.MULTILINE)
