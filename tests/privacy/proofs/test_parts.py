"""What proofs are built of: commitments, coins, four squares, projections, the inner-product argument."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tacit.privacy.proofs
from tacit.core.values import PlanError, ProtocolError
from tacit.privacy.proofs import generators, group, inner_product, pedersen, projection
from tacit.privacy.proofs.errors import OpeningError, ProofError
from tacit.privacy.proofs.four_squares import LIMIT, four_squares
from tacit.privacy.proofs.transcript import Transcript
from tacit.privacy.secure_sum.entropy import System

ints = st.integers(-(2**31), 2**31 - 1)
factors = st.integers(0, group.ORDER - 1)


def vector(values: list[int]) -> Any:
    return np.array(values, np.int32).view(np.uint32)


def test_every_line_of_guarantees_is_the_name_of_a_test() -> None:
    folder = Path(tacit.privacy.proofs.__file__).parent
    tests = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    lines = []
    for path in folder.glob("*.py"):
        for block in re.findall(r"Guarantees:\n((?: +[^\n]+\.\n)+)", path.read_text()):
            lines += [line.strip().rstrip(".") for line in block.splitlines()]
    assert len(lines) >= 18
    missing = [line for line in lines if f"def test_{re.sub(r'[^a-z0-9]+', '_', line.lower())}(" not in tests]
    assert not missing


def test_without_the_library_one_clear_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py_arkworks_bls12381", None)
    group.library.cache_clear()
    try:
        with pytest.raises(PlanError, match=r"tacit\[proofs\]"):
            group.library()
    finally:
        group.library.cache_clear()


# --- the group ---


def test_points_and_scalars_come_back_from_their_bytes() -> None:
    point = generators.generators("vector", 1)[0]
    assert group.decoded(group.encoded(point)) == point
    for value in (0, 1, -1, group.ORDER - 1, 12345):
        assert int(group.read(group.written(group.scalar(value)))) == value % group.ORDER


def test_bytes_that_are_no_point_or_no_canonical_point_are_refused() -> None:
    infinity = bytes([0xC0]) + bytes(47)
    assert group.decoded(infinity) == group.library().G1Point.identity()
    good = group.encoded(generators.blind())
    outside = bytes([0x80]) + bytes(46) + bytes([4])  # x = 4: on the curve, but not in the subgroup
    for bad in (b"", good[:-1], good + b"\0", bytes(48), infinity[:-1] + b"\1", bytes([0xE0]) + bytes(47), outside):
        with pytest.raises(ProtocolError):
            group.decoded(bad)


def test_a_scalar_that_is_not_below_the_order_is_refused() -> None:
    for bad in (group.ORDER.to_bytes(32, "little"), b"\xff" * 32, bytes(31)):
        with pytest.raises(ProtocolError):
            group.read(bad)


def test_a_multi_exponentiation_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="2 points"):
        group.combined(generators.generators("vector", 2), group.scalars([1]))


# --- coins ---


def test_another_message_label_order_or_split_of_the_same_bytes_gives_other_challenges() -> None:
    start = Transcript.of("a protocol", b"statement")
    others = [
        start,
        Transcript.of("a protocol", b"statemen", b"t"),
        Transcript.of("a protoco", b"lstatement"),
        Transcript.of("another", b"statement"),
        start.said("m", b"ab"),
        start.said("m", b"a", b"b"),
        start.said("m", b"b", b"a"),
        start.said("ma", b"b"),
        start.said("m", b"a").said("m", b"b"),
        start.said("m", b"b").said("m", b"a"),
    ]
    coins = [it.coins(label, 32) for it in others for label in ("x", "y")]
    assert len(set(coins)) == len(coins)
    assert int(start.challenge("x")) == int(Transcript.of("a protocol", b"statement").challenge("x"))


# --- commitments ---


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(ints, ints), min_size=1, max_size=9), factors, factors)
def test_commitments_to_vectors_add_up_to_a_commitment_to_the_sum_of_the_vectors_under_the_sum_of_the_factors(
    pairs: list[tuple[int, int]], r: int, s: int
) -> None:
    one = [a // 2 for a, _ in pairs]
    other = [b // 2 for _, b in pairs]
    total = [a + b for a, b in zip(one, other, strict=True)]
    added = pedersen.added([pedersen.commit(vector(one), r), pedersen.commit(vector(other), s)])
    assert added == pedersen.commit(vector(total), r + s)


@settings(max_examples=15, deadline=None)
@given(st.lists(ints, min_size=1, max_size=9), factors, factors)
def test_commitments_to_the_same_vector_under_different_factors_differ(values: list[int], r: int, s: int) -> None:
    assert (pedersen.commit(vector(values), r) == pedersen.commit(vector(values), s)) == (r == s)


def test_a_commitment_is_the_sum_that_the_definition_says() -> None:
    values, r = [3, -1, -(2**31), 2**31 - 1], 987654321
    points = [*generators.generators("vector", 4), generators.blind()]
    slow = group.library().G1Point.identity()
    for value, point in zip([*values, r], points, strict=True):
        slow = slow + point * group.scalar(value)
    assert pedersen.commit(vector(values), r) == group.encoded(slow)


def test_generators_are_hashes_of_public_text_and_do_not_repeat() -> None:
    points = [*generators.generators("vector", 300), *generators.generators("wide", 128), generators.blind()]
    assert len({group.encoded(point) for point in points}) == 429
    suite = b"TACIT-PROOFS-V1-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
    assert points[257] == group.library().G1Point.hash_to_curve(b"vector 257", suite)
    assert generators.generators("vector", 3) == points[:3]


def test_the_hash_to_the_curve_is_that_of_rfc_9380() -> None:
    """Appendix J.9.1, messages "" and "abc"."""
    suite = b"QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
    expected = {
        b"": "052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1",
        b"abc": "03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903",
    }
    for message, x in expected.items():
        assert group.library().G1Point.hash_to_curve(message, suite).to_xy_bytes_be()[:48].hex() == x


@given(st.lists(factors, min_size=1, max_size=20))
def test_limbs_of_blinding_factors_add_up_in_a_secure_sum(many: list[int]) -> None:
    total = np.sum([pedersen.limbs(it) for it in many], axis=0, dtype=np.uint32)
    assert pedersen.factor_of(total) == sum(many) % group.ORDER


def committed(rows: list[list[int]]) -> tuple[list[bytes], Any, int]:
    many = [pedersen.blinding(System()) for _ in rows]
    total = np.sum([vector(row) for row in rows], axis=0, dtype=np.uint32)
    sent = [pedersen.commit(vector(row), r) for row, r in zip(rows, many, strict=True)]
    return sent, total, sum(many) % group.ORDER


small = st.lists(st.lists(st.integers(-(2**20), 2**20), min_size=5, max_size=5), min_size=1, max_size=4)


@settings(max_examples=15, deadline=None)
@given(small)
def test_the_sum_of_the_committed_vectors_under_the_sum_of_their_factors_passes(rows: list[list[int]]) -> None:
    pedersen.check_opening(*committed(rows))


@settings(max_examples=15, deadline=None)
@given(small, st.integers(0, 4), st.integers(1, 2**32 - 1))
def test_a_sum_that_differs_in_any_coordinate_is_refused(rows: list[list[int]], place: int, by: int) -> None:
    sent, total, factor = committed(rows)
    total[place : place + 1] += np.uint32(by)
    with pytest.raises(OpeningError, match="nobody is named"):
        pedersen.check_opening(sent, total, factor)


def test_a_sum_that_overflowed_is_refused() -> None:
    with pytest.raises(OpeningError):
        pedersen.check_opening(*committed([[2**31 - 1, 0], [1, 0]]))


def test_another_sum_of_factors_or_another_set_of_clients_is_refused() -> None:
    sent, total, factor = committed([[1, 2], [3, 4], [5, 6]])
    for commitments, sum_of_factors in ((sent, factor + 1), (sent[:2], factor), ([*sent, sent[0]], factor)):
        with pytest.raises(OpeningError):
            pedersen.check_opening(commitments, total, sum_of_factors)
    with pytest.raises(ProtocolError):
        pedersen.check_opening([], total, factor)


def test_what_is_no_vector_of_32_bit_integers_is_not_committed_to() -> None:
    for wrong in (np.zeros(3), np.zeros((2, 2), np.uint32), np.zeros(0, np.uint32), np.zeros(3, np.int64)):
        with pytest.raises(ProtocolError):
            pedersen.commit(wrong, 1)


# --- four squares ---


@given(st.one_of(st.integers(0, 3000), st.integers(0, 2**62), st.integers(0, 39).map(lambda k: 4**k)))
def test_the_squares_add_up_to_n(n: int) -> None:
    assert n == sum(a * a for a in four_squares(n, System()))


def test_all_small_numbers_are_four_squares_and_others_are_refused() -> None:
    source = np.random.default_rng(0)
    for n in range(2000):
        assert sum(a * a for a in four_squares(n, source)) == n
    for wrong in (-1, LIMIT):
        with pytest.raises(ValueError, match="four squares"):
            four_squares(wrong, source)


# --- projections ---


def test_the_form_of_all_projections_is_the_weighted_sum_of_the_rows() -> None:
    rows = projection.coefficients(Transcript.of("t"), 37)
    powers = group.drawn(random.Random(1).randbytes(48 * projection.ROWS))
    form = projection.form(rows, powers)
    for column in range(37):
        expected = sum(int(p) for p, bit in zip(powers, rows[:, column], strict=True) if bit) % group.ORDER
        assert int(form[column]) == expected


def test_a_huge_coordinate_lands_outside_the_interval_in_half_of_the_rows_whatever_the_mask() -> None:
    """Exact: of the two values of every row at most one is in the interval, for the worst masks and coordinates."""
    reach = 2**projection.WIDTH
    for huge in (reach, -reach, group.ORDER // 2, group.ORDER // 3, 2 * reach + 5):
        for mask in (0, -huge, reach - 1, -huge + reach - 1, group.ORDER // 2):
            inside = [(mask + bit * huge) % group.ORDER < reach for bit in (0, 1)]
            assert sum(inside) <= 1


def test_coefficients_are_fair_coins() -> None:
    """128 * 4096 bits, seed fixed by the transcript: within 6 standard deviations (a chance of 2e-9 to fail)."""
    rows = projection.coefficients(Transcript.of("fair"), 4096)
    assert rows.shape == (128, 4096) and set(np.unique(rows)) == {0, 1}
    assert abs(int(rows.sum()) - 2**18) < 6 * 2**8.5


def test_squares_of_what_projections_let_through_cannot_reach_the_order() -> None:
    assert 2**17 * (2**projection.WIDTH) ** 2 < group.ORDER


# --- the inner-product argument ---


def argued(size: int, seed: int = 0) -> tuple[Any, ...]:
    """(points, vector, form, P, square, product) of a padded length."""
    size = inner_product.padded(size)
    points = generators.generators("vector", size)
    numbers = group.drawn(random.Random(seed).randbytes(2 * 48 * size))
    vec, u = numbers[:size], numbers[size:]
    return points, vec, u, group.combined(points, vec), group.dot(vec, vec), group.dot(u, vec)


def accepts(points: Any, u: Any, P: Any, t: Any, w: Any, proof: inner_product.Folded) -> bool:
    _, left = inner_product.check(Transcript.of("t"), proof, u, t, w)
    minus = [group.scalar(0) - it for it in left.generators]
    total = group.combined([P, *left.points, *points], [left.claimed, *left.weights, *minus])
    return bool(total == group.library().G1Point.identity())


@pytest.mark.parametrize("size", [1, 2, 16, 17, 33, 100])
def test_a_true_inner_product_is_accepted_at_every_length(size: int) -> None:
    points, vec, u, P, t, w = argued(size)
    assert len(vec) < size + max(size // 8, 1) + 1
    proof = inner_product.prove(Transcript.of("t"), points, vec, u)
    assert accepts(points, u, P, t, w, proof)
    assert len(proof.folds) == inner_product.rounds(size) and len(proof.last) <= inner_product.LAST


def test_a_false_square_product_or_commitment_is_refused() -> None:
    points, vec, u, P, t, w = argued(40)
    proof = inner_product.prove(Transcript.of("t"), points, vec, u)
    one = group.scalar(1)
    for square, product in ((t + one, w), (t, w + one)):
        with pytest.raises(ProofError, match="not what it was claimed"):
            accepts(points, u, P, square, product, proof)
    assert not accepts(points, u, P + points[0], t, w, proof)
    assert not accepts([*points[1:], points[0]], u, P, t, w, proof)
    with pytest.raises(ProofError):
        inner_product.check(Transcript.of("other"), proof, u, t, w)
    with pytest.raises(ProofError, match="length"):
        inner_product.check(Transcript.of("t"), proof, argued(200)[2], t, w)
