"""Laws of the compressing transforms, of packing into words, and of the messages that leave unmasked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.order import refuses
from tacit.core.values import PlanError, ProtocolError, Turn
from tacit.privacy import messages
from tacit.privacy.packing import Packed, pack, places, unpack
from tacit.privacy.randomness import simulated
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.count_sketch import CountSketch
from tacit.privacy.transforms.error_feedback import ErrorFeedback
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.importance_sampling import ImportanceSampling, _draw, chances, systematic
from tacit.privacy.transforms.low_bit import LowBit, rotated, rotated_back
from tacit.privacy.transforms.low_rank import LowRank, basis
from tacit.privacy.transforms.random_k import RandomK
from tacit.privacy.transforms.top_k import TopK

LINEAR = [
    LowRank(columns=4, rank=2),
    LowRank(columns=7, rank=3, unbiased=False),
    RandomK(ratio=4.0),
    RandomK(ratio=3.0, block=4),
    CountSketch(ratio=4.0),
    CountSketch(ratio=4.0, rows=3),
]
UNBIASED = [LowRank(columns=4, rank=2), RandomK(ratio=4.0), RandomK(ratio=3.0, block=4), CountSketch(ratio=4.0, rows=2)]
SHRINKING = [LowRank(columns=4, rank=3), RandomK(ratio=2.5, block=3), TopK(ratio=3.0)]
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 70)


def vector(seed: int, size: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size) * scale


def source(*parts: object) -> Any:
    return simulated("compression", *parts)


@pytest.mark.parametrize("transform", LINEAR, ids=repr)
@given(SEEDS, SIZES)
@settings(max_examples=25, deadline=None)
def test_encoding_is_linear_so_it_goes_through_any_sum(transform: Any, seed: int, size: int) -> None:
    turn = Turn(size=size, seed=seed)
    x, y = vector(seed, size), vector(seed + 1, size, 1e3)
    one, other = transform.encode(x, turn, source()), transform.encode(y, turn, source())
    both = transform.encode(x - 3.0 * y, turn, source())
    np.testing.assert_allclose(both, one - 3.0 * other, rtol=1e-9, atol=1e-9)
    assert both.shape == (transform.length(turn),)


@given(SEEDS, SIZES, st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_with_as_many_directions_as_columns_the_sum_comes_back(seed: int, size: int, columns: int) -> None:
    transform, turn = LowRank(columns, columns), Turn(size=size, seed=seed)
    x, y = vector(seed, size), vector(seed + 1, size)
    total = transform.encode(x, turn, source()) + transform.encode(y, turn, source())
    np.testing.assert_allclose(transform.decode(total, turn, source()), x + y, rtol=1e-9, atol=1e-9)
    assert not transform.lossy


@given(SEEDS, SIZES, st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_with_a_ratio_of_one_the_sum_comes_back(seed: int, size: int, block: int) -> None:
    turn, x, y = Turn(size=size, seed=seed), vector(seed, size), vector(seed + 1, size)
    for transform in (RandomK(1.0, block), TopK(1.0)):
        total = transform.encode(x, turn, source()) + transform.encode(y, turn, source())
        np.testing.assert_allclose(transform.decode(total, turn, source()), x + y, rtol=1e-12)
        assert not transform.lossy


@pytest.mark.parametrize("transform", UNBIASED, ids=repr)
def test_the_mean_of_what_comes_back_over_rounds_is_the_sum(transform: Any) -> None:
    """4,000 rounds of fixed seeds; each value within 6 standard errors (for fresh seeds 5e-8 over 24 values)."""
    x, rounds = vector(3, 24), 4000
    back = np.empty((rounds, 24))
    for number in range(rounds):
        turn = Turn(size=24, seed=number)
        back[number] = transform.decode(transform.encode(x, turn, source()), turn, source())
    error = back.std(axis=0) / math.sqrt(rounds)
    assert np.all(np.abs(back.mean(axis=0) - x) <= 6.0 * error + 1e-12)


@pytest.mark.parametrize("transform", SHRINKING, ids=repr)
@given(SEEDS, SIZES)
@settings(max_examples=25, deadline=None)
def test_no_contribution_grows(transform: Any, seed: int, size: int) -> None:
    turn, x = Turn(size=size, seed=seed), vector(seed, size)
    assert np.linalg.norm(transform.encode(x, turn, source())) <= np.linalg.norm(x) * (1.0 + 1e-9)
    assert transform.reach(0.7, turn) == 0.7


@given(SEEDS, SIZES, st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_no_contribution_grows_beyond_the_square_root_of_the_fullest_bucket(seed: int, size: int, rows: int) -> None:
    transform, turn = CountSketch(3.0, rows), Turn(size=size, seed=seed)
    matrix = np.stack([transform.encode(e, turn, source()) for e in np.eye(size)], axis=1)
    largest = float(np.linalg.norm(matrix, 2))
    assert largest <= transform.reach(1.0, turn) * (1.0 + 1e-9)
    if rows == 1:
        assert largest == pytest.approx(math.sqrt((np.abs(matrix) > 0).sum(axis=1).max()))


def test_a_sketch_finds_large_values_in_small_ones_by_its_median() -> None:
    """One value of 100 among 1,000 standard normal ones, five rows, ratio 5: right to a tenth (fixed seeds)."""
    for seed in range(20):
        x = vector(seed, 1000)
        x[17] = 100.0
        turn, transform = Turn(size=1000, seed=seed), CountSketch(5.0, rows=5, median=True)
        back = transform.decode(transform.encode(x, turn, source()), turn, source())
        assert int(np.abs(back).argmax()) == 17 and abs(back[17] - 100.0) < 20.0


@given(SEEDS, SIZES)
@settings(max_examples=25, deadline=None)
def test_which_places_are_sent_depends_on_the_round_alone(seed: int, size: int) -> None:
    transform, turn = RandomK(4.0), Turn(size=size, seed=seed)
    one = transform.decode(transform.encode(np.ones(size), turn, source()), turn, source())
    other = transform.decode(transform.encode(1.0 + np.abs(vector(seed, size)), turn, source()), turn, source())
    assert np.array_equal(one != 0.0, other != 0.0)
    assert int(np.count_nonzero(one)) == math.ceil(size / 4.0) == transform.length(turn)


def test_directions_are_orthonormal_and_the_same_for_everybody_who_knows_the_round() -> None:
    for seed in range(5):
        directions = basis(32, 6, seed)
        np.testing.assert_allclose(directions.T @ directions, np.eye(6), atol=1e-12)
        basis.cache_clear()
        assert np.array_equal(directions, basis(32, 6, seed))
    assert not np.allclose(basis(32, 6, 0), basis(32, 6, 1))


BITS = st.sampled_from([1, 2, 4, 8, 16])


@given(SEEDS, SIZES, BITS, st.booleans(), st.sampled_from([1e-3, 1.0, 1e4]))
@settings(max_examples=50, deadline=None)
def test_every_encoded_value_is_a_point_of_the_grid(seed: int, size: int, bits: int, rotate: bool, norm: float) -> None:
    transform, turn = LowBit(bits, norm, rotate), Turn(size=size, seed=seed)
    step, levels = transform.grid(turn)
    encoded = transform.encode(vector(seed, size), turn, source(seed))
    k = encoded / step + levels / 2.0
    assert np.all(np.abs(k - np.rint(k)) < 1e-6) and k.min() > -1e-6 and k.max() < levels + 1e-6
    assert levels == 2**bits - 1 and encoded.shape == (transform.length(turn),)
    assert size <= len(encoded) <= 1.03 * size


@given(SEEDS, SIZES, BITS, st.sampled_from([0.0, 1e-9, 1.0, 1e9]))
@settings(max_examples=50, deadline=None)
def test_no_encoded_contribution_is_longer_than_norm(seed: int, size: int, bits: int, scale: float) -> None:
    transform, turn = LowBit(bits, 0.5), Turn(size=size, seed=seed)
    encoded = transform.encode(vector(seed, size, scale), turn, source(seed))
    assert np.linalg.norm(encoded) <= 0.5 * (1.0 + 1e-9)


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_the_mean_of_what_comes_back_over_roundings_is_the_contribution_where_nothing_is_cut_off(bits: int) -> None:
    """4,000 roundings of fixed seeds, within 6 standard errors (for fresh seeds 5e-8 over 24 values)."""
    x = vector(5, 24)
    transform, turn = LowBit(bits, norm=float(6.0 * np.linalg.norm(x))), Turn(size=24, seed=9)
    stream = source(bits)
    back = np.stack([transform.decode(transform.encode(x, turn, stream), turn, stream) for _ in range(4000)])
    assert np.all(np.abs(back.mean(axis=0) - x) <= 6.0 * back.std(axis=0) / math.sqrt(len(back)) + 1e-12)


@given(SEEDS, st.integers(0, 3000))
@settings(max_examples=30, deadline=None)
def test_a_rotation_keeps_lengths_and_turns_back(seed: int, size: int) -> None:
    x = vector(seed, size)
    y = rotated(x, seed)
    assert np.linalg.norm(y) == pytest.approx(np.linalg.norm(x), rel=1e-9)
    np.testing.assert_allclose(rotated_back(y, size, seed), x, atol=1e-9)


def test_a_rotation_spreads_one_large_value() -> None:
    y = rotated(np.eye(1, 1024)[0], 3)
    np.testing.assert_allclose(np.abs(y), 1.0 / 32.0, rtol=1e-12)


def test_small_vectors_are_rounded_without_being_cut_off() -> None:
    """A third of the norm, rotated: at most 0.3 % of values beyond the cube; relative error of 8 bits below 2 %."""
    x = vector(1, 4096)
    transform, turn = LowBit(8, norm=float(3.0 * np.linalg.norm(x))), Turn(size=4096, seed=2)
    back = transform.decode(transform.encode(x, turn, source()), turn, source())
    assert np.linalg.norm(back - x) / np.linalg.norm(x) < 0.03


@given(SEEDS, SIZES, st.sampled_from([1.0, 2.0, 16.0]))
@settings(max_examples=40, deadline=None)
def test_no_more_values_than_one_in_ratio_are_other_than_zero(seed: int, size: int, ratio: float) -> None:
    encoded = TopK(ratio).encode(vector(seed, size), Turn(size=size), source())
    assert np.count_nonzero(encoded) <= math.ceil(size / ratio)


@given(SEEDS, SIZES)
@settings(max_examples=40, deadline=None)
def test_what_is_left_out_is_no_larger_than_what_is_sent(seed: int, size: int) -> None:
    x = vector(seed, size)
    encoded = TopK(4.0).encode(x, Turn(size=size), source())
    left = np.abs(x[encoded == 0.0]).max(initial=0.0)
    assert left <= np.abs(encoded[encoded != 0.0]).min(initial=math.inf)


@pytest.mark.parametrize(
    "inner", [LowRank(4, 1), RandomK(8.0), RandomK(4.0, block=3, unbiased=False), TopK(5.0), LowBit(1, 3.0)], ids=repr
)
def test_what_was_sent_and_what_is_remembered_add_up_to_all_contributions(inner: Any) -> None:
    transform, stream = ErrorFeedback(inner), source(1)
    memory, whole, back = np.zeros(30, np.float32), np.zeros(30), np.zeros(30)
    for number in range(60):
        x, turn = vector(number, 30, 0.1), Turn(round=number + 1, size=30, seed=number)
        sent, memory = transform.encode_with(x, memory, turn, stream)
        whole += x
        back += transform.decode(sent, turn, stream)
    np.testing.assert_allclose(back + memory, whole, atol=1e-4)
    assert memory.dtype == np.float32


def test_what_is_remembered_stays_bounded_and_is_sent_at_last() -> None:
    """After contributions stop, a rank-1 message of 4 columns empties the memory: factor 3/4 a round on average."""
    transform, memory = ErrorFeedback(LowRank(4, 1)), np.zeros(40, np.float32)
    sizes = []
    for number in range(200):
        x = vector(number, 40) if number < 100 else np.zeros(40)
        _, memory = transform.encode_with(x, memory, Turn(size=40, seed=number), source())
        sizes.append(float(np.linalg.norm(memory)))
    assert max(sizes) < 10.0 * math.sqrt(40) and sizes[-1] < 1e-3


def test_the_memory_stays_on_the_client_and_the_message_depends_on_it_only_through_the_compressed_sum() -> None:
    transform, turn = ErrorFeedback(RandomK(4.0)), Turn(size=32, seed=8)
    x, memory = vector(1, 32), vector(2, 32).astype(np.float32)
    sent, _ = transform.encode_with(x, memory, turn, source())
    again, _ = transform.encode_with(x + memory, np.zeros(32, np.float32), turn, source())
    np.testing.assert_allclose(sent, again)
    assert len(sent) == 8


def test_error_feedback_refuses_what_it_cannot_remember() -> None:
    for inner in (Clip(), Gaussian(), ErrorFeedback()):
        with pytest.raises(ValueError, match="ErrorFeedback needs a compression"):
            ErrorFeedback(inner)
    with pytest.raises(ValueError, match="NaN"):
        ErrorFeedback().encode_with(np.array([math.nan]), np.zeros(1, np.float32), Turn(size=1), source())


FOLLOWING = [ImportanceSampling(columns=4, ratio=3.0), ImportanceSampling(columns=7, ratio=2.0, floor=0.01)]


def followed(transform: ImportanceSampling, seed: int, size: int, rounds: int = 6) -> Any:
    """What is told after some rounds of sums that lie mostly along one direction and in the first rows."""
    random, told = np.random.default_rng(seed), transform.start()
    shape = (-(-size // transform.columns), transform.columns)
    table = np.outer(np.exp(-np.arange(shape[0])), random.standard_normal(shape[1]))
    for number in range(rounds):
        x = (table + 0.1 * random.standard_normal(shape)).ravel()[:size]
        turn = Turn(round=number + 1, size=size, seed=seed + number, told=told)
        told = transform.follow(transform.encode(x, turn, source()), turn)
    return told


class TestImportanceSampling:
    """Places that follow what was summed before."""

    @pytest.mark.parametrize("transform", FOLLOWING, ids=repr)
    @given(SEEDS, SIZES)
    @settings(max_examples=15, deadline=None)
    def test_encoding_is_linear_so_it_goes_through_any_sum(self, transform: Any, seed: int, size: int) -> None:
        turn = Turn(size=size, seed=seed, told=followed(transform, seed, size))
        x, y = vector(seed, size), vector(seed + 1, size, 1e3)
        one, other = transform.encode(x, turn, source()), transform.encode(y, turn, source())
        both = transform.encode(x - 3.0 * y, turn, source())
        np.testing.assert_allclose(both, one - 3.0 * other, rtol=1e-9, atol=1e-9)
        assert both.shape == (transform.length(turn),)

    @given(SEEDS, SIZES, st.integers(1, 9))
    @settings(max_examples=15, deadline=None)
    def test_with_a_ratio_of_one_the_sum_comes_back(self, seed: int, size: int, columns: int) -> None:
        transform = ImportanceSampling(columns, 1.0)
        turn = Turn(size=size, seed=seed, told=followed(transform, seed, size))
        x, y = vector(seed, size), vector(seed + 1, size)
        total = transform.encode(x, turn, source()) + transform.encode(y, turn, source())
        np.testing.assert_allclose(transform.decode(total, turn, source()), x + y, rtol=1e-9, atol=1e-9)
        assert not transform.lossy

    @pytest.mark.parametrize("transform", FOLLOWING, ids=repr)
    def test_the_mean_of_what_comes_back_over_draws_is_the_sum(self, transform: Any) -> None:
        """1,500 draws of fixed seeds; each value within 6 standard errors (for fresh seeds 6e-8 over 28 values)."""
        x, told, draws = vector(3, 28), followed(transform, 1, 28), 1500
        back = np.empty((draws, 28))
        for seed in range(draws):
            turn = Turn(size=28, seed=seed, told=told)
            back[seed] = transform.decode(transform.encode(x, turn, source()), turn, source())
        error = back.std(axis=0) / math.sqrt(draws)
        assert np.all(np.abs(back.mean(axis=0) - x) <= 6.0 * error + 1e-12)

    @pytest.mark.parametrize("transform", FOLLOWING, ids=repr)
    @given(SEEDS, SIZES)
    @settings(max_examples=15, deadline=None)
    def test_no_contribution_grows(self, transform: Any, seed: int, size: int) -> None:
        turn, x = Turn(size=size, seed=seed, told=followed(transform, seed, size)), vector(seed, size)
        assert np.linalg.norm(transform.encode(x, turn, source())) <= np.linalg.norm(x) * (1.0 + 1e-9)
        assert transform.reach(0.7, turn) == 0.7

    @given(SEEDS, SIZES)
    @settings(max_examples=15, deadline=None)
    def test_which_values_are_sent_depends_on_the_round_and_on_past_sums_alone(self, seed: int, size: int) -> None:
        transform = FOLLOWING[0]
        turn = Turn(size=size, seed=seed, told=followed(transform, seed, size))
        matrix = np.stack([transform.encode(e, turn, source()) for e in np.eye(size)], axis=1)
        _draw.cache_clear()  # another party, which knows only what was told
        x = vector(seed, size)
        np.testing.assert_allclose(transform.encode(x, turn, source()), matrix @ x, atol=1e-9)

    def test_directions_that_would_stretch_a_contribution_are_refused(self) -> None:
        transform = ImportanceSampling(columns=4, ratio=2.0)
        told = followed(transform, 0, 32)
        wrong = {
            "orthonormal": {"directions": told["directions"] * 2.0},
            "finite": {"energy": np.full(4, math.nan)},
            "from 0 on": {"rows": -told["rows"]},
            "were needed": {"rows": told["rows"][:-1]},
            "needed": {"directions": told["directions"][:3]},
        }
        for word, change in wrong.items():
            with pytest.raises(ProtocolError, match=word):
                transform.encode(np.ones(32), Turn(size=32, told={**told, **change}), source())

    def test_sums_that_lie_along_few_directions_come_back_with_less_error_than_along_random_ones(self) -> None:
        """Squared error over the sum's, mean of rounds 5 to 24, same number of values: below a quarter (seed 0)."""
        random, transform, other = np.random.default_rng(0), ImportanceSampling(16, 4.0), LowRank(16, 4)
        table = (random.standard_normal((100, 16)) * np.exp(-np.arange(16) / 2.0)) @ basis(16, 16, 5).T
        told, errors = transform.start(), []
        for number in range(25):
            x = (table * np.exp(-np.arange(100) / 30.0)[:, None] * random.standard_normal((100, 1))).ravel()
            turn = Turn(round=number + 1, size=1600, seed=number, told=told)
            sent, random_one = transform.encode(x, turn, source()), other.encode(x, turn, source())
            assert len(sent) == len(random_one)
            back = (transform.decode(sent, turn, source()), other.decode(random_one, turn, source()))
            errors.append([float(np.sum((each - x) ** 2) / np.sum(x**2)) for each in back])
            told = transform.follow(sent, turn)
        ours, theirs = np.mean(errors[5:], axis=0)
        assert ours < 0.25 * theirs

    def test_what_is_told_stays_sound_after_a_sum_of_nothing_and_of_odd_numbers(self) -> None:
        transform = ImportanceSampling(4, 2.0)
        told = followed(transform, 0, 32)
        turn = Turn(size=32, seed=1, told=told)
        for odd in (np.zeros(16), np.full(16, math.nan), np.full(16, math.inf)):
            after = transform.follow(odd, turn)
            assert all(np.array_equal(after[name], told[name]) for name in told)
        for scale in (1e-300, 1e-12, 1e12, 1e300):
            after = transform.follow(vector(2, 16) * scale, turn)
            turned = after["directions"].T @ after["directions"]
            np.testing.assert_allclose(turned, np.eye(4), atol=1e-12)
            assert all(np.all(np.isfinite(value)) for value in after.values())

    @given(SEEDS, st.integers(1, 60), st.floats(0.0, 1.0))
    @settings(max_examples=40, deadline=None)
    def test_chances_add_up_to_the_count_and_as_many_places_are_drawn(self, seed: int, size: int, part: float) -> None:
        count = max(1, round(part * size))
        share = chances(np.exp(vector(seed, size, 3.0)), count)
        assert share.sum() == pytest.approx(count) and share.min() > 0.0 and share.max() <= 1.0
        drawn = systematic(share, count, seed)
        assert len(np.unique(drawn)) == len(drawn) == count and np.all(np.diff(drawn) > 0)


