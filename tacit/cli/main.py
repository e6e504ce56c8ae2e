"""The command line: run a plan, resume it, audit it, get data, show the demo."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tacit.cli import attack, budget, commands, neighbours
from tacit.cli import privacy as privacy_commands
from tacit.cli import tradeoff as tradeoff_command
from tacit.core.values import TacitError

EXAMPLES = """examples:
  tacit demo                          MovieLens 100K where it is found, else a generated storefront
  tacit run movielens-100k --json     one object on standard output
  tacit run examples/own-interactions.toml --data ~/tables
  tacit run --resume runs/movielens-100k
  tacit data get movielens-100k       show the terms, download from GroupLens, verify
  tacit audit verify runs/movielens-100k
  tacit budget open --holder bank-a --epsilon 8   and then: tacit run PLAN --holder bank-a
"""


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="tacit",
        description="Learn personalised models together while every row stays where it was born.",
        epilog=EXAMPLES,
        formatter_class=raw,
    )
    commands_of = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands_of.add_parser(
        "run",
        help="run a plan and write its report",
        formatter_class=raw,
        description="Run a built-in plan or a plan file: train, compare, account, record, report.",
        epilog=f"built-in plans: {', '.join(commands.built_in())}\n\n{EXAMPLES}",
    )
    run.add_argument("plan", nargs="?", help="a built-in plan, or a TOML file")
    run.add_argument("--out", type=Path, help="run folder (default: runs/NAME, numbered if it exists)")
    run.add_argument("--resume", type=Path, metavar="RUN", help="go on with the unfinished run in this folder")
    run.add_argument("--data", type=Path, metavar="DIR", help="folder that holds data sets")
    run.add_argument("--rounds", type=int, help="instead of the plan's, for its first training")
    run.add_argument("--seed", type=int, help="instead of the plan's")
    run.add_argument("--simulation", action="store_true", help="reproducible: all randomness from the seed")
    run.add_argument("--engine", choices=["process", "ray"], default="process", help="where clients live")
    run.add_argument("--processes", type=int, default=2, help="of the ray engine")
    run.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    budget.add_drawing(run)

    demo = commands_of.add_parser(
        "demo",
        help="the main job on MovieLens 100K, or on generated data",
        formatter_class=raw,
        epilog=_examples("tacit demo", "tacit demo --data ~/sets --out runs/first"),
    )
    demo.add_argument("--out", type=Path, help="run folder (default: runs/demo, numbered if it exists)")
    demo.add_argument("--data", type=Path, metavar="DIR", help="folder that holds data sets")

    plan = commands_of.add_parser(
        "plan",
        help="show, check and hash a plan, and say what it will spend",
        formatter_class=raw,
        epilog=_examples("tacit plan movielens-100k", "tacit plan examples/own-interactions.toml"),
    )
    plan.add_argument("plan", help="a built-in plan, or a TOML file")

    data = commands_of.add_parser(
        "data",
        help="public data sets",
        formatter_class=raw,
        epilog=_examples(
            "tacit data show",
            "tacit data get movielens-100k",
        ),
    ).add_subparsers(dest="action", required=True, metavar="ACTION")
    get = data.add_parser(
        "get",
        help="download a set from its publisher, after its terms",
        formatter_class=raw,
        epilog=_examples("tacit data get movielens-100k", "tacit data get movielens-1m --folder ~/sets --yes"),
    )
    get.add_argument("name", choices=["movielens-100k", "movielens-1m"])
    get.add_argument("--folder", type=Path, help="where to put it (default: your cache folder)")
    get.add_argument("--yes", action="store_true", help="accept the terms without being asked")
    show = data.add_parser(
        "show",
        help="where data sets are looked for, and what is there",
        formatter_class=raw,
        epilog=_examples("tacit data show", "tacit data show --data ~/sets"),
    )
    show.add_argument("--data", type=Path, metavar="DIR", help="folder that holds data sets")

    audit = commands_of.add_parser(
        "audit",
        help="prove what a run did",
        formatter_class=raw,
        epilog=_examples(
            "tacit audit verify runs/demo",
        ),
    ).add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = audit.add_parser(
        "verify",
        help="recompute every hash and signature of a run's ledger",
        formatter_class=raw,
        epilog=_examples("tacit audit verify runs/demo", "tacit audit verify runs/demo --key kept/key.pub --json"),
    )
    verify.add_argument("run", type=Path, metavar="RUN")
    verify.add_argument("--key", type=Path, help="public key to trust, instead of the one in the run folder")
    verify.add_argument("--json", action="store_true")

    attack.add(commands_of)
    tradeoff_command.add(commands_of)

    privacy = commands_of.add_parser(
        "privacy",
        help="noise, epsilon and neighbours: arithmetic that needs no data",
        formatter_class=raw,
        epilog=_examples(
            "tacit privacy calibrate --epsilon 8 --delta 1e-5 --rounds 30 --sampling 0.2",
            "tacit privacy neighbours --clients 1000",
        ),
    ).add_subparsers(dest="action", required=True, metavar="ACTION")
    privacy_commands.add(privacy)
    neighbours.add(privacy)

    budget.add(commands_of)

    leak = commands_of.add_parser(
        "leak",
        help="reproduce the evaluation leak described in docs/leak.md",
        formatter_class=raw,
        epilog=_examples("tacit leak storefront", "tacit leak movielens-100k --json"),
    )
    leak.add_argument("plan", help="a built-in plan or plan file whose interactions are used")
    leak.add_argument("--data", type=Path, metavar="DIR", help="folder that holds data sets")
    leak.add_argument("--epochs", type=int, default=40)
    leak.add_argument("--json", action="store_true")
    return top


def _examples(*lines: str) -> str:
    return "\n".join(["examples:", *(f"  {line}" for line in lines)])


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0 done, 1 an error that is explained, 130 interrupted."""
    arguments = parser().parse_args(argv)
    try:
        return commands.run_command(arguments)
    except BrokenPipeError:
        return 1
    except (TacitError, OSError) as error:
        told = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else str(error)
        if getattr(arguments, "json", False):
            print(json.dumps({"error": told, "kind": type(error).__name__}))
        print(f"tacit: {told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        folder = stop.args[0] if stop.args else "RUN"
        print(f"tacit: interrupted; finished rounds are kept: tacit run --resume {folder} goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
