"""`tacit attack RUN`: try to break a finished run's plan; `tacit attack --bench`: what must hold."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tacit.core.values import PlanError
from tacit.job.attack import COHORT, attack_run

TOLD = """Re-simulates a training of the run's plan on a part of its clients and attacks it: what single messages,
sums and the model give away, against every protection. Adds attacks.json and attacks.html to the run folder,
signed; what the ledger sealed is not touched."""
EXAMPLES = """examples:
  tacit attack runs/demo                     every attack against every protection, on a part of the customers
  tacit attack runs/demo --training private --json
  tacit attack runs/demo --out found         leave the run's folder as it is
"""


def add(commands: Any) -> None:
    """The command `attack`."""
    attack = commands.add_parser(
        "attack",
        help="try to break a finished run, against every protection",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=TOLD,
        epilog=EXAMPLES,
    )
    attack.add_argument("run", type=Path, metavar="RUN")
    attack.add_argument("--training", default="", help="which training of the plan (default: the first)")
    attack.add_argument("--cohort", type=int, default=COHORT, help=f"clients in one sum (default: {COHORT})")
    attack.add_argument("--canaries", type=int, default=1000, help="vectors of the canary audit (default: 1000)")
    attack.add_argument("--data", type=Path, metavar="DIR", help="folder that holds data sets")
    attack.add_argument("--out", type=Path, metavar="DIR", help="write there instead of into the run folder")
    attack.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Print each attack's figures as they come, or all of it as one object."""
    if arguments.cohort < 20 or arguments.canaries < 20:
        raise PlanError("--cohort and --canaries must be at least 20")
    found: dict[str, Any] = {}
    for item in attack_run(
        arguments.run, arguments.data, arguments.training, arguments.cohort, arguments.canaries, arguments.out
    ):
        if "rows" in item:
            found = item
        elif not arguments.json:
            print("\n".join(lines(item)), flush=True)
    if arguments.json:
        print(json.dumps(found))
        return 0
    audit = found.get("audit")
    if audit is not None and "refused" in audit:
        print(f"canary audit: none, {audit['refused']}")
    elif audit is not None:
        print(
            f"canary audit: epsilon {audit['claimed']:.2f} is claimed for {audit['rounds']} of {audit['of_rounds']} "
            f"rounds, at least {audit['bound']:.2f} was shown "
            f"({audit['joined']} of {audit['canaries']} canaries joined): "
            + ("the claim holds" if audit["holds"] else "THE CLAIM DOES NOT HOLD")
        )
    print(f"{found['definition']}\n{found['simulated']}", file=sys.stderr)
    print(f"report       {(arguments.out or arguments.run) / 'attacks.html'}")
    return 0


def lines(row: dict[str, Any]) -> list[str]:
    """One attack in plain lines."""
    out = [row["question"]]
    if "refused" in row:
        return [*out, f"  not tried: {row['refused']}"]
    for name, cell in row["cells"].items():
        line = f"  {name:<24}leakage {cell['share']:6.3f} [{cell['low']:6.3f}, {cell['high']:6.3f}]"
        line += f" at {cell['rate']:.3g} false positives"
        if cell.get("auc") is not None:
            line += f", AUC {cell['auc']:.3f} (guessing {cell['guessed_auc']:.3f})"
        out.append(line)
    for name, why in row.get("untried", {}).items():
        out.append(f"  {name:<24}not tried: {why}")
    return out
