"""`tacit tradeoff PLAN`: what privacy costs in quality, over several epsilons."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tacit.audit.tradeoff import page
from tacit.core.plan import Plan
from tacit.core.values import PlanError
from tacit.data.interactions import Interactions
from tacit.job.task import load
from tacit.job.tradeoff import EPSILONS, Tradeoff, private_training, tradeoff

EXAMPLES = """examples:
  tacit tradeoff movielens-1m --seeds 3
  tacit tradeoff movielens-1m --epsilons 0.5 1 2 4 --rounds 1
  tacit tradeoff movielens-100k --epsilons 1 8 --seeds 10 --out runs/curve
  tacit tradeoff storefront --json
"""


def add(commands: Any) -> None:
    """The command `tradeoff`."""
    command = commands.add_parser(
        "tradeoff",
        help="quality of a plan's private training by epsilon",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Trains the plan's private recommender at several epsilons, each with several draws of the noise,\n"
        "and prints HR@10 with its interval over customers. Every figure is of the test items: nothing is chosen by it."
        "\nThe noise is drawn from numbered seeds: an experiment on the rows, no release, and no budget pays for it.\n"
        "A plan with `tradeoff = [0.5, 1.0, ...]` beside a training has the same curve in the report of `tacit run`.",
        epilog=EXAMPLES,
    )
    command.add_argument("plan", nargs="?", default="storefront", help="a built-in plan, or a TOML file")
    command.add_argument("--epsilons", type=float, nargs="+", default=list(EPSILONS), metavar="E")
    command.add_argument("--seeds", type=int, default=5, help="draws of the noise for each epsilon (default: 5)")
    command.add_argument("--rounds", type=int, help="instead of the training's; they share each epsilon")
    command.add_argument("--training", default="", help="which training of the plan (default: its first private one)")
    command.add_argument("--data", type=Path, metavar="DIR", help="folder that holds data sets")
    command.add_argument("--out", type=Path, metavar="DIR", help="also write tradeoff.json and tradeoff.html there")
    command.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(arguments: argparse.Namespace, plan: Plan) -> int:
    """Print a line for each epsilon as it is known, or one object.

    Raises:
        TacitError: the plan or the data cannot be used.
    """
    plan = private_training(plan, arguments.training)
    if arguments.rounds is not None:
        plan = replace(plan, rounds=arguments.rounds)
    data = load(plan, arguments.data)
    if not isinstance(data, Interactions):
        raise PlanError(f"{arguments.plan} is no plan on interactions")
    found: dict[str, Any] = {}
    head = f"{'epsilon':>8}  {'HR@10':>6}  {'95 % over customers':<20}  {'NDCG@10':>7}  over the noise"
    for item in tradeoff(plan, data, arguments.epsilons, arguments.seeds):
        if isinstance(item, Tradeoff):
            found = item.report()
        elif not arguments.json:
            if head:
                print(head)
                head = ""
            print(
                f"{item['epsilon']:>8g}  {item['hr@10']:>6.4f}  [{item['low']:.4f}, {item['high']:.4f}]"
                f"{'':<4}  {item['ndcg@10']:>7.4f}  {' '.join(f'{value:.4f}' for value in item['runs'])}",
                flush=True,
            )
    found = {"plan": plan.digest(), "data": data.name} | found
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "tradeoff.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        title = f"Quality by epsilon: {plan.name} on {data.name}"
        (arguments.out / "tradeoff.html").write_text(page(found, title), encoding="utf-8")
    if arguments.json:
        print(json.dumps(found))
        return 0
    for name, value in found["levels"].items():
        print(f"{name:>20}  {value:.4f}")
    print(
        f"delta {found['delta']:g} per customer, add-or-remove-one; {found['seeds']} draws of the noise each; "
        f"rounds: {plan.rounds}"
    )
    return 0
