"""Compares two saved global models: `compare REFERENCE.npz MODEL.npz --work mf` prints one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.work_item import NAMES, WorkItem, ensure


def difference(work: WorkItem, reference: Path, model: Path) -> dict[str, float]:
    """Largest absolute difference over all global parameters, and the reference's largest movement from the start."""
    apart, moved = 0.0, 0.0
    with np.load(reference, allow_pickle=False) as first, np.load(model, allow_pickle=False) as second:
        for name, start in work.shared.items():
            expected = first[name].astype(np.float64)
            apart = max(apart, float(np.abs(expected - second[name]).max()))
            moved = max(moved, float(np.abs(expected - start).max()))
    return {"max_abs_difference": apart, "max_movement": moved, "share_of_movement": apart / moved}


def main() -> None:
    """Read the arguments and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--work", choices=NAMES, required=True)
    parser.add_argument("--data", type=Path, help="job file (default: .bench/work/WORK-VERSION.npz)")
    options = parser.parse_args()
    work = WorkItem.load(options.data or ensure(options.work, Path(".bench/work")))
    json.dump(difference(work, options.reference, options.model), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
