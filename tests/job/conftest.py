"""Small plans, finished runs, and the command line in processes that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tacit.core.plan import Plan
from tacit.data.folders import folders
from tacit.federation.vocabulary import parse_plan

ROOT = Path(__file__).parents[2]

SMALL = """
name = "federated"
rounds = 3
cohort = 20
simulation = {simulation}
data = {{ kind = "Storefront", customers = 40, items = 60 }}
clients = {{ kind = "Uniform", parties = 3 }}
model = {{ kind = "MatrixFactorisation", dim = 4 }}
algorithm = {{ kind = "FedAvg", local = {{ kind = "SGD", lr = 0.5 }} }}
protect = [{{ kind = "Gaussian", clip_norm = 0.1, noise_multiplier = 1.0 }}]
secure_sum = {{ kind = "SecAgg", minimum = 3 }}
baselines = [{{ kind = "Popularity" }}]

[[also]]
name = "best"
select = "best"
protect = false
secure_sum = false
"""


@pytest.fixture(scope="session")
def small_toml() -> Callable[..., str]:
    """A plan of two trainings with private parameters, on three nodes: TOML text."""

    def make(simulation: bool = True, extra: str = "") -> str:
        return extra + SMALL.format(simulation=str(simulation).lower())

    return make


@pytest.fixture(scope="session")
def small_plan(small_toml: Callable[..., str]) -> Plan:
    return parse_plan(small_toml())


@dataclass
class Child:
    """A command in a process of its own."""

    warm: Warm
    pid: int
    folder: Path

    def wait(self) -> int:
        """Exit status, or minus the signal that ended it."""
        return int(self.warm.process.stdout.readline())

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()


@dataclass
class Warm:
    """Starts commands from a process that has imported everything."""

    process: Any
    folder: Path
    count: int = 0

    def start(self, *argv: object, cwd: Path | None = None, die: dict[str, Any] | None = None) -> Child:
        self.count += 1
        place = self.folder / str(self.count)
        place.mkdir()
        job = {"argv": [str(part) for part in argv], "cwd": str(cwd or place), "die": die}
        job |= {"out": str(place / "out"), "err": str(place / "err")}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return Child(self, int(self.process.stdout.readline()), place)

    def run(self, *argv: object, cwd: Path | None = None, die: dict[str, Any] | None = None) -> tuple[int, str, str]:
        """(status, standard output, standard error)."""
        child = self.start(*argv, cwd=cwd, die=die)
        return child.wait(), child.out, child.err


@pytest.fixture(scope="session")
def environment(surroundings: None) -> dict[str, str]:
    """Of subprocesses: this checkout, and the suite's own configuration."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


@pytest.fixture(scope="session")
def warm(
    environment: dict[str, str], small_toml: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Warm]:
    script = str(Path(__file__).parent / "warm.py")
    with subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "WARM_UP": small_toml()},
    ) as process:
        yield Warm(process, tmp_path_factory.mktemp("warm"))
        process.kill()


@pytest.fixture(scope="session")
def finished(warm: Warm, small_toml: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the small plan. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.toml").write_text(small_toml())
    status, _, err = warm.run("run", folder / "small.toml", "--out", folder / "run", "--quiet")
    assert (status, err) == (0, "")
    return folder / "run"


@pytest.fixture(scope="session")
def public() -> Callable[[str], None]:
    """Skip where a public set is absent, with its name; under CI that is a failure."""

    def needs(name: str) -> None:
        if any((place / name).is_dir() for place in folders()):
            return
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"{name} is needed under CI: set TACIT_DATA")
        pytest.skip(f"needs the set {name} (set TACIT_DATA)")

    return needs
