"""What a million values of noise cost: Gaussian and Laplace on a grid, exactly sampled, beside normal noise in floats.

    python benchmarks/noise.py [--json FILE]

CPU time of one core, least of seven, after a first call that compiles. Each line adds noise to the same sum.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tacit.core.values import Array, Turn
from tacit.privacy.randomness import secure
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.laplace import Laplace

SIZE = 1_000_000


def milliseconds(job: Callable[[], Array]) -> float:
    """Least CPU time of seven."""
    job()
    found = []
    for _ in range(7):
        began = time.process_time()
        job()
        found.append(time.process_time() - began)
    return 1e3 * min(found)


def measured() -> dict[str, float]:
    """Milliseconds for each way."""
    total, source, turn = np.random.default_rng(0).standard_normal(SIZE), secure(), Turn(size=SIZE)
    return {
        "normal noise in floats": milliseconds(lambda: total + source.normal(SIZE)),
        "Gaussian": milliseconds(lambda: Gaussian().decode(total, turn, source)),
        "Laplace": milliseconds(lambda: Laplace().decode(total, turn, source)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = measured()
    for name, value in found.items():
        print(f"{name:<24} {value:6.1f} ms for {SIZE:,} values")
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
