"""What correlated noise is worth: HR@10 at equal epsilon, beside independent noise, a tree, coins and no noise.

    python -m benchmarks.correlated_noise [--seeds 5] [--epsilon 8] [--only NAME ...]

The trainings of examples/matrix-noise.toml and two more. Generated data, 2,000 customers, 60 rounds with 200 of them;
every method runs the real loop with the same seeds. HR@10 (leave one out, 99 negatives) is the mean over seeds for each
customer; differences from independent noise come with a paired 95 % bootstrap interval over customers.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.compression import train
from tacit.core.plan import Plan
from tacit.core.protocols import Transform
from tacit.evaluation.bootstrap import paired
from tacit.federation.vocabulary import read_plan
from tacit.job.task import load, tasks
from tacit.privacy.calibrate import calibrate
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.matrix_gaussian import MatrixGaussian
from tacit.privacy.transforms.norm_driven_gaussian import NormDrivenGaussian

EXAMPLE = Path(__file__).parents[1] / "examples" / "matrix-noise.toml"
BASE = "independent"


def methods(epsilon: float) -> dict[str, tuple[str, tuple[Transform, ...]]]:
    """Name -> how cohorts are drawn, and what protects them."""
    return {
        BASE: ("cyclic", (MatrixGaussian(noise_multiplier=0.0, epsilon=epsilon, bands=1),)),
        "banded": ("cyclic", (MatrixGaussian(noise_multiplier=0.0, epsilon=epsilon),)),
        "tree": ("cyclic", (MatrixGaussian(noise_multiplier=0.0, epsilon=epsilon, factorisation="tree"),)),
        "norm driven": ("cyclic", (NormDrivenGaussian(noise_multiplier=0.0, epsilon=epsilon),)),
        "coins": ("poisson", (Gaussian(noise_multiplier=0.0, epsilon=epsilon),)),
        "open": ("cyclic", ()),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--only", nargs="*", metavar="NAME", help=f"beside {BASE}: of {', '.join(methods(8.0))}")
    args = parser.parse_args()
    example: Plan = replace(read_plan(EXAMPLE), also=(), baselines=(), simulation=True)
    task = tasks(example, load(example, None))[0]
    base: np.ndarray | None = None
    print(f"method, noise multiplier, HR@10, difference from {BASE}, interval, difference by seed, CPU of a training")
    for name, (sampling, protect) in methods(args.epsilon).items():
        if args.only and name not in (BASE, *args.only):
            continue
        began, hits = time.process_time(), []
        plan = calibrate(replace(example, sampling=sampling, protect=protect), len(task.train))
        for seed in range(1, args.seeds + 1):
            hits.append(train(replace(plan, seed=seed), task)[0])
        found = np.array(hits)
        base = found if base is None else base
        mine, theirs = found.mean(axis=0), base.mean(axis=0)
        low, high = paired(mine, theirs) if found is not base else (0.0, 0.0)
        multiplier = float(getattr(plan.noise, "noise_multiplier", 0.0))
        by_seed = ", ".join(f"{d:+.3f}" for d in found.mean(axis=1) - base.mean(axis=1))
        each = (time.process_time() - began) / args.seeds
        print(
            f"{name:12} {multiplier:6.3f}  {mine.mean():.3f}  {mine.mean() - theirs.mean():+.3f} "
            f"[{low:+.3f}, {high:+.3f}]  ({by_seed})  {each:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
