"""A run that is killed, at whatever point, goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tacit.audit.verify import verify
from tacit.core.values import DataError
from tacit.federation.vocabulary import read_plan
from tacit.job.run import run_job

# 4 nodes commit in every round: 3 hosts, in the trainings "federated" and then "best"
KILLS = {
    "when only the plan is written": ("tacit.audit.ledger:Ledger.__init__", 1, "before"),
    "before the first round has ended": ("tacit.federation.private_store:PrivateStore.commit", 1, "before"),
    "when one of three nodes has stored round 2": ("tacit.federation.private_store:PrivateStore.commit", 4, "after"),
    "between the nodes' commit of round 2 and the server's": ("tacit.job.checkpoint:save", 2, "before"),
    "while the server replaces its checkpoint": ("tacit.federation.array_file:os.replace", 8, "before"),
    "between the server's checkpoint and the ledger": ("tacit.job.checkpoint:save", 2, "after"),
    "when an entry of the ledger is not signed": ("tacit.audit.ledger:_extend", 6, "before"),
    "between the ledger and rounds.jsonl": ("tacit.audit.ledger:Ledger.append", 3, "after"),
    "in the second training": ("tacit.job.checkpoint:save", 5, "before"),
    "after the last round": ("tacit.job.checkpoint:save", 6, "after"),
    "between the model and the report": ("tacit.job.run:save_file", 1, "after"),
    "before the ledger is closed": ("tacit.audit.ledger:Ledger.seal", 1, "before"),
    "while the ledger is closed": ("tacit.audit.ledger:Ledger.append", 8, "after"),
    "when all is done but said": ("tacit.audit.ledger:Ledger.seal", 1, "after"),
}


def rounds(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]


def entries(run: Path) -> list[dict]:
    """Of plan and rounds; those of files hold digests of what took how many seconds."""
    lines = (run / "ledger" / "entries.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["kind"] in ("plan", "round")]


def figures(run: Path) -> dict:
    report = json.loads((run / "report.json").read_text())
    return {k: v for k, v in report.items() if k not in ("cost", "run_folder", "curves")}


def timeless(records: list[dict]) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


SUMS = """
name = "federated"
rounds = 60
data = { kind = "Storefront", customers = 40, items = 60 }
clients = "ByCustomer"
model = { kind = "ImplicitALS", dim = 4 }
algorithm = "SumOfStatistics"
"""


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory, small_toml):
    def write(simulation=True):
        path = tmp_path_factory.mktemp("plan") / "small.toml"
        path.write_text(small_toml(simulation))
        return path

    return write


@pytest.mark.parametrize("point", KILLS)
def test_a_run_that_was_killed_gives_the_model_of_one_that_was_not(warm, plan_file, finished, tmp_path, point):
    run = tmp_path / "run"
    at, call, when = KILLS[point]
    status, _, _ = warm.run("run", plan_file(), "--out", run, "--quiet", die={"at": at, "call": call, "when": when})
    assert status == -signal.SIGKILL
    assert warm.run("run", "--resume", run, "--quiet")[::2] == (0, "")
    assert (run / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    assert entries(run) == entries(finished)
    assert timeless(rounds(run)) == timeless(rounds(finished))
    assert figures(run) == figures(finished)
    verified = verify(run)
    assert verified.finished and verified.entries == figures(run)["ledger"]["entries"] == 11


def test_a_run_that_is_killed_again_and_again_still_ends(warm, plan_file, finished, tmp_path):
    run = tmp_path / "run"
    begin = ["run", plan_file(), "--out", run, "--quiet"]
    for _ in range(6):  # each attempt stores one more round and dies
        die = {"at": "tacit.job.checkpoint:save", "call": 1, "when": "after"}
        assert warm.run(*begin, die=die)[0] == -signal.SIGKILL
        begin = ["run", "--resume", run, "--quiet"]
    assert warm.run(*begin)[0] == 0
    assert (run / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    verify(run)


@pytest.mark.parametrize(
    "point", ["between the nodes' commit of round 2 and the server's", "between the server's checkpoint and the ledger"]
)
def test_with_real_noise_a_killed_run_has_the_same_rounds_charges_and_entries(
    warm, plan_file, finished, tmp_path, point
):
    run = tmp_path / "run"
    at, call, when = KILLS[point]
    plan = plan_file(simulation=False)
    assert warm.run("run", plan, "--out", run, "--quiet", die={"at": at, "call": call, "when": when})[0] < 0
    before = entries(run)
    assert warm.run("run", "--resume", run, "--quiet")[::2] == (0, "")
    verify(run)
    assert entries(run)[: len(before)] == before, "what was said before the crash is still said"
    same = ("kind", "training", "number", "cohort", "epsilon", "delta", "unit", "neighbouring")
    told = [[{key: e.get(key) for key in same} for e in entries(folder)] for folder in (run, finished)]
    assert told[0] == told[1]
    lines = [(folder / "ledger" / "entries.jsonl").read_text().count("\n") for folder in (run, finished)]
    assert lines == [11, 11]
    models = [(folder / "model.safetensors").read_bytes() for folder in (run, finished)]
    assert models[0] != models[1], "real noise was drawn"


def test_the_command_line_survives_kill_minus_nine_in_the_middle_of_a_round(environment, tmp_path):
    """The whole way: a process of its own, killed by another, resumed by a third."""
    plan, run = tmp_path / "sums.toml", tmp_path / "run"
    plan.write_text(SUMS)
    command = [sys.executable, "-m", "tacit.cli.main", "run"]
    with subprocess.Popen([*command, plan, "--out", run, "--quiet"], env=environment, cwd=tmp_path) as process:
        await_rounds(run, 4, process.poll)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 4 <= len(rounds(run)) < 60
    again = subprocess.run(
        [*command, "--resume", run, "--json"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (again.returncode, again.stderr) == (0, "")
    report = json.loads(again.stdout)
    assert again.stdout.count("\n") == 1
    assert report == json.loads((run / "report.json").read_text())
    assert [r["number"] for r in rounds(run)] == list(range(1, 61))
    assert verify(run).entries == report["ledger"]["entries"] == 64


def await_rounds(run: Path, count: int, ended=lambda: None) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and ended() is None:
        path = run / "rounds.jsonl"
        if path.exists() and path.read_text().count("\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"{count} rounds were awaited")


def test_control_c_says_how_to_go_on_and_the_run_goes_on(warm, small_toml, tmp_path):
    plan, run = tmp_path / "small.toml", tmp_path / "run"
    plan.write_text(small_toml().replace("rounds = 3", "rounds = 40"))
    child = warm.start("run", plan, "--out", run)
    await_rounds(run, 3)
    os.kill(child.pid, signal.SIGINT)
    assert child.wait() == 130
    assert child.out == ""
    assert "Traceback" not in child.err
    assert f"tacit run --resume {run}" in child.err
    began = len(rounds(run))
    die = {"at": "tacit.job.checkpoint:save", "call": 2, "when": "after"}
    assert warm.run("run", "--resume", run, die=die)[0] == -signal.SIGKILL
    assert len(rounds(run)) == began + 1


def test_a_torn_last_line_of_rounds_is_mended(warm, plan_file, finished, tmp_path):
    run = tmp_path / "run"
    die = {"at": "tacit.job.run:append_round", "call": 2, "when": "after"}
    assert warm.run("run", plan_file(), "--out", run, "--quiet", die=die)[0] < 0
    with (run / "rounds.jsonl").open("r+b") as file:
        file.truncate(file.seek(0, 2) - 40)
    assert warm.run("run", "--resume", run, "--quiet")[0] == 0
    assert timeless(rounds(run)) == timeless(rounds(finished))
    verify(run)


@pytest.fixture(scope="module")
def killed(warm, plan_file, tmp_path_factory):
    """A run that was killed when two rounds were done."""
    run = tmp_path_factory.mktemp("killed") / "run"
    die = {"at": "tacit.job.checkpoint:save", "call": 3, "when": "before"}
    assert warm.run("run", plan_file(), "--out", run, "--quiet", die=die)[0] < 0
    return run


@pytest.fixture
def halfway(killed, tmp_path):
    return shutil.copytree(killed, tmp_path / "run")


def resumed(run: Path) -> None:
    for _ in run_job(read_plan(run / "plan.toml"), run):
        pass


@pytest.mark.parametrize("damage", ["torn", "a bit", "garbage"])
@pytest.mark.parametrize("part", ["server.safetensors", "clients/party-2/round-000002.safetensors"])
def test_a_damaged_state_is_refused_in_words(halfway, damage, part):
    path = halfway / "state" / "federated" / part
    whole = bytearray(path.read_bytes())
    whole[-2] ^= 16
    path.write_bytes({"torn": bytes(whole[:-5]), "a bit": bytes(whole), "garbage": b"?" * 40}[damage])
    with pytest.raises(DataError, match="damaged") as caught:
        resumed(halfway)
    assert caught.value.__cause__ is None
    assert "resume" in str(caught.value)


def test_a_node_that_lost_its_private_parameters_is_named(halfway):
    for path in (halfway / "state" / "federated" / "clients" / "party-2").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"round 2 are missing.*party-2"):
        resumed(halfway)


def test_rounds_jsonl_is_told_again_where_it_was_lost(warm, halfway, finished):
    (halfway / "rounds.jsonl").unlink()
    assert warm.run("run", "--resume", halfway, "--quiet")[0] == 0
    assert timeless(rounds(halfway)) == timeless(rounds(finished))
    verify(halfway)


def test_the_run_of_another_plan_is_refused_and_left_alone(halfway, small_plan):
    before = {path: path.read_bytes() for path in halfway.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="another plan"):
        list(run_job(replace(small_plan, seed=9), halfway))
    assert {path: path.read_bytes() for path in halfway.rglob("*") if path.is_file()} == before


def test_resuming_leaves_the_plan_file_alone(warm, halfway):
    """A crash while it is written again would leave a run that nobody can resume."""
    before = (halfway / "plan.toml").stat()
    assert warm.run("run", "--resume", halfway, "--quiet")[0] == 0
    after = (halfway / "plan.toml").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_resuming_a_finished_run_changes_nothing(warm, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    status, out, err = warm.run("run", "--resume", run, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == json.loads((run / "report.json").read_text())
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_folder_without_a_run_cannot_be_resumed(warm, tmp_path):
    status, out, err = warm.run("run", "--resume", tmp_path)
    assert (status, out) == (1, "")
    assert "holds no run" in err and "Traceback" not in err
