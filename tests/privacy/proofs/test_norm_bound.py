"""The proof of an L2 bound: complete, and every way to lie that we know is refused."""

from __future__ import annotations

import dataclasses
import time
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import PlanError, ProtocolError
from tacit.privacy.proofs import generators, group, norm_bound, norm_proof, pedersen, projection
from tacit.privacy.proofs.errors import ProofError
from tacit.privacy.proofs.four_squares import four_squares
from tacit.privacy.proofs.norm_bound import Statement, argue, prove, verify
from tacit.privacy.quantise import Quantiser
from tacit.privacy.secure_sum.entropy import System

SOURCE = System()


def vector(values: list[int]) -> Any:
    return np.array(values, np.int32).view(np.uint32)


def stated(values: Any, bound: int, context: bytes = b"run 1, round 2, client 3") -> tuple[Statement, int]:
    factor = pedersen.blinding(SOURCE)
    return Statement(context, pedersen.commit(values, factor), len(values), bound), factor


def forged(values: list[int], roots: list[int], bound: int) -> tuple[Statement, bytes]:
    """What a client sends who commits to `values` and runs the prover with these roots, whatever the truth is."""
    statement, factor = stated(vector(values), bound)
    roots = roots + [0] * (4 - len(roots))
    padding = [0] * (statement.padded - len(values))
    return statement, argue(statement, values + padding, roots, factor, SOURCE).to_bytes()


@lru_cache(maxsize=1)
def good() -> tuple[Statement, bytes]:
    values = vector([int(it) for it in np.random.default_rng(0).integers(-1000, 1000, 30)])
    statement, factor = stated(values, 10_000)
    return statement, prove(statement, values, factor, SOURCE)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-(2**24), 2**24), min_size=1, max_size=40), st.integers(0, 2**20))
def test_the_proof_of_a_vector_within_the_bound_is_accepted(values: list[int], room: int) -> None:
    norm = int(np.ceil(np.sqrt(float(sum(it * it for it in values)))))
    statement, factor = stated(vector(values), norm + 1 + room)
    verify(statement, prove(statement, vector(values), factor, SOURCE))


def test_a_vector_within_the_bound_is_always_proven() -> None:
    cases = [([3, 4], 5), ([0, 0, 0], 1), ([-(2**31) + 1], 2**31 - 1), ([1], 1), ([2**31 - 2, 1], 2**31 - 1)]
    for values, bound in cases:
        statement, factor = stated(vector(values), bound)
        verify(statement, prove(statement, vector(values), factor, SOURCE))


def test_an_update_over_the_bound_cannot_be_proven_by_its_own_client() -> None:
    for values, bound in (([3, 5], 5), ([2], 1), ([-(2**31)], 2**31 - 1)):
        statement, factor = stated(vector(values), bound)
        with pytest.raises(ProtocolError, match="clip it first"):
            prove(statement, vector(values), factor, SOURCE)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=20), st.lists(st.integers(0, 1000), max_size=4))
def test_a_forged_proof_of_a_vector_over_the_bound_is_refused(values: list[int], wide: list[int]) -> None:
    norm = int(np.sqrt(float(sum(it * it for it in values))))
    statement, proof = forged([*values, norm + 2], wide, norm + 1)
    with pytest.raises(ProofError):
        verify(statement, proof)


