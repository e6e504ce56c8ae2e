"""`tacit privacy calibrate`: from an epsilon to the noise that reaches it, and back."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from tacit.core.values import Event, PlanError
from tacit.privacy.accountant import MECHANISMS, noise_multiplier, spent

EXAMPLES = """examples:
  tacit privacy calibrate --epsilon 1 --delta 1e-6 --rounds 200 --sampling 0.1
  tacit privacy calibrate --noise-multiplier 1.2 --delta 1e-6 --rounds 200 --sampling 0.1 --json
  tacit privacy calibrate --epsilon 8 --rounds 30 --sampling 0.2 --cohort fixed --unit institution
  tacit privacy calibrate --epsilon 1 --rounds 10 --mechanism laplace
"""


def add(actions: Any) -> None:
    """The action `calibrate` of the command `privacy`."""
    calibrate = actions.add_parser(
        "calibrate",
        help="noise for an epsilon, or epsilon for a noise",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="A noise multiplier is the noise's standard deviation (Laplace: scale) over what one unit can\n"
        "move the sum by, of which the clip norm is the bound. For 'exponential' and the like it is\n"
        "1 / epsilon of a round.",
        epilog=EXAMPLES,
    )
    calibrate.add_argument("--epsilon", type=float, help="target; prints the noise multiplier")
    calibrate.add_argument("--noise-multiplier", "--noise", dest="noise", type=float, help="prints epsilon")
    calibrate.add_argument("--delta", type=float, default=1e-5, help="well below 1 / units (default: 1e-5)")
    calibrate.add_argument("--rounds", type=int, default=1, help="releases in all (default: 1)")
    calibrate.add_argument("--sampling", type=float, default=1.0, help="share of the units in a round (default: 1)")
    calibrate.add_argument(
        "--cohort", choices=["poisson", "fixed"], default="poisson", help="by coins (default), or of a fixed size"
    )
    calibrate.add_argument("--mechanism", choices=MECHANISMS, default="gaussian", help="default: gaussian")
    calibrate.add_argument("--unit", default="customer", help="whose presence is hidden (default: customer)")
    calibrate.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def calibrate(arguments: argparse.Namespace) -> int:
    """Print the statement that stands for these numbers.

    Raises:
        PlanError: numbers without a meaning, or no noise is enough.
    """
    if (arguments.epsilon is None) == (arguments.noise is None):
        raise PlanError("give --epsilon to learn the noise multiplier, or --noise-multiplier to learn epsilon")
    given = arguments.epsilon if arguments.noise is None else arguments.noise
    if not 0.0 < given < math.inf:
        raise PlanError(f"--epsilon and --noise-multiplier must be numbers above 0, got {given}")
    if not 0.0 < arguments.sampling <= 1.0 or arguments.rounds < 1 or not 0.0 < arguments.delta < 1.0:
        raise PlanError("--sampling must be in (0, 1], --rounds at least 1 and --delta in (0, 1)")
    rate, delta, rounds, mechanism = arguments.sampling, arguments.delta, arguments.rounds, arguments.mechanism
    sampling = "fixed" if arguments.cohort == "fixed" else "all" if rate == 1.0 else "poisson"
    noise = arguments.noise
    try:
        if noise is None:
            noise = noise_multiplier(arguments.epsilon, delta, rounds, sampling, rate, mechanism)
        cost = spent([Event(mechanism, noise, sampling, rate)] * rounds, delta, arguments.unit)
    except (ValueError, OverflowError) as error:
        raise PlanError(f"this cannot be accounted: {error}") from None
    facts = {
        "noise_multiplier": noise,
        "epsilon": cost.epsilon,
        "epsilon_by_rdp": cost.check,
        "delta": cost.delta,
        "unit": cost.unit,
        "rounds": rounds,
        "sampling": sampling,
        "sampling_rate": rate,
        "neighbouring": cost.neighbouring,
        "mechanism": mechanism,
        "accountant": cost.accountant,
    }
    print(json.dumps(facts) if arguments.json else "\n".join(f"{key:<18}{value}" for key, value in facts.items()))
    return 0
