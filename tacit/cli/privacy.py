"""`tacit privacy calibrate`: from an epsilon to the noise that reaches it, and back."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from tacit.core.values import Event, PlanError, Turn
from tacit.privacy.accountant import MECHANISMS, noise_multiplier, spent
from tacit.privacy.calibrate import one_gaussian
from tacit.privacy.matrix_noise import KINDS
from tacit.privacy.transforms.matrix_gaussian import MatrixGaussian

EXAMPLES = """examples:
  tacit privacy calibrate --epsilon 1 --delta 1e-6 --rounds 200 --sampling 0.1
  tacit privacy calibrate --noise-multiplier 1.2 --delta 1e-6 --rounds 200 --sampling 0.1 --json
  tacit privacy calibrate --epsilon 8 --rounds 30 --sampling 0.2 --cohort fixed --unit institution
  tacit privacy calibrate --epsilon 1 --rounds 10 --mechanism laplace
  tacit privacy calibrate --epsilon 8 --rounds 60 --sampling 0.1 --cohort cyclic --mechanism banded
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
        "--cohort",
        choices=["poisson", "fixed", "cyclic"],
        default="poisson",
        help="by coins (default), of a fixed size, or in turn",
    )
    calibrate.add_argument(
        "--mechanism",
        choices=(*MECHANISMS, *KINDS),
        metavar="NAME",
        default="gaussian",
        help=f"{', '.join(MECHANISMS)} (default: gaussian); or correlated over rounds: {' or '.join(KINDS)}",
    )
    calibrate.add_argument("--bands", type=int, default=0, help="of 'banded' (default: the best for rounds and cohort)")
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
    noise, more = arguments.noise, dict[str, Any]()
    try:
        if arguments.cohort == "cyclic" or mechanism in KINDS:
            noise, events, more = _in_turn(arguments)
        else:
            if noise is None:
                noise = noise_multiplier(arguments.epsilon, delta, rounds, sampling, rate, mechanism)
            events = [Event(mechanism, noise, sampling, rate)] * rounds
        cost = spent(events, delta, arguments.unit)
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
    } | more
    print(json.dumps(facts) if arguments.json else "\n".join(f"{key:<18}{value}" for key, value in facts.items()))
    return 0


def _in_turn(arguments: argparse.Namespace) -> tuple[float, list[Event], dict[str, Any]]:
    """(noise multiplier, the rounds' events, what else is to be said) of everybody in each round, or cohorts in turn.

    Raises:
        PlanError: a mechanism that is not accounted for such cohorts.
        ValueError: settings without meaning, or no noise is enough.
    """
    rate, rounds, mechanism = arguments.sampling, arguments.rounds, arguments.mechanism
    if arguments.cohort != "cyclic" and rate < 1.0:
        raise PlanError(f"{mechanism!r} noise is accounted for cohorts that take turns: add --cohort cyclic")
    if mechanism not in ("gaussian", *KINDS):
        raise PlanError(f"{mechanism!r} is not accounted for cohorts that take turns: choose gaussian, banded or tree")
    kind, bands = ("banded", 1) if mechanism == "gaussian" else (mechanism, arguments.bands)
    turns = [Turn(number, rounds, separation=math.ceil(1.0 / rate - 1e-9)) for number in range(1, rounds + 1)]

    def events(noise: float) -> list[Event]:
        made = MatrixGaussian(noise_multiplier=noise, factorisation=kind, bands=bands)
        return [event for turn in turns if (event := made.event("all", 1.0, turn)) is not None]

    noise = arguments.noise or one_gaussian(arguments.epsilon, arguments.delta, events(1.0))
    factor = MatrixGaussian(factorisation=kind, bands=bands).factor(turns[0])
    more = {
        "sampling": "cyclic" if turns[0].separation > 1 else "all",
        "separation": turns[0].separation,  # rounds from one participation of a client to its next
        "noise_in_sums": noise * factor.error(rounds),  # of the rounds so far, root mean square, over the clip norm
    }
    return noise, events(noise), more | ({"bands": factor.bands} if kind == "banded" else {})