def wrapping(target: int) -> list[int]:
    """Two huge numbers a, b mod ORDER with a^2 + b^2 = target: (a + ib)(a - ib) = 3 * (target / 3), with i^2 = -1."""
    q = group.ORDER
    i = pow(7, (q - 1) // 4, q)
    assert i * i % q == q - 1
    other = target * pow(3, -1, q)
    a = (3 + other) * pow(2, -1, q) % q
    b = (3 - other) * pow(2 * i, -1, q) % q
    assert (a * a + b * b - target) % q == 0
    return [a, b]


@pytest.mark.parametrize("off", [False, True], ids=["as it is", "with the projections switched off"])
def test_squares_that_wrap_around_the_order_of_the_group_are_refused(off: bool, monkeypatch: Any) -> None:
    """The control: without projections the very same lie passes, so that it is they that stop it."""
    values, bound = [1000, -2000, 3000], 7
    if off:
        monkeypatch.setattr(projection, "coefficients", lambda _, size: np.zeros((projection.ROWS, size), np.uint8))
    statement, proof = forged(values, wrapping(bound**2 - sum(it * it for it in values)), bound)
    if off:
        verify(statement, proof)
    else:
        with pytest.raises(ProofError):
            verify(statement, proof)


def test_huge_numbers_in_the_padding_are_refused_too() -> None:
    values, bound = [1000] * 33, 7
    huge = wrapping(bound**2 - sum(it * it for it in values))
    plain, factor = stated(vector(values), bound)
    assert plain.padded == 36
    hidden = group.combined(generators.generators("vector", 35)[33:], group.scalars(huge))
    statement = dataclasses.replace(plain, commitment=pedersen.added([plain.commitment, group.encoded(hidden)]))
    proof = argue(statement, [*values, *huge, 0], [0] * 4, factor, SOURCE).to_bytes()
    with pytest.raises(ProofError):
        verify(statement, proof)


def test_a_second_commitment_that_takes_off_what_is_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """W must hold nothing on the generators of x: else C + W could be short where C is long."""
    size, bound = 30, 50
    statement, factor = stated(vector([1000] * size), bound)
    off = group.combined(generators.generators("vector", size), group.scalars([-999] * size))
    calls: list[int] = []

    def shifted(points: Any, weights: Any) -> Any:
        calls.append(len(points))
        return group.combined(points, weights) + off if len(calls) == 1 else group.combined(points, weights)

    for lie in (True, False):
        calls.clear()
        said = statement if lie else Statement(b"", pedersen.commit(vector([1] * size), factor), size, bound)
        with monkeypatch.context() as patch:
            if lie:
                patch.setattr(norm_bound, "combined", shifted)
            padding = [0] * (said.padded - size)
            roots = four_squares(bound**2 - size, SOURCE)
            proof = argue(said, [1] * size + padding, roots, factor, SOURCE).to_bytes()
        if lie:
            assert calls[0] == norm_proof.WIDE + 1
            with pytest.raises(ProofError):
                verify(said, proof)
        else:
            verify(said, proof)  # the control: the same messages for a short vector


def test_projections_beyond_their_interval_are_refused() -> None:
    statement, proof = good()
    read = norm_proof.from_bytes(proof, statement.padded)
    beyond = dataclasses.replace(read, projections=(2**projection.WIDTH, *read.projections[1:])).to_bytes()
    with pytest.raises(ProofError, match="118 bits"):
        verify(statement, beyond)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_proof_with_a_changed_byte_is_refused(place: int, change: int) -> None:
    statement, proof = good()
    changed = bytearray(proof)
    changed[place % len(proof)] ^= change
    with pytest.raises(ProofError):
        verify(statement, bytes(changed))


@pytest.mark.parametrize("shift", [b"", b"\0", b"x" * 5000])
def test_bytes_that_are_no_proof_are_refused_with_a_named_error(shift: bytes) -> None:
    statement, proof = good()
    for bad in (shift, proof[:-1] + shift if shift != b"\0" else proof[:-1], proof + b"\0", bytes(len(proof))):
        with pytest.raises(ProofError, match="refused"):
            verify(statement, bad)


def test_a_proof_for_another_run_round_client_bound_or_commitment_is_refused() -> None:
    statement, proof = good()
    verify(statement, proof)
    others = [
        dataclasses.replace(statement, context=b"run 2, round 2, client 3"),
        dataclasses.replace(statement, context=b"run 1, round 3, client 3"),
        dataclasses.replace(statement, context=b"run 1, round 2, client 4"),
        dataclasses.replace(statement, bound=statement.bound - 1),
        dataclasses.replace(statement, bound=statement.bound + 1),
        dataclasses.replace(statement, size=statement.size + 1),
        dataclasses.replace(statement, commitment=pedersen.commit(vector([0] * 30), 5)),
        dataclasses.replace(statement, commitment=pedersen.added([statement.commitment] * 2)),
    ]
    for other in others:
        with pytest.raises(ProofError):
            verify(other, proof)


def test_a_proof_of_another_vector_than_the_committed_one_is_refused() -> None:
    statement, factor = stated(vector([3, 4]), 5)
    for values, blinding in (([4, 3], factor), ([3, -4], factor), ([3, 4], factor + 1)):
        with pytest.raises(ProofError):
            verify(statement, prove(statement, vector(values), blinding, SOURCE))


def test_two_proofs_of_one_vector_have_no_number_in_common() -> None:
    """A smoke test of hiding: nothing in the message is a function of the vector alone."""
    values = vector([7] * 30)
    (one, r), (other, s) = stated(values, 100), stated(values, 100)
    first, second = prove(one, values, r, SOURCE), prove(other, values, s, SOURCE)
    assert one.commitment != other.commitment and len(first) == len(second)
    pieces = [{proof[low : low + 15] for low in range(0, len(proof) - 15)} for proof in (first, second)]
    assert not pieces[0] & pieces[1]


def test_projections_of_the_shortest_and_the_longest_vector_look_alike() -> None:
    """The top byte (6 bits) of 128 projections of 8 proofs each: chi-square over 64 cells, false alarm 1e-9 each."""
    for values in ([0] * 30, [2**28] * 30):
        shown: list[int] = []
        statement, factor = stated(vector(values), 2**31 - 1)
        for _ in range(8):
            proof = norm_proof.from_bytes(prove(statement, vector(values), factor, SOURCE), statement.padded)
            shown += [it >> (projection.WIDTH - 6) for it in proof.projections]
        counts = np.bincount(shown, minlength=64)
        expected = len(shown) / 64
        assert np.sum((counts - expected) ** 2 / expected) < 150.0  # 63 degrees of freedom: 1 - cdf(150) = 4e-9


def test_every_clipped_and_quantised_vector_keeps_the_bound_in_steps() -> None:
    random = np.random.default_rng(3)
    for clients in (20, 1000):
        quantiser = Quantiser(1.0, clients)
        bound = norm_bound.steps_of(quantiser, 1.0, 50)
        assert bound * quantiser.steps[0] < 1.0 + 9 * quantiser.steps[0]
        for _ in range(20):
            x = random.normal(size=50)
            values = quantiser.encode(x / np.linalg.norm(x), random).view(np.int32).astype(np.int64)
            assert int(values @ values) <= bound**2
    with pytest.raises(PlanError, match="different steps"):
        norm_bound.steps_of(Quantiser((1.0, 2.0), 20, (25, 25)), 1.0, 50)


def test_sizes_and_bounds_out_of_range_are_refused() -> None:
    for size, bound in ((0, 1), (norm_bound.LONGEST + 1, 1), (1, 0), (1, 2**31)):
        with pytest.raises(PlanError):
            Statement(b"", bytes(48), size, bound)


@pytest.mark.slow
def test_an_over_norm_update_of_ten_thousand_values_is_refused_in_ten_seconds_of_prover_and_one_of_verifier() -> None:
    values = np.random.default_rng(0).integers(-(2**20), 2**20, 10_000).astype(np.int32)
    norm = float(np.sqrt(np.sum(values.astype(np.float64) ** 2)))
    generators.generators("vector", 10_240), generators.generators("wide", 132)
    for bound, true in ((int(norm) + 1, True), (int(norm * 0.99), False)):
        statement, factor = stated(values.view(np.uint32), bound)
        padding = [0] * (statement.padded - len(values))
        began = time.process_time()
        if true:
            proof = prove(statement, values.view(np.uint32), factor, SOURCE)
        else:
            proof = argue(statement, values.tolist() + padding, [0] * 4, factor, SOURCE).to_bytes()
        assert time.process_time() - began < 10.0
        began = time.process_time()
        if true:
            verify(statement, proof)
        else:
            with pytest.raises(ProofError):
                verify(statement, proof)
        assert time.process_time() - began < 1.0
