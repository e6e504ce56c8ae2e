"""What must hold of attacks: one line each, then the tables; exits with 1 where something does not hold.

    python -m benchmarks.attacks [--quick] [--json FILE]

MovieLens 100K (from TACIT_DATA) for item sets; Adult for gradients and membership; generated rows for canary audits.
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
from tacit.evaluation.attacks.gradient_inversion import GradientInversion
from tacit.evaluation.attacks.item_sets import ItemSets
from tacit.evaluation.attacks.model_inversion import ModelInversion
from tacit.evaluation.attacks.protections import ladder
from tacit.evaluation.attacks.row_membership import RowMembership
from tacit.evaluation.attacks.scene import Scene
from tacit.evaluation.attacks.sum_membership import SumMembership
from tacit.evaluation.attacks.table import rows
from tacit.learning.fedavg import FedAvg
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.item_item import ItemItem
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.multilayer_perceptron import MultilayerPerceptron
from tacit.privacy.accountant import noise_multiplier
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.gaussian import Gaussian

ROUNDS, DELTA = 3, 1e-5


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


def audited(epsilon: float, added: float, seed: int) -> CanaryAudit:
    """One seeded training of 100 clients and about 500 canaries, through a secure sum of three nodes."""
    source = np.random.default_rng(seed)
    features, clients = 60, 100
    x = source.standard_normal((3 * clients, features)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.float32)
    people = Population(Schema("tabular", features=features), np.arange(clients + 1) * 3, {"x": x, "y": y})
    z = noise_multiplier(epsilon, DELTA, ROUNDS, "all", 1.0)
    noise = Gaussian(1.0, z) if added == 1.0 else Sabotaged(1.0, z, added=added)
    plan = Plan(
        data=Adult(),
        clients=ByCustomer(),
        model=MultilayerPerceptron(64),
        algorithm=FedAvg(),
        rounds=ROUNDS,
        protect=(noise,),
        secure_sum=SecAgg(minimum=3),
        secure_between="nodes",
        simulation=True,
        seed=seed,
    )
    return audit(plan, people, epsilon, DELTA, canaries=1000, nodes=3, seed=seed)


def inverted(scene: Scene, batch: int, seed: int) -> float:
    """Share of at least 500 rows that plain gradients give back."""
    attack = GradientInversion(batch, clients=-(-500 // batch))
    return attack.attempt(replace(scene, seed=seed), ladder()[0]).recovered


def audits(seeds: int) -> Iterator[tuple[str, bool, str]]:
    """(what must hold, whether it does, figures) of the canary audit."""
    for name, epsilon, added, beyond, needed in (
        ("bound <= claimed 1", 1.0, 1.0, None, seeds),
        ("bound <= claimed 4", 4.0, 1.0, None, seeds),
        ("noise off, 1 claimed: caught", 1.0, 0.0, 1.0, seeds),
        ("noise / 4, 4 claimed: caught", 4.0, 0.25, 4.0, -(-18 * seeds // 20)),
    ):
        bounds = [audited(epsilon, added, seed).bound for seed in range(seeds)]
        right = sum(b <= epsilon if beyond is None else b > beyond for b in bounds)
        told = f"{right} of {seeds}; bounds {min(bounds):.2f} to {max(bounds):.2f}, mean {np.mean(bounds):.2f}"
        yield f"canary audit, {name}", right >= needed, told


def main() -> int:
    torch.set_num_threads(1)
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="four seeds, fewer shadow trainings")
    options.add_argument("--json", type=Path)
    arguments = options.parse_args()
    held: list[tuple[str, bool, str]] = []
    tables: list[dict[str, Any]] = []
    worlds = 6 if arguments.quick else 16
    movies, shop, adult = recommender(), neighbours(), table_of_rows()
    for scene, attacks in (
        (movies, [ItemSets(), SumMembership(), Attributes("gender"), Attributes("age_band")]),
        (shop, [ModelInversion()]),
        (adult, [*(GradientInversion(b) for b in (1, 2, 4, 8, 32)), RowMembership(worlds=worlds)]),
    ):
        for attack in attacks:
            began = time.process_time()
            (row,) = rows(scene, attacks=[attack])
            tables.append(row | {"cpu_seconds": time.process_time() - began})
            print(f"\n{row['question']}  ({tables[-1]['cpu_seconds']:.0f} s CPU)")
            for name, cell in row["cells"].items():
                area = f"  AUC {cell['auc']:.4f} against {cell['guessed_auc']:.4f}" if "auc" in cell else ""
                print(
                    f"  {name:<24}leakage {cell['share']:6.3f} [{cell['low']:6.3f}, {cell['high']:6.3f}] "
                    f"at {cell['rate']:.3g}{area}",
                    flush=True,
                )
            if "more" in row["cells"]["nothing"]:
                print("  nothing:", {k: round(v, 4) for k, v in row["cells"]["nothing"]["more"].items()})
    sets = tables[0]["cells"]
    plain, safe = sets["nothing"], sets["secure sum + DP"]
    held.append(("item sets, plain update: AUC >= 0.99", plain["auc"] >= 0.99, f"{plain['auc']:.4f}"))
    beyond = safe["auc"] - safe["guessed_auc"]
    held.append(("item sets, secure sum of 100 + DP: AUC - popularity <= 0.02", beyond <= 0.02, f"{beyond:+.4f}"))
    for row in tables:
        if (
            row["attack"] == "GradientInversion"
            and "batch=32" not in row["setting"]
            and "batch=8" not in row["setting"]
        ):
            open_, shut = (row["cells"][name]["recovered"] for name in ("nothing", "secure sum + DP"))
            told = f"{open_:.3f} and {shut:.3f}"
            held.append((f"{row['setting']}: plain all rows, protected none", open_ >= 0.999 and shut == 0.0, told))
    for batch in (1, 2, 4):
        several = [inverted(adult, batch, seed) for seed in range(3)]
        told = f"{min(several):.4f} in the worst of {len(several)} seeds"
        held.append((f"500 rows at batch {batch}, plain: all given back", min(several) >= 0.999, told))
    for row in tables:
        if "batch=32" not in row["setting"]:
            cell = row["cells"]["nothing"]
            told = f"leakage {cell['share']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"
            held.append((f"{row['setting']}: the unprotected run is broken", bool(cell["broken"]), told))
    print()
    for line in (*held, *audits(4 if arguments.quick else 20)):
        held += [line] if line not in held else []
        print(f"{'holds' if line[1] else 'DOES NOT HOLD'}: {line[0]}: {line[2]}", flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"tables": tables, "held": held}, indent=1, default=float) + "\n")
    return 0 if all(ok for _, ok, _ in held) else 1


if __name__ == "__main__":
    sys.exit(main())
