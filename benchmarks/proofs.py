"""What proofs on hidden updates cost: prover and verifier CPU and bytes, and what the comparison of a sum costs.

    python benchmarks/proofs.py [--quick] [--json FILE]     prints a JSON object, then a table

CPU by time.process_time, one process, one thread, median of the repeats; vectors from numpy's seed 0. Generators are
hashed once per process and shown apart. `over_norm` is a vector 1 % over the bound whose client runs the prover all the
same: what the verifier takes to refuse it. `wrapped` fills it up with squares that wrap around the order of the group.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tacit.privacy.proofs import group, norm_bound, pedersen
from tacit.privacy.proofs.errors import OpeningError, ProofError
from tacit.privacy.secure_sum.entropy import System

SOURCE = System()
LEVELS = 2**24  # largest value: what a quantiser for 100 clients gives


def timed(act: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Median CPU seconds, and the last result."""
    seconds, result = [], None
    for _ in range(repeats):
        began = time.process_time()
        result = act()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds), result


def refused(act: Callable[[], None], error: type[Exception]) -> bool:
    try:
        act()
    except error:
        return True
    return False


def wrapping(target: int) -> list[int]:
    """Two numbers whose squares add up to `target` mod the order, though not as whole numbers."""
    q = group.ORDER
    i, other = pow(7, (q - 1) // 4, q), target * pow(3, -1, q)
    return [(3 + other) * pow(2, -1, q) % q, (3 - other) * pow(2 * i, -1, q) % q]


def norm(size: int, repeats: int) -> dict[str, object]:
    """One client's proof of its norm."""
    random = np.random.default_rng(0)
    raw = random.normal(size=size)
    values = np.rint(raw / np.linalg.norm(raw) * (LEVELS - math.isqrt(size) - 1)).astype(np.int32)
    vector, squares = values.view(np.uint32), int(values.astype(np.int64) @ values.astype(np.int64))
    prepare, _ = timed(lambda: (pedersen.generators("vector", size + 2048), pedersen.generators("wide", 132)))
    factor = pedersen.blinding(SOURCE)
    pedersen.commit(vector, factor)
    commit, commitment = timed(lambda: pedersen.commit(vector, factor), repeats)
    statement = norm_bound.Statement(b"benchmark", commitment, size, LEVELS)
    prover, proof = timed(lambda: norm_bound.prove(statement, vector, factor, SOURCE), repeats)
    verifier, _ = timed(lambda: norm_bound.verify(statement, proof), repeats)

    over = norm_bound.Statement(b"benchmark", commitment, size, int(math.sqrt(squares) / 1.01))
    lie = values.tolist() + [0] * (over.padded - size)
    lying, forged = timed(lambda: norm_bound.argue(over, lie, [0] * 4, factor, SOURCE).to_bytes(), repeats)
    refusing, caught = timed(lambda: refused(lambda: norm_bound.verify(over, forged), ProofError), repeats)
    roots = [*wrapping(over.bound**2 - squares), 0, 0]
    wrapped = norm_bound.argue(over, lie, roots, factor, SOURCE).to_bytes()
    return {
        "values": size,
        "generators_s": round(prepare, 3),
        "commit_s": round(commit, 4),
        "prover_s": round(prover, 3),
        "verifier_s": round(verifier, 3),
        "proof_bytes": len(proof),
        "commitment_bytes": len(commitment),
        "over_norm_prover_s": round(lying, 3),
        "over_norm_verifier_s": round(refusing, 3),
        "over_norm_refused": caught,
        "wrapped_refused": refused(lambda: norm_bound.verify(over, wrapped), ProofError),
    }


def opening(size: int, clients: int, repeats: int) -> dict[str, object]:
    """Commitments of some clients, and the comparison of their opened sum."""
    random = np.random.default_rng(0)
    vectors = random.integers(-LEVELS, LEVELS, (4, size)).astype(np.int32).view(np.uint32)
    prepare, _ = timed(lambda: pedersen.generators("vector", size))
    factors = [pedersen.blinding(SOURCE) for _ in range(clients)]
    pedersen.commit(vectors[0], factors[0])
    commit, _ = timed(lambda: pedersen.commit(vectors[0], factors[0]), repeats)
    made = [pedersen.commit(vectors[n % 4], factors[n]) for n in range(clients)]
    total = np.sum([vectors[n % 4] for n in range(clients)], axis=0, dtype=np.uint32)
    factor = sum(factors) % group.ORDER
    verifier, _ = timed(lambda: pedersen.check_opening(made, total, factor), repeats)
    wrong = total.copy()
    wrong[size // 2 :][:1] ^= np.uint32(1)
    return {
        "values": size,
        "clients": clients,
        "generators_s": round(prepare, 3),
        "commit_s": round(commit, 4),
        "verifier_s": round(verifier, 3),
        "commitment_bytes": len(made[0]),
        "sum_bytes": 4 * pedersen.LIMBS,
        "other_sum_refused": refused(lambda: pedersen.check_opening(made, wrong, factor), OpeningError),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the values, one repeat")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    scale, repeats = (10, 1) if given.quick else (1, 3)
    report = {
        "python": platform.python_version(),
        "norm": [norm(size // scale, repeats) for size in (1_000, 10_000)],
        "opening": opening(100_000 // scale, 10, repeats),
    }
    print(json.dumps(report, indent=2))
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    print("| what | values | prover CPU s | verifier CPU s | bytes per client |\n|---|---|---|---|---|")
    for row in report["norm"]:
        size = int(row["proof_bytes"]) + int(row["commitment_bytes"])
        print(f"| norm within the bound | {row['values']} | {row['prover_s']} | {row['verifier_s']} | {size} |")
        lie = f"{row['over_norm_prover_s']} | {row['over_norm_verifier_s']}"
        print(f"| over the bound, refused: {row['over_norm_refused']} | {row['values']} | {lie} | {size} |")
    row = report["opening"]
    size = int(row["commitment_bytes"]) + int(row["sum_bytes"])
    print(f"| opened sum compared | {row['values']} | {row['commit_s']} | {row['verifier_s']} | {size} |")


if __name__ == "__main__":
    main()
