"""A small finished run with its ledger, signed by a key made from a fixed seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tacit.audit.ledger import Ledger

ROUNDS = 4
PLAN = 'name = "federated"\nrounds = 4\n'


def sha256(data: str | bytes) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def round_entry(number: int, training: str = "federated", private: bool = True, **changes: Any) -> dict[str, Any]:
    spent = {"epsilon": 0.5 * number, "delta": 1e-5, "unit": "customer", "neighbouring": "add-or-remove-one"}
    entry = {
        "training": training,
        "number": number,
        "plan": sha256(training),
        "cohort": 100,
        "clients": 97,
        "dropped": 3,
        "update": sha256(f"{training} {number}"),
    }
    return {**entry, **(spent if private else {}), **changes}


def write_rounds(run: Path, rounds: int, ledger: Ledger) -> None:
    with (run / "rounds.jsonl").open("a", encoding="utf-8", newline="\n") as file:
        for number in range(ledger.size, rounds + 1):
            entry = round_entry(number)
            file.write(json.dumps({**entry, "seconds": 0.25, "hr@10": 0.5, "events": []}, sort_keys=True) + "\n")
            ledger.append_once("round", f"federated/{number}", entry)


def write_files(run: Path) -> None:
    (run / "report.json").write_bytes(b'{"federated": {"hr@10": 0.5}}\n')
    (run / "report.html").write_bytes(b"<!doctype html><p>0.5</p>\n")
    (run / "model.safetensors").write_bytes(bytes(range(64)))


@pytest.fixture(scope="session")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def make_run(tmp_path: Path, key: Ed25519PrivateKey) -> Callable[..., Path]:
    def make(name: str = "run", rounds: int = ROUNDS, sealed: bool = True) -> Path:
        run = tmp_path / name
        run.mkdir()
        (run / "plan.toml").write_bytes(PLAN.encode())
        ledger = Ledger(run / "ledger", key)
        ledger.append_once(
            "plan", "plan", {"plan": sha256(PLAN), "name": "federated", "versions": {"python": "3.11.2"}}
        )
        write_rounds(run, rounds, ledger)
        if sealed:
            write_files(run)
            ledger.seal(run)
        return run

    return make


@pytest.fixture
def run(make_run: Callable[..., Path]) -> Path:
    return make_run()
