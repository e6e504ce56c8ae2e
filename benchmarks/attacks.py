"""What must hold of attacks: one line each, then the tables; exits with 1 where something does not hold.

    python -m benchmarks.attacks [--quick] [--only tables|rounds|audits] [--attacks NAME,...] [--json FILE]

MovieLens 100K (from TACIT_DATA) for item sets; Adult for gradients and membership; generated rows for canary audits.
`rounds` compares what 1, 5 and 20 rounds give away.
Times are CPU seconds of one process with one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tacit.core.plan import Plan
from tacit.core.values import Array, Population, Schema, Turn
from tacit.data.adult import Adult
from tacit.data.clients import ByCustomer
from tacit.data.folders import folders
from tacit.data.movielens_100k import MovieLens100K
from tacit.data.split import population
from tacit.data.storefront import Storefront
from tacit.evaluation.attacks.attributes import Attributes
from tacit.evaluation.attacks.canary_audit import CanaryAudit, audit
from tacit.evaluation.attacks.customer_membership import CustomerMembership
from tacit.evaluation.attacks.gradient_inversion import GradientInversion
from tacit.evaluation.attacks.item_sets import ItemSets
from tacit.evaluation.attacks.model_inversion import ModelInversion
from tacit.evaluation.attacks.protections import ladder
from tacit.evaluation.attacks.row_membership import RowMembership
from tacit.evaluation.attacks.scene import Attack, Scene
from tacit.evaluation.attacks.sum_membership import SumMembership
from tacit.evaluation.attacks.table import rows
from tacit.learning.fedavg import FedAvg
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.item_item import ItemItem
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.multilayer_perceptron import MultilayerPerceptron
from tacit.privacy.accountant import noise_multiplier
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.gaussian import Gaussian

DELTA = 1e-5
CLIP = 0.02  # about the median norm of a customer's update: with a clip norm of 1, noise would be 60 times an update


@dataclass(frozen=True, slots=True)
class Sabotaged(Gaussian):
    """Claims its noise and adds only a part of it: what an audit must catch."""

    added: float = 0.0  # share of the noise that is really there

    def decode(self, total: Array, turn: Turn, source: Any) -> Array:
        return total + self.added * (Gaussian.decode(self, total, turn, source) - total)


def recommender() -> Scene:
    """Matrix factorisation on MovieLens 100K, all rows."""
    data = MovieLens100K().load(folders(None))
    plan = Plan(data=MovieLens100K(), clients=ByCustomer(), model=MatrixFactorisation(dim=16), algorithm=FedAvg())
    return Scene(plan, population(data, np.arange(len(data))), data.attributes)


def neighbours() -> Scene:
    """An item-item model on a generated storefront: what a published model says."""
    source = Storefront(customers=400, items=300)
    data = source.load()
    plan = Plan(data=source, clients=ByCustomer(), model=ItemItem(), algorithm=SumOfStatistics(), rounds=1)
    return Scene(plan, population(data, np.arange(len(data))), data.attributes)


def table_of_rows() -> Scene:
    """Adult, 4,000 rows, each a client."""
    data = Adult().load(folders(None))
    count = 4000
    fields = {"x": data.x[:count], "y": data.y[:count]}
    schema = Schema("tabular", features=data.x.shape[1])
    plan = Plan(data=Adult(), clients=ByCustomer(), model=MultilayerPerceptron(), algorithm=FedAvg())
    return Scene(plan, Population(schema, np.arange(count + 1), fields))


@dataclass(frozen=True, slots=True)
class SabotagedShares(DistributedGaussian):
    """Claims its shares of noise and adds only a part of each."""

    added: float = 0.0

    def share(self, size: int, step: float, turn: Turn, source: Any) -> Array:
        return np.rint(self.added * DistributedGaussian.share(self, size, step, turn, source)).astype(np.int64)


def audited(how: str, epsilon: float, added: float, seed: int) -> CanaryAudit:
    """One seeded training of 100 clients and 1,000 canaries: everybody for three rounds, or drawn cohorts for eight.

    Noise at the server, or in shares inside the secure sum of four nodes.
    """
    source = np.random.default_rng(seed)
    features, clients, canaries, nodes = 60, 100, 1000, 4
    x = source.standard_normal((3 * clients, features)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.float32)
    people = Population(Schema("tabular", features=features), np.arange(clients + 1) * 3, {"x": x, "y": y})
    rounds, cohort, sampling = (8, 275, how) if how in ("poisson", "fixed") else (3, 0, "fixed")
    rate = cohort / (clients + canaries)
    z = noise_multiplier(epsilon, DELTA, rounds, sampling, rate) if cohort else alone(epsilon, rounds)
    noise: Gaussian | DistributedGaussian
    if how == "shares":
        noise = SabotagedShares(1.0, z, survivors_at_least=nodes, added=added)
    else:
        noise = Sabotaged(1.0, z, added=added)
    plan = Plan(
        data=Adult(),
        clients=ByCustomer(),
        model=MultilayerPerceptron(64),
        algorithm=FedAvg(),
        rounds=rounds,
        cohort=cohort,
        sampling=sampling,
        protect=(noise,),
        secure_sum=SecAgg(minimum=nodes),
        secure_between="nodes",
        simulation=True,
        seed=seed,
    )
    return audit(plan, people, epsilon, DELTA, canaries, nodes, seed)


def alone(epsilon: float, rounds: int) -> float:
    """The noise multiplier with everybody in each round."""
    return noise_multiplier(epsilon, DELTA, rounds, "all", 1.0)


def over_rounds(scene: Scene) -> Iterator[dict[str, Any]]:
    """What several rounds together give away: the same customers in all of them, clipped to about their median norm."""
    steps = {step.name: step for step in ladder(CLIP)}
    for attack in (SumMembership(), ItemSets()):
        for name in ("local DP", "central DP (reader)"):
            for rounds in (1, 5, 20):
                began = time.process_time()
                cell = attack.over(rounds).attempt(scene, steps[name]).summary()
                told = {"attack": type(attack).__name__, "protection": name, "rounds": rounds}
                yield told | cell | {"cpu_seconds": time.process_time() - began}


def inverted(scene: Scene, batch: int, seed: int) -> float:
    """Share of at least 500 rows that plain gradients give back."""
    attack = GradientInversion(batch, clients=-(-500 // batch))
    return attack.attempt(replace(scene, seed=seed), ladder()[0]).recovered


AUDITS = (  # how cohorts and noise come, epsilon claimed, share of the noise that is there, bound that is needed beyond
    ("everybody", 1.0, 1.0, None),
    ("everybody", 4.0, 1.0, None),
    ("everybody", 1.0, 0.0, 1.0),
    ("everybody", 4.0, 0.25, 4.0),
    ("poisson", 1.0, 1.0, None),
    ("poisson", 4.0, 1.0, None),
    ("poisson", 1.0, 0.0, 1.0),
    ("poisson", 4.0, 0.25, 4.0),
    ("fixed", 4.0, 1.0, None),
    ("fixed", 1.0, 0.0, 1.0),
    ("shares", 1.0, 1.0, None),
    ("shares", 4.0, 1.0, None),
    ("shares", 1.0, 0.0, 1.0),
    ("shares", 4.0, 0.25, 4.0),
)


def audits(seeds: int, only: str) -> Iterator[tuple[str, bool, str]]:
    """(what must hold, whether it does, figures) of the canary audit."""
    for how, epsilon, added, beyond in AUDITS:
        if only and how not in only.split(","):
            continue
        began = time.process_time()
        bounds = [audited(how, epsilon, added, seed).bound for seed in range(seeds)]
        right = sum(b <= epsilon if beyond is None else b > beyond for b in bounds)
        needed = -(-18 * seeds // 20) if added == 0.25 else seeds
        name = {1.0: f"bound <= claimed {epsilon:g}", 0.0: f"noise off, {epsilon:g} claimed: caught"}.get(
            added, f"noise / 4, {epsilon:g} claimed: caught"
        )
        told = f"{right} of {seeds}; bounds {min(bounds):.2f} to {max(bounds):.2f}, mean {np.mean(bounds):.2f}"
        seconds = (time.process_time() - began) / seeds
        yield f"canary audit, {how}, {name}", right >= needed, f"{told}; {seconds:.2f} s CPU each"


def shown(name: str, cell: dict[str, Any]) -> str:
    """One figure on a line."""
    area = f"  AUC {cell['auc']:.4f} against {cell['guessed_auc']:.4f}" if "auc" in cell else ""
    interval = f"[{cell['low']:6.3f}, {cell['high']:6.3f}]"
    return f"  {name:<38}leakage {cell['share']:6.3f} {interval} at {cell['rate']:.3g}{area}"


def tables(worlds: int, seeds: int, only: str) -> tuple[list[dict[str, Any]], list[tuple[str, bool, str]]]:
    """Every attack against every protection, printed; and what must hold of it."""
    out: list[dict[str, Any]] = []
    movies, shop, adult = recommender(), neighbours(), table_of_rows()
    stages: tuple[tuple[Scene, list[Attack]], ...] = (
        (movies, [ItemSets(), SumMembership(), Attributes("gender"), Attributes("age_band")]),
        (shop, [ModelInversion(), CustomerMembership()]),
        (adult, [*(GradientInversion(b) for b in (1, 2, 4, 8, 32)), RowMembership(worlds=worlds)]),
    )
    for scene, attacks in stages:
        for attack in attacks:
            if only and type(attack).__name__ not in only.split(","):
                continue
            began = time.process_time()
            (row,) = rows(scene, attacks=[attack])
            out.append(row | {"cpu_seconds": time.process_time() - began})
            print(f"\n{row['question']}  ({out[-1]['cpu_seconds']:.0f} s CPU)")
            for name, cell in row["cells"].items():
                print(shown(name, cell), flush=True)
            if "more" in row["cells"]["nothing"]:
                print("  nothing:", {k: round(v, 4) for k, v in row["cells"]["nothing"]["more"].items()})
    return out, [] if only else [*_of_tables(out), *_of_rows(adult, seeds)]


def _of_tables(found: list[dict[str, Any]]) -> Iterator[tuple[str, bool, str]]:
    sets = found[0]["cells"]
    plain, safe = sets["nothing"], sets["secure sum + DP"]
    yield "item sets, plain update: AUC >= 0.99", plain["auc"] >= 0.99, f"{plain['auc']:.4f}"
    beyond = safe["auc"] - safe["guessed_auc"]
    yield "item sets, secure sum of 100 + DP: AUC - popularity <= 0.02", beyond <= 0.02, f"{beyond:+.4f}"
    for row in found:
        if row["attack"] == "GradientInversion" and any(f"batch={b}," in row["setting"] for b in (1, 2, 4)):
            open_, shut = (row["cells"][name]["recovered"] for name in ("nothing", "secure sum + DP"))
            told = f"{open_:.3f} and {shut:.3f}"
            yield f"{row['setting']}: plain all rows, protected none", open_ >= 0.999 and shut == 0.0, told
    for row in found:
        if "batch=32" not in row["setting"]:
            cell = row["cells"]["nothing"]
            told = f"leakage {cell['share']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"
            yield f"{row['setting']}: the unprotected run is broken", bool(cell["broken"]), told


def _of_rows(adult: Scene, seeds: int) -> Iterator[tuple[str, bool, str]]:
    for batch in (1, 2, 4):
        several = [inverted(adult, batch, seed) for seed in range(seeds)]
        told = f"{min(several):.4f} in the worst of {len(several)} seeds"
        yield f"500 rows at batch {batch}, plain: all given back", min(several) >= 0.999, told


def main() -> int:
    torch.set_num_threads(1)
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="four seeds, fewer shadow trainings")
    options.add_argument("--only", choices=("tables", "rounds", "audits"))
    options.add_argument("--attacks", default="", help="of the tables these attacks only, of the audits these kinds")
    options.add_argument("--json", type=Path)
    arguments = options.parse_args()
    held: list[tuple[str, bool, str]] = []
    found: list[dict[str, Any]] = []
    several: list[dict[str, Any]] = []
    if arguments.only in (None, "tables"):
        found, held = tables(6 if arguments.quick else 16, 1 if arguments.quick else 3, arguments.attacks)
        for line in held:
            _say(line)
    if arguments.only in (None, "rounds"):
        print("\nThe same customers in every round")
        for cell in over_rounds(recommender()):
            several.append(cell)
            print(shown(f"{cell['attack']}, {cell['protection']}, {cell['rounds']}", cell), flush=True)
    if arguments.only in (None, "audits"):
        for line in audits(4 if arguments.quick else 20, arguments.attacks):
            _say(line)
            held.append(line)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        told = {"tables": found, "rounds": several, "held": held}
        arguments.json.write_text(json.dumps(told, indent=1, default=float) + "\n")
    return 0 if all(ok for _, ok, _ in held) else 1


def _say(line: tuple[str, bool, str]) -> None:
    print(f"{'holds' if line[1] else 'DOES NOT HOLD'}: {line[0]}: {line[2]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
