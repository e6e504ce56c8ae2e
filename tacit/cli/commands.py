"""What each command does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from tacit.audit.signed_note import Verifier
from tacit.audit.verify import verify
from tacit.cli import attack, budget, neighbours, privacy, tradeoff
from tacit.cli.progress import Progress
from tacit.core.plan import Plan
from tacit.core.values import DataError, PlanError, TacitError, VerificationError
from tacit.data.download import TERMS, get
from tacit.data.folders import cache, folders
from tacit.data.interactions import Interactions
from tacit.data.split import leave_one_out
from tacit.evaluation import leak
from tacit.federation.vocabulary import parse_plan, read_plan
from tacit.job.budget import Drawing
from tacit.job.promise import promises
from tacit.job.result import Result
from tacit.job.run import run_job
from tacit.job.task import load


def built_in() -> list[str]:
    """Names of the plans that come with the package."""
    found = resources.files("tacit.cli.plans").iterdir()
    return sorted(path.name.removesuffix(".toml") for path in found if path.name.endswith(".toml"))


def plan_of(name: str) -> Plan:
    """A built-in plan by name, or a plan file.

    Raises:
        PlanError: neither is there, or the file cannot be used.
    """
    if name in built_in():
        return parse_plan((resources.files("tacit.cli.plans") / f"{name}.toml").read_text(encoding="utf-8"), name)
    if not name.endswith(".toml") and not Path(name).exists():
        raise PlanError(f"there is no built-in plan {name!r} (there are: {', '.join(built_in())}) and no such file")
    return read_plan(name)


def run_command(arguments: argparse.Namespace) -> int:
    """Dispatch."""
    match arguments.command:
        case "run":
            return _run(arguments)
        case "demo":
            return _demo(arguments)
        case "plan":
            plan = plan_of(arguments.plan)
            told = "".join(f"# {line}\n" for line in promises(plan))
            print(f"# digest {plan.digest()}\n{told}{plan.toml()}", end="")
            return 0
        case "data":
            return _get(arguments) if arguments.action == "get" else _show(arguments)
        case "audit":
            return _verify(arguments)
        case "attack":
            return attack.run(arguments)
        case "tradeoff":
            return tradeoff.run(arguments, plan_of(arguments.plan))
        case "budget":
            return budget.run(arguments)
        case "privacy":
            return neighbours.run(arguments) if arguments.action == "neighbours" else privacy.calibrate(arguments)
        case _:
            return _leak(arguments)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.resume is not None:
        if arguments.plan is not None:
            raise PlanError("--resume goes on with the plan in the run folder: leave the plan out")
        changes = {"--holder": arguments.holder, "--purpose": arguments.purpose, "--budget": arguments.budget}
        changes |= {"--rounds": arguments.rounds, "--seed": arguments.seed}
        changes |= {"--simulation": arguments.simulation or None}
        given = [option for option, value in (changes | {"--out": arguments.out}).items() if value is not None]
        if given:
            raise PlanError(f"--resume goes on with the run as it was begun: leave out {', '.join(given)}")
        folder = arguments.resume
        if not (folder / "plan.toml").exists():
            raise PlanError(f"{folder} holds no run: there is no plan.toml in it")
        plan, drawing = read_plan(folder / "plan.toml"), None
    else:
        drawing = budget.drawing(arguments)
        if arguments.plan is None:
            raise PlanError(f"name a plan: one of {', '.join(built_in())}, or a TOML file")
        plan = _changed(plan_of(arguments.plan), arguments)
        folder = arguments.out or _fresh(Path("runs") / Path(arguments.plan).stem)
    processes = arguments.processes if arguments.engine == "ray" else 0
    if arguments.engine == "ray" and processes < 1:
        raise PlanError(f"--processes must be at least 1, got {processes}")
    result = _watched(plan, folder, arguments.data, processes, arguments.quiet or arguments.json, drawing)
    if arguments.json:
        print(json.dumps(dict(result.report)))
    else:
        print(result)
        print(f"report       {folder / 'report.html'}")
    return 0


def _changed(plan: Plan, arguments: argparse.Namespace) -> Plan:
    if arguments.rounds is not None:
        plan = replace(plan, rounds=arguments.rounds)
    if arguments.seed is not None:
        plan = replace(plan, seed=arguments.seed, also=tuple(replace(a, seed=arguments.seed) for a in plan.also))
    if arguments.simulation:
        plan = replace(plan, simulation=True, also=tuple(replace(a, simulation=True) for a in plan.also))
    return plan


def _fresh(folder: Path) -> Path:
    """The folder, or its first numbered sibling that does not exist."""
    number, candidate = 1, folder
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def _watched(
    plan: Plan, folder: Path, data: Path | None, processes: int, quiet: bool, drawing: Drawing | None = None
) -> Result:
    steps: Iterator[Any] = run_job(plan, folder, data, processes, drawing)
    try:
        with Progress(quiet) as progress:
            for step in steps:
                if isinstance(step, Result):
                    return step
                progress.show(step)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(folder) from None
    raise AssertionError("a job ends with its result")


def _demo(arguments: argparse.Namespace) -> int:
    name = "movielens-100k"
    try:
        data = load(plan_of(name), arguments.data)
        print(f"MovieLens 100K: {len(data):,} ratings found on this machine. {data.note}")
    except DataError as error:
        if "was not found" not in str(error):  # it is there and cannot be used: better said than passed over
            raise
        name = "storefront"
        print(
            "A generated storefront: MovieLens 100K was not found. `tacit data get movielens-100k` downloads it from "
            "GroupLens; then run the demo again."
        )
    folder = arguments.out or _fresh(Path("runs") / "demo")
    result = _watched(plan_of(name), folder, arguments.data, 0, quiet=False)
    print(result)
    print(f"report       {folder / 'report.html'}")
    return 0


def _get(arguments: argparse.Namespace) -> int:
    print(TERMS[arguments.name])
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise DataError("the terms above need your consent: repeat the command with --yes")
        if input("Download under these terms? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    folder = get(arguments.name, arguments.folder or cache())
    print(f"{arguments.name} is in {folder}, verified")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    for folder in folders(arguments.data):
        print(f"{folder}: {'looked into' if folder.exists() else 'not there'}")
    for name in built_in():
        try:
            data = load(plan_of(name), arguments.data)
            print(f"{name:<16} {len(data):>9,} rows. {data.note}")
        except TacitError as error:
            print(f"{name:<16} not usable: {str(error).splitlines()[0]}")
    return 0


def _public(path: Path) -> bytes:
    """(32,) key of a line such as `ledger/key.pub` holds.

    Raises:
        DataError: the file cannot be read or holds no such line.
    """
    try:
        return Verifier.parse(path.read_text(encoding="ascii").strip()).public
    except (OSError, UnicodeDecodeError, VerificationError):
        raise DataError(f"{path} holds no public key: name a copy of a run's ledger/key.pub") from None


def _verify(arguments: argparse.Namespace) -> int:
    verified = verify(arguments.run, None if arguments.key is None else _public(arguments.key))
    facts = {
        "entries": verified.entries,
        "checkpoints": verified.checkpoints,
        "root": verified.root,
        "pinned": verified.pinned,
        "verified": True,
    }
    if arguments.json:
        print(json.dumps(facts))
    else:
        print(f"verified: {verified.entries} entries, {verified.checkpoints} signed checkpoints, root {verified.root}")
        if not verified.pinned:
            print("signed with the key that lies in the run folder: name the owner's own with --key to trust it")
    return 0


def _leak(arguments: argparse.Namespace) -> int:
    plan = plan_of(arguments.plan)
    data = load(plan, arguments.data)
    if not isinstance(data, Interactions):
        raise PlanError("the leak concerns recommenders: name a plan on interactions")
    split = leave_one_out(data, plan.split_seed)
    found = leak.report(split.train, split.test, split.validation, epochs=arguments.epochs)
    if arguments.json:
        print(json.dumps(found))
        return 0
    chance = found["chance"]["hr@10"]
    print(f"no collaboration, {found['customers']} customers, {found['epochs']} passes; chance is {chance:.3f}")
    for name in ("honest", "leaky"):
        part = found[name]
        print(f"{name:<8} HR@10 {part['hr@10']:.3f} [{part['low']['hr@10']:.3f}, {part['high']['hr@10']:.3f}]")
    return 0
