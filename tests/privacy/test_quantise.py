"""Stochastic rounding to uint32: close, unbiased, exact for integers, and never overflowing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import PlanError, ProtocolError
from tacit.privacy.quantise import Quantiser
from tacit.privacy.randomness import secure
from tacit.privacy.secure_sum.entropy import System

bounds = st.floats(1e-6, 1e6)


@given(bounds, st.integers(1, 60), st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=40, deadline=None)
def test_the_decoded_sum_is_within_a_step_per_client_of_the_sum(bound: float, n: int, seed: int, dtype: type) -> None:
    random = np.random.default_rng(seed)
    quantiser = Quantiser(bound, n, on_overflow="clamp")  # float32 may round a value at the bound beyond it
    vectors = (random.choice([-1.0, 1.0, random.uniform(-1, 1)], (n, 7)) * bound).astype(dtype)
    total = np.sum([quantiser.encode(vector, random) for vector in vectors], axis=0, dtype=np.uint32)
    expected = np.clip(vectors.astype(np.float64), -bound, bound).sum(0)
    assert np.all(np.abs(quantiser.decode(total, n) - expected) <= n * quantiser.steps[0])


@given(st.integers(1, 5000), st.sampled_from([-1.0, 1.0]))
@settings(max_examples=40, deadline=None)
def test_not_even_everybody_at_the_bound_overflows(clients: int, sign: float) -> None:
    quantiser = Quantiser(0.3, clients)
    one = quantiser.encode(np.full(3, sign * 0.3), System())
    total = (one.astype(np.uint64) * clients % 2**32).astype(np.uint32)
    assert np.allclose(quantiser.decode(total, clients), sign * 0.3 * clients, rtol=clients / 2**30)


@pytest.mark.parametrize("fraction", [0.0, 0.125, 0.5, 0.9])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_rounding_is_unbiased(fraction: float, sign: float) -> None:
    """Mean of 200,000 roundings within 5 standard errors (seed 7; false alarm below 6e-7 per case)."""
    quantiser = Quantiser(1.0, 1000)
    step, count = quantiser.steps[0], 200_000
    x = np.full(count, sign * (1234 + fraction) * step)
    decoded = quantiser.decode(quantiser.encode(x, np.random.default_rng(7)), 1)
    error = math.sqrt(max(fraction * (1 - fraction), 1e-6) / count)
    assert abs(decoded.mean() / step - sign * (1234 + fraction)) <= 5 * error


def test_rounding_takes_no_value_but_the_two_next_to_it() -> None:
    quantiser = Quantiser(1.0, 1000)
    x = np.random.default_rng(0).uniform(-1, 1, 70_000)
    decoded = quantiser.decode(quantiser.encode(x, secure()), 1)
    assert np.max(np.abs(decoded - x)) < quantiser.steps[0]
    assert np.linalg.norm(decoded - x) <= quantiser.spread(len(x))


@given(st.lists(st.lists(st.integers(-1000, 1000), min_size=4, max_size=4), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_integers_come_out_exactly_as_they_went_in(rows: list[list[int]]) -> None:
    quantiser = Quantiser(1000.0, 30, exact=True)
    assert quantiser.steps == (1.0,)
    assert quantiser.spread(4) == 0.0
    total = np.sum([quantiser.encode(np.array(row), System()) for row in rows], axis=0, dtype=np.uint32)
    assert np.array_equal(quantiser.decode(total, len(rows)), np.sum(rows, axis=0))


def test_parts_have_bounds_of_their_own_and_may_be_exact_beside_others() -> None:
    quantiser = Quantiser((0.01, 50.0, 1.0), 20, lengths=(40_000, 3, 2), exact=(False, True, False))
    x = np.concatenate([np.full(40_000, 0.0071), [3.0, -50.0, 0.0], [0.9, -0.9]])
    decoded = quantiser.decode(quantiser.encode(x, System()), 1)
    assert np.array_equal(decoded[40_000:40_003], x[40_000:40_003])
    assert (
        np.max(np.abs(decoded[:40_000] - x[:40_000])) < quantiser.steps[0] == pytest.approx(0.01 * 20 / 2**31, rel=1e-6)
    )
    assert np.max(np.abs(decoded[-2:] - x[-2:])) < quantiser.steps[2]


def test_values_beyond_the_bound_are_refused_or_clamped_as_asked() -> None:
    x = np.array([0.5, -7.0, 1.0000001])
    with pytest.raises(ProtocolError, match="beyond its bound of 1") as error:
        Quantiser(1.0, 10).encode(x, System())
    assert "7" not in str(error.value)
    clamped = Quantiser(1.0, 10, on_overflow="clamp")
    assert np.allclose(clamped.decode(clamped.encode(x, System()), 1), [0.5, -1.0, 1.0], atol=2 * clamped.steps[0])
    whole = Quantiser(5.0, 10, exact=True, on_overflow="clamp")
    assert np.array_equal(whole.decode(whole.encode(np.array([-9.0, 4.0]), System()), 1), [-5.0, 4.0])
    with pytest.raises(ProtocolError, match="beyond"):
        Quantiser(5.0, 10, exact=True).encode(np.array([6.0]), System())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("exact", [False, True])
def test_nan_and_infinity_are_refused_even_where_values_are_clamped(bad: float, exact: bool) -> None:
    with pytest.raises(ProtocolError, match="NaN or infinity"):
        Quantiser(1.0, 10, exact=exact, on_overflow="clamp").encode(np.array([0.0, bad, 1.0]), System())


def test_what_is_no_vector_of_the_right_length_and_kind_is_refused() -> None:
    quantiser = Quantiser((1.0, 2.0), 10, lengths=(2, 3))
    for wrong in (np.zeros(4), np.zeros((5, 1)), np.zeros(5, bool), np.zeros(5, complex)):
        with pytest.raises(ProtocolError):
            quantiser.encode(wrong, System())
    with pytest.raises(ProtocolError, match="no integer"):
        Quantiser(9.0, 10, exact=True).encode(np.array([1.0, 1.5]), System())
    for total, n in ((np.zeros(5), 1), (np.zeros(4, np.uint32), 1), (np.zeros(5, np.uint32), 11)):
        with pytest.raises(ProtocolError):
            quantiser.decode(total, n)


@pytest.mark.parametrize(
    "wrong",
    [
        {"clients": 0},
        {"clients": 2**31},
        {"bound": 0.0},
        {"bound": float("nan")},
        {"bound": float("inf")},
        {"bound": 1e-320},
        {"bound": (1.0, 2.0)},
        {"bound": (1.0, 2.0), "lengths": (3,)},
        {"exact": (True,), "lengths": (1, 2)},
        {"lengths": (-1,)},
        {"on_overflow": "wrap"},
        {"exact": True, "bound": 2.5},
        {"exact": True, "bound": 2.0**30, "clients": 3},
    ],
)
def test_quantisers_that_cannot_keep_their_word_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        Quantiser(**wrong)  # type: ignore[arg-type]


def test_the_same_seed_rounds_alike_and_the_operating_systems_bits_do_not() -> None:
    quantiser, x = Quantiser(1.0, 10), np.random.default_rng(0).uniform(-1, 1, 1000)
    seeded = [quantiser.encode(x, np.random.default_rng(1)) for _ in range(2)]
    assert np.array_equal(*seeded)
    assert not np.array_equal(quantiser.encode(x, System()), quantiser.encode(x, System()))


def test_a_quantiser_is_built_without_arguments() -> None:
    assert Quantiser() == Quantiser(1.0, 100)
