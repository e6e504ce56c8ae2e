"""Noise that hangs together over rounds, in whole runs: kept secret, resumed, and paid for by a budget."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit.core.plan import Plan
from tacit.federation.vocabulary import parse_plan
from tacit.job import api, checkpoint
from tacit.job.budget import Drawing
from tacit.privacy.accountant import spent
from tacit.privacy.budget.account import Account, Allowance
from tacit.privacy.budget.book import Book
from tacit.privacy.budget.location import at
from tacit.privacy.transforms.matrix_gaussian import MatrixGaussian
from tacit.privacy.transforms.norm_driven_gaussian import NormDrivenGaussian

SMALL = """
name = "federated"
rounds = 6
cohort = 20
sampling = "cyclic"
simulation = true
validation = false
data = { kind = "Storefront", customers = 40, items = 60 }
clients = { kind = "ByCustomer" }
model = { kind = "MatrixFactorisation", dim = 4 }
algorithm = { kind = "FedAvg", local = { kind = "SGD", lr = 0.5 } }
protect = [{ kind = "MatrixGaussian", clip_norm = 0.1, noise_multiplier = 0.0, epsilon = 4.0 }]
"""
HOLDER = Account("bank-a", "recommendations")


class Crash(BaseException):
    """What ends the process."""


@pytest.fixture
def plan() -> Plan:
    return parse_plan(SMALL)


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ends a run just before its so-many-th checkpoint is written; returns the arrays of the one before."""

    def make(plan: Plan, folder: Path, call: int, **more: Any) -> dict[str, np.ndarray]:
        calls, kept, save = [0], dict[str, np.ndarray](), checkpoint.save

        def dying(path: Path, point: checkpoint.Checkpoint) -> None:
            calls[0] += 1
            if calls[0] == call:
                raise Crash
            save(path, point)
            kept.update(point.round.state.server)

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "save", dying)
            with pytest.raises(Crash):
                api.run(plan, folder, **more)
        return kept

    return make


def opened(folder: Path, epsilon: float) -> tuple[Book, Drawing]:
    book = Book(at(str(folder / "budget.sqlite3")))
    book.open(HOLDER, Allowance(epsilon, 1e-5, clients=40))
    return book, Drawing(HOLDER.holder, place=book.database.place)


def rounds(folder: Path) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in told]


@pytest.mark.parametrize("protect", [None, NormDrivenGaussian(clip_norm=0.1)], ids=["matrix", "norm driven"])
def test_a_killed_and_resumed_run_gives_the_model_of_one_that_was_not(
    plan: Plan, tmp_path: Path, crash: Any, protect: Any
) -> None:
    plan = replace(plan, protect=(protect,) if protect else plan.protect)
    crash(plan, tmp_path / "again", 4)
    api.run(plan, tmp_path / "again")
    api.run(plan, tmp_path / "whole")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()
    assert rounds(tmp_path / "again") == rounds(tmp_path / "whole")


def test_noise_that_the_server_keeps_stands_in_checkpoints_and_in_no_file_of_a_finished_run(
    plan: Plan, tmp_path: Path, crash: Any
) -> None:
    kept = crash(plan, tmp_path / "run", 4)["#hidden/0/noise"]
    assert kept.shape[0] > 0 and np.any(kept)
    secrets = {value.tobytes() for value in kept.ravel()[kept.ravel() != 0.0][:50]}
    state = b"".join(path.read_bytes() for path in (tmp_path / "run" / "state").rglob("*") if path.is_file())
    assert any(secret in state for secret in secrets), "this is how it would be found"
    api.run(plan, tmp_path / "run")
    assert not (tmp_path / "run" / "state").exists()
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"rounds.jsonl", "report.json", "report.html", "entries.jsonl"} <= {path.name for path in files}
    for path in files:
        whole = path.read_bytes()
        assert b"#hidden" not in whole and not any(secret in whole for secret in secrets)
        assert not any(repr(float(value)).encode() in whole for value in kept.ravel()[:200] if value)


def test_a_run_pays_for_the_whole_factored_training_before_it_is_released(plan: Plan, tmp_path: Path) -> None:
    book, drawing = opened(tmp_path, 4.0)
    report = api.run(replace(plan, simulation=False), tmp_path / "run", budget=drawing).report
    standing = book.standing(HOLDER)
    assert standing.spent.epsilon == pytest.approx(4.0, rel=1e-6) and standing.spent.epsilon <= 4.0
    assert report["privacy"]["epsilon"] == pytest.approx(standing.spent.epsilon)
    assert report["budget"]["charges"] == 6 and not any(standing.held.values())


def test_a_round_that_a_crash_repeats_is_paid_for_in_full(plan: Plan, tmp_path: Path, crash: Any) -> None:
    """Round 4 adds little to what the rounds before it cost, but drawn again it is a release of its own."""
    book, drawing = opened(tmp_path, 8.0)
    plan = replace(plan, simulation=False)
    crash(plan, tmp_path / "run", 4, budget=drawing)
    assert api.run(plan, tmp_path / "run").report["budget"]["repeated"] == 1
    entries = [entry for entry in book.history(HOLDER) if entry.kind == "charge"]
    first, second = (entry.charged for entry in entries if entry.reference.endswith("/4"))
    (less,), (more,) = first, second
    assert more.noise_multiplier < less.noise_multiplier
    all_of_it = sum((Counter(entry.charged) for entry in entries), Counter())
    assert spent(list(all_of_it.elements()), 1e-5).epsilon == pytest.approx(book.standing(HOLDER).spent.epsilon)
    assert 4.0 < book.standing(HOLDER).spent.epsilon < 8.0


@pytest.mark.parametrize("cohort", [20, 0])
def test_noise_that_follows_norms_spends_no_more_than_was_reserved_for_it(
    plan: Plan, tmp_path: Path, cohort: int
) -> None:
    book, drawing = opened(tmp_path, 4.0)
    noise = NormDrivenGaussian(clip_norm=0.1, noise_multiplier=0.0, epsilon=4.0)
    plan = replace(plan, protect=(noise,), cohort=cohort, sampling="cyclic" if cohort else "fixed", simulation=False)
    report = api.run(plan, tmp_path / "run", budget=drawing).report
    assert book.standing(HOLDER).spent.epsilon <= 4.0
    assert report["privacy"]["epsilon"] <= 4.0
    assert report["budget"]["repeated"] == 0


def test_a_training_that_is_cut_short_has_spent_less(plan: Plan, tmp_path: Path) -> None:
    """What its rounds say together is what a release of just these rounds costs."""
    api.run(replace(plan, protect=(MatrixGaussian(clip_norm=0.1, noise_multiplier=3.0),)), tmp_path / "run")
    told = [record["epsilon"] for record in rounds(tmp_path / "run")]
    assert told == sorted(told) and told[1] < told[-1]
