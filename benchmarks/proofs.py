"""What proofs on hidden updates cost: prover and verifier CPU and bytes, and what the comparison of a sum costs.

    python benchmarks/proofs.py [--quick] [--json FILE]     prints a JSON object, then a table

CPU by time.process_time, one process, one thread, median of the repeats; vectors from numpy's seed 0. Generators are
hashed into a cache of this benchmark's own, read back from it, and shown apart. `over_norm` is a vector 1 % over the
bound whose client runs the prover all the same: what the verifier takes to refuse it. `wrapped` fills it up with
squares that wrap around the order of the group. `rounds` are whole secure sums of five parties, as a plan runs them:
an honest one beside the same without proofs; one in which a party over the bound sends a forged proof; and one in
which a party masks another vector than it committed to.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tacit.core.values import Reply, Request
from tacit.privacy.proofs import generators, group, norm_bound, pedersen
from tacit.privacy.proofs.errors import OpeningError, ProofError
from tacit.privacy.proofs.terms import Terms
from tacit.privacy.secure_sum import wire
from tacit.privacy.secure_sum.entropy import System
from tacit.privacy.secure_sum.local import Parties
from tacit.privacy.secure_sum.sum import SecAgg

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
    factor = pedersen.blinding(SOURCE)
    generators.generators("wide", 132)
    pedersen.commit(np.resize(vector, size + 2048), factor)  # hashes what is needed, once
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
        "commit_s": round(commit, 4),
        "verifier_s": round(verifier, 3),
        "commitment_bytes": len(made[0]),
        "sum_bytes": 4 * pedersen.LIMBS,
        "other_sum_refused": refused(lambda: pedersen.check_opening(made, wrong, factor), OpeningError),
    }


class Party:
    """A party of a sum whose stages are timed, and which may lie in one of them."""

    def __init__(self, inner: Any, spent: dict[str, float], lie: Callable[[str, Reply], Reply] | None = None) -> None:
        self.inner, self.spent, self.lie, self.agree = inner, spent, lie, getattr(inner, "agree", None)

    def answer(self, request: Request, vector: Any = None) -> Reply:
        stage = request.kind.removeprefix(wire.KIND)
        began = time.process_time()
        reply: Reply = self.inner.answer(request, vector)
        self.spent[stage] = self.spent.get(stage, 0.0) + time.process_time() - began
        if self.lie is not None:
            reply = self.lie(stage, reply)
        self.spent["bytes"] = self.spent.get("bytes", 0) + sum(it.nbytes for it in reply.arrays.values())
        return reply


NAMES = [f"party {number}" for number in range(5)]


def parties(proof: str, lie: Callable[[str, Reply], Reply] | None = None) -> tuple[Parties, dict[str, float]]:
    """Five parties of a secure sum, the last of which may lie; what they spend goes into the dictionary."""
    made, spent = SecAgg(minimum=3, proof=proof).parties(NAMES), dict[str, float]()
    made.clients = {name: Party(it, spent, lie if name == NAMES[-1] else None) for name, it in made.clients.items()}
    return made, spent


def proven_round(size: int, proof: str) -> dict[str, object]:
    """Whole rounds of five parties: honest, over the bound, and sending another vector than was committed to."""
    random = np.random.default_rng(0)
    raw = random.normal(size=(len(NAMES), size))
    raw *= (LEVELS - math.isqrt(size) - 1) / np.linalg.norm(raw, axis=1, keepdims=True)
    vectors = {name: np.rint(row).astype(np.int32).view(np.uint32) for name, row in zip(NAMES, raw, strict=True)}

    def summed(names: Any) -> Any:
        return np.sum([vectors[name] for name in names], axis=0, dtype=np.uint32)

    bare, without = parties("")
    plain, _ = timed(lambda: bare.sum(0, vectors, size))
    honest, spent = parties(proof)
    whole, opened = timed(lambda: honest.sum(0, vectors, size, bound=LEVELS))
    clients = sum(spend for stage, spend in spent.items() if stage != "bytes")
    exact = bool(np.array_equal(opened.total, summed(NAMES)))

    def shifted(stage: str, reply: Reply) -> Reply:
        return Reply({"masked": reply.arrays["masked"] + np.uint32(1)}) if stage == "masked" else reply

    liar, _ = parties(proof, shifted)
    found = {
        "values": size,
        "parties": len(NAMES),
        "proof": proof,
        "round_s": round(whole, 3),
        "round_without_s": round(plain, 3),
        "client_s": round(spent["commit"] / len(NAMES), 3),
        "server_s": round(whole - clients, 3),
        "added_bytes": int(spent["bytes"] - without["bytes"]) // len(NAMES),
        "exact": exact,
        "other_vector_caught": refused(lambda: void(liar.sum(0, vectors, size, bound=LEVELS)), OpeningError),
    }
    if proof == "norm":
        terms = Terms(proof, size, LEVELS)
        over = np.rint(raw[-1] * 1.02).astype(np.int32)

        def forged(stage: str, reply: Reply) -> Reply:
            if stage != "commit":
                return reply
            factor = pedersen.blinding(SOURCE)
            statement = terms.statement(0, NAMES[-1], pedersen.commit(over, factor))
            lie = over.tolist() + [0] * (statement.padded - size)
            proof = norm_bound.argue(statement, lie, [0] * 4, factor, SOURCE).to_bytes()
            return Reply({"commitment": wire.as_array(statement.commitment), "proof": wire.as_array(proof)})

        among, _ = parties(proof, forged)
        left = among.sum(0, vectors, size, bound=LEVELS)
        found["over_norm_excluded"] = list(among.server.excluded) == NAMES[-1:]
        found["honest_sum_exact"] = bool(np.array_equal(left.total, summed(NAMES[:-1])))
    return found


def void(_: object) -> None:
    """Forget a result."""


def stored() -> dict[str, object]:
    """What 10,240 generators take: hashed and put into the cache, and read from there."""
    took = []
    for _ in range(2):
        for cached in (generators._block, generators._chunk, generators._stored):
            cached.cache_clear()
        took.append(timed(lambda: generators.generators("vector", 10_240))[0])
    return {"values": 10_240, "hashed_s": round(took[0], 3), "read_s": round(took[1], 3)}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        _main()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the values, one repeat")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    scale, repeats = (10, 1) if given.quick else (1, 3)
    report = {
        "python": platform.python_version(),
        "generators": stored(),
        "norm": [norm(size // scale, repeats) for size in (1_000, 10_000)],
        "opening": opening(100_000 // scale, 10, repeats),
        "rounds": [
            proven_round(size // scale, proof)
            for size, proof in ((1_000, "norm"), (10_000, "norm"), (100_000, "opening"))
        ],
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
    print("\n| round of 5 | values | party CPU s | server CPU s | bytes added per party | exact | liars |")
    print("|---|---|---|---|---|---|---|")
    for row in report["rounds"]:
        caught = "other vector caught" if row["other_vector_caught"] else "other vector NOT caught"
        if row["proof"] == "norm":
            good = row["over_norm_excluded"] and row["honest_sum_exact"]
            caught += ", over norm left out, honest sum exact" if good else ", over norm NOT left out"
        figures = f"{row['client_s']} | {row['server_s']} | {row['added_bytes']} | {row['exact']}"
        print(f"| proof = {row['proof']} | {row['values']} | {figures} | {caught} |")


if __name__ == "__main__":
    main()
