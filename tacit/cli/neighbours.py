"""`tacit privacy neighbours`: with how many others each client of a secure sum masks, and how many shares open it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tacit.core.values import PlanError
from tacit.privacy.secure_sum.graph import CORRECTNESS, SECRECY, choose, share, thresholds
from tacit.privacy.secure_sum.rules import COMPLETE, Rules
from tacit.privacy.secure_sum.wire import traffic

SIZES = (10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)
COLUMNS = ("clients", "colluding", "dropping out", "neighbours", "threshold", "against", "bytes up", "bytes down")


EXAMPLES = """examples:
  tacit privacy neighbours
  tacit privacy neighbours --clients 1000 --dropout 0.33 --colluding 0.1
  tacit privacy neighbours --clients 100 1000 10000 --secrecy 60 --json
"""


def add(actions: Any) -> None:
    """The action `neighbours` of the command `privacy`."""
    command = actions.add_parser(
        "neighbours",
        help="neighbours and threshold of a secure sum",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
        description="Neighbours and threshold against both kinds of server, by exact hypergeometric tails and a union\n"
        "bound over clients; up to 100 clients the complete graph. Bytes are of one client, beside its vector.",
    )
    command.add_argument("--clients", type=int, nargs="+", help="of a round (default: a table of sizes)")
    command.add_argument("--dropout", type=float, default=0.1, help="share of the clients that may vanish")
    command.add_argument("--colluding", type=float, default=0.05, help="share that may work with the server")
    command.add_argument("--secrecy", type=int, default=SECRECY, help="bits: chance 2^-BITS that anybody is exposed")
    command.add_argument("--correctness", type=int, default=CORRECTNESS, help="bits: chance 2^-BITS that a round fails")
    command.add_argument("--json", action="store_true")


def table(
    clients: tuple[int, ...], dropout: float, colluding: float, secrecy: int = SECRECY, correctness: int = CORRECTNESS
) -> list[dict[str, Any]]:
    """A row for each number of clients and each kind of server.

    Raises:
        PlanError: numbers out of range.
    """
    rows = []
    for n in clients:
        for against in ("semi-honest", "malicious"):
            rules = Rules(
                against=against, dropout=dropout, colluding=colluding, secrecy=secrecy, correctness=correctness
            )
            k, t = rules.shape(n)
            _, most, _ = thresholds(n, k, dropout, colluding, secrecy, correctness)
            up, down = traffic(n, k, 0, 12 * n, against == "malicious")
            sparse = choose(n, dropout, colluding, against == "malicious", secrecy, correctness)
            rows.append(
                {
                    "clients": n,
                    "colluding": share(colluding, n),
                    "dropout": share(dropout, n),
                    "against": against,
                    "neighbours": k,
                    "threshold": t,
                    "complete": k == n - 1,
                    "least": {"neighbours": sparse[0], "threshold": sparse[1]},
                    "survives": t <= most,
                    "bytes_up": up,
                    "bytes_down": down,
                }
            )
    return rows


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or one JSON object."""
    clients = tuple(arguments.clients or SIZES)
    if min(clients) < 2:
        raise PlanError(f"a secure sum needs at least 2 clients, got {min(clients)}")
    rows = table(clients, arguments.dropout, arguments.colluding, arguments.secrecy, arguments.correctness)
    if arguments.json:
        print(json.dumps({"rows": rows, "secrecy": arguments.secrecy, "correctness": arguments.correctness}))
        return 0
    lines = [COLUMNS]
    for row in rows:
        all_or = " (all)" if row["complete"] else ""
        frail = "" if row["survives"] else " *"
        counts = (f"{row['clients']:,}", f"{row['colluding']:,}", f"{row['dropout']:,}")
        shape = (f"{row['neighbours']:,}{all_or}", f"{row['threshold']:,}{frail}", row["against"])
        lines.append((*counts, *shape, f"{row['bytes_up']:,}", f"{row['bytes_down']:,}"))
    widths = [max(len(line[place]) for line in lines) for place in range(len(COLUMNS))]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    print(
        f"\nA round exposes an honest client with a chance of at most 2^-{arguments.secrecy}, and fails by chance with "
        f"at most 2^-{arguments.correctness} if no more vanish. Up to {COMPLETE} clients all are neighbours."
    )
    if not all(row["survives"] for row in rows):
        print("* secrecy comes first here: with fewer dropouts than that the round may end already.")
    return 0