class TestPacking:
    @given(SEEDS, st.integers(1, 60), st.sampled_from([1, 3, 15, 255]), st.integers(1, 2000))
    @settings(max_examples=60, deadline=None)
    def test_unpacking_the_sum_of_packed_vectors_gives_their_sum_exactly_on_the_grid(
        self, seed: int, size: int, levels: int, clients: int
    ) -> None:
        codec = Packed(size, levels, 0.25, clients)
        random = np.random.default_rng(seed)
        k = random.integers(0, levels + 1, (min(clients, 50), size))
        k[: len(k) // 2] = levels  # as large as they come
        x = 0.25 * (k - levels / 2.0)
        total = np.zeros(codec.lengths, np.uint32)
        for each in x:
            total += codec.encode(each, source())
        assert np.array_equal(codec.decode(total, len(x)), x.sum(axis=0))

    @given(st.sampled_from([1, 3, 15, 255]), st.integers(1, 3000))
    @settings(max_examples=60, deadline=None)
    def test_the_largest_sum_that_is_allowed_does_not_overflow_a_word(self, levels: int, clients: int) -> None:
        count = places(clients, levels)
        word = pack(np.full(count, levels, np.uint32), clients * levels + 1)
        assert int(word[0]) * clients < 2**32
        assert np.array_equal(
            unpack(word * np.uint32(clients), clients * levels + 1, count), np.full(count, clients * levels)
        )

    @pytest.mark.parametrize(
        ("clients", "levels", "expected"),
        [(85, 3, 4), (86, 3, 3), (255, 1, 4), (256, 1, 3), (108, 15, 3), (943, 1, 3), (943, 63, 2), (943, 255, 1)],
    )
    def test_a_packed_vector_has_as_many_words_as_places_in_a_word_require(
        self, clients: int, levels: int, expected: int
    ) -> None:
        assert places(clients, levels) == expected
        codec = Packed(1000, levels, 1.0, clients)
        words = codec.encode(np.full(1000, levels / 2.0), source())
        assert words.dtype == np.uint32 and words.shape == codec.lengths == (-(-1000 // expected),)

    def test_what_cannot_be_packed_is_refused_and_not_wrapped(self) -> None:
        codec = Packed(3, 3, 1.0, 10)
        for wrong in ([0.0, 0.5, 0.5], [2.5, 0.5, 0.5], [math.nan, 0.5, 0.5], [math.inf, 0.5, 0.5], [0.5, 0.5]):
            with pytest.raises(ProtocolError):
                codec.encode(np.array(wrong), source())
        with pytest.raises(PlanError, match="does not fit"):
            Packed(3, 2**16 - 1, 1.0, 2**17)
        total = codec.encode(np.full(3, 1.5), source())
        assert np.array_equal(codec.decode(total, 1), np.full(3, 1.5))
        with pytest.raises(ProtocolError, match="larger than"):
            codec.decode(total * np.uint32(2), 1)
        with pytest.raises(ProtocolError, match="room for 10"):
            codec.decode(total, 11)
        with pytest.raises(ProtocolError, match="words of uint32"):
            codec.decode(total.astype(np.int64), 1)


class TestMessages:
    """What leaves where nothing masks it, and how many bytes that is."""

    CASES = (
        ((LowRank(4, 1),), 100, 4 * 25),
        ((ImportanceSampling(4, 4.0),), 100, 4 * 25),
        ((RandomK(16.0),), 160, 4 * 10),
        ((CountSketch(16.0),), 160, 4 * 10),
        ((LowBit(1, 9.0),), 1024, 128),
        ((LowBit(4, 9.0),), 1024, 512),
        ((Clip(1.0), LowBit(2, 9.0), Clip(9.0)), 1024, 256),
        ((LowRank(32, 8), LowBit(8, 9.0)), 32 * 1024, 8 * 1024),
        ((ErrorFeedback(LowBit(1, 9.0)),), 1024, 128),
        ((TopK(16.0, reveals_support=True),), 160, 8 * 10),
        ((ErrorFeedback(TopK(16.0, reveals_support=True)),), 160, 8 * 10),
        ((TopK(16.0),), 160, 4 * 160),
        ((LowBit(2, 9.0), Clip(1.0)), 1024, 4 * 1024),
    )

    @pytest.mark.parametrize(("transforms", "size", "expected"), CASES, ids=repr)
    def test_a_message_brings_the_contribution_over_in_the_bytes_that_are_counted(
        self, transforms: Any, size: int, expected: int
    ) -> None:
        sizes = []
        for seed in (1, 2):
            x, length, turns = vector(seed, size), size, []
            for transform in transforms:
                turns.append(Turn(size=length, seed=7))
                x = transform.encode(x, turns[-1], source(seed))
                length = transform.length(turns[-1])
            sent = messages.message(transforms, turns, x)
            np.testing.assert_allclose(messages.opened(transforms, turns, sent), x, rtol=1e-6)
            sizes.append(messages.size(sent))
            with pytest.raises(ProtocolError):
                messages.opened(transforms, turns, {name: value[:-1] for name, value in sent.items()})
            with pytest.raises(ProtocolError):
                messages.opened(transforms, turns, {})
        assert sizes == [expected, expected]

    @given(SEEDS, st.integers(0, 50), st.integers(1, 16))
    @settings(max_examples=40, deadline=None)
    def test_bits_come_back(self, seed: int, count: int, width: int) -> None:
        values = np.random.default_rng(seed).integers(0, 2**width, count).astype(np.uint32)
        packed = messages.to_bits(values, width)
        assert len(packed) == -(-count * width // 8)
        assert np.array_equal(messages.from_bits(packed, width, count), values)

    def test_a_sparse_message_with_places_that_do_not_exist_or_repeat_is_refused(self) -> None:
        transform, turn = TopK(4.0, reveals_support=True), Turn(size=8)
        for wrong in ([0, 8], [3, 3], [3, 2]):
            sent = {"places": np.array(wrong, np.uint32), "values": np.ones(2, np.float32)}
            with pytest.raises(ProtocolError, match="places"):
                messages.opened((transform,), (turn,), sent)


class TestOrder:
    """What stands where in `protect`."""

    def test_top_k_in_the_clear_is_refused_unless_the_plan_accepts_that_items_are_revealed(self) -> None:
        for hidden, open_ in (
            (TopK(), TopK(reveals_support=True)),
            (ErrorFeedback(TopK()), ErrorFeedback(TopK(reveals_support=True))),
        ):
            assert "reveals_support" in (refuses((hidden,), secure=False) or "")
            assert refuses((hidden,), secure=True) is None
            assert refuses((open_,), secure=False) is None

    def test_compression_after_the_noise_is_refused(self) -> None:
        assert "noise last" in (refuses((Gaussian(), LowRank()), secure=True) or "")
        assert refuses((LowRank(), Gaussian()), secure=True) is None
        assert refuses((ErrorFeedback(), LowBit(), Gaussian()), secure=True) is None

    def test_what_a_client_remembers_comes_first_and_rounding_last(self) -> None:
        assert "must stand before" in (refuses((LowRank(), ErrorFeedback()), secure=True) or "")
        assert "round last" in (refuses((LowBit(), LowRank()), secure=True) or "")
        assert refuses((Clip(), LowRank(), LowBit(), Clip(3.0)), secure=False) is None


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (LowRank, {"rank": 0}),
        (LowRank, {"columns": 4, "rank": 5}),
        (RandomK, {"ratio": 0.5}),
        (RandomK, {"block": 0}),
        (RandomK, {"ratio": math.nan}),
        (CountSketch, {"rows": 0}),
        (CountSketch, {"ratio": math.inf}),
        (TopK, {"ratio": 0.0}),
        (ImportanceSampling, {"ratio": 0.5}),
        (ImportanceSampling, {"floor": 0.0}),
        (ImportanceSampling, {"rate": math.nan}),
        (LowBit, {"bits": 0}),
        (LowBit, {"bits": 17}),
        (LowBit, {"norm": 0.0}),
        (LowBit, {"norm": math.nan}),
    ],
)
def test_a_compression_of_impossible_numbers_is_refused(cls: type[Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=cls.__name__):
        cls(**wrong)
