"""Laws of every transform in the folder, and the statistics of the Gaussian mechanism's noise."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tacit.core.protocols import Adaptive
from tacit.core.values import Event, Turn
from tacit.federation.vocabulary import components
from tacit.privacy import grid_noise, transforms
from tacit.privacy.accountant import spent
from tacit.privacy.randomness import secure, simulated
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.local_gaussian import LocalGaussian
from tacit.privacy.transforms.local_laplace import LocalLaplace

FOUND = list(components(transforms, "encode", "decode").values())
EVERY = pytest.mark.parametrize("cls", FOUND, ids=[cls.__name__ for cls in FOUND])


def bounded(cls: type[Any], bound: float) -> Any:
    """The transform with this bound, if one of its fields sets it; else its default."""
    for item in fields(cls):
        try:
            changed = replace(cls(), **{item.name: bound})
        except (ValueError, TypeError):
            continue
        if changed.bound == bound:
            return changed
    return cls()


def turn_of(transform: Any, size: int, seed: int) -> Turn:
    """What a transform is told in its first round."""
    told = transform.start() if isinstance(transform, Adaptive) else {}
    return Turn(round=1, rounds=5, size=size, clients=10, parties=10, seed=seed, told=told)


def vectors(seed: int, count: int, length: int, norm: float) -> np.ndarray:
    """(count, length) of L2 norm at most `norm`; some of exactly that, some zero, some one-hot."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((count, length)) * 10.0 ** random.uniform(-8, 8, (count, 1))
    x[random.random(count) < 0.2] = 0.0
    one_hot = random.random(count) < 0.3
    x[one_hot] = np.eye(length)[random.integers(0, length, int(one_hot.sum()))]
    size = np.linalg.norm(x, axis=1, keepdims=True)
    shrink = np.where(random.random((count, 1)) < 0.5, 1.0, random.random((count, 1))) * (1.0 - 1e-12)
    return np.asarray(x / np.where(size > 0.0, size, 1.0) * norm * shrink)


def test_the_folder_holds_transforms() -> None:
    assert {"Clip", "Gaussian"} <= {cls.__name__ for cls in FOUND}


@EVERY
@given(st.integers(0, 2**32 - 1), st.integers(0, 7), st.integers(1, 9), st.sampled_from([1e-3, 1.0, 1e4]))
@settings(max_examples=40, deadline=None)
def test_without_noise_decoding_the_sum_of_encoded_vectors_gives_their_sum(
    cls: type[Any], seed: int, count: int, length: int, bound: float
) -> None:
    transform = bounded(cls, bound)
    reach = transform.bound if transform.bound is not None else 1e6
    x = vectors(seed, count, length, reach)
    turn = turn_of(transform, length, seed)
    source = simulated("law", seed)
    encoded = (
        np.sum([transform.encode(each, turn, source) for each in x], axis=0)
        if count
        else np.zeros(transform.length(turn))
    )
    if transform.noisy:
        if cls is not Gaussian:  # a mechanism that noises clients: its own test must state its law
            pytest.skip(f"{cls.__name__} is noisy: see its own test")
        # the noise of the same stream on a sum of nothing is what the mechanism adds
        noise = transform.decode(np.zeros(transform.length(turn)), turn, simulated("noise", seed))
        decoded = transform.decode(encoded, turn, simulated("noise", seed)) - noise
        scale = float(np.abs(noise).max()) + 1e12 * grid_noise.step(reach, 1.0, length)  # sums are rounded to a grid
    else:
        if transform.lossy:
            pytest.skip(f"{cls.__name__} gives the sum back approximately: see its own test")
        decoded, scale = transform.decode(encoded, turn, source), 0.0
    np.testing.assert_allclose(decoded, x.sum(axis=0), rtol=1e-9, atol=1e-12 * (reach * max(count, 1) + scale))


@EVERY
@pytest.mark.parametrize("bound", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("scale", [0.0, 5e-324, 1e-300, 1e-160, 1e-9, 0.5, 1.0, 1.0001, 1e9, 1e160, 1e308])
def test_an_encoded_contribution_never_exceeds_the_bound(cls: type[Any], bound: float, scale: float) -> None:
    transform = bounded(cls, bound)
    random = np.random.default_rng(0)
    for length in (1, 2, 1000):
        x = np.clip(random.standard_normal(length), -1.7, 1.7) * scale
        turn = turn_of(transform, length, 3)
        encoded = transform.encode(x, turn, simulated("bound"))
        assert np.all(np.isfinite(encoded)) and encoded.shape == (transform.length(turn),)
        assert math.hypot(*encoded.tolist()) <= transform.reach(math.hypot(*x.tolist()), turn) * (1.0 + 1e-6) + 1e-300
        if transform.bound is not None:
            assert math.hypot(*encoded.tolist()) <= transform.bound * (1.0 + 1e-6)


@EVERY
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_bounded_transform_refuses_what_is_no_number(cls: type[Any], odd: float) -> None:
    transform = cls()
    if transform.bound is not None:
        with pytest.raises(ValueError, match="NaN"):
            transform.encode(np.array([0.1, odd]), turn_of(transform, 2, 0), simulated("odd"))


@EVERY
def test_only_a_noisy_transform_has_a_privacy_event_and_it_can_be_accounted(cls: type[Any]) -> None:
    transform = cls()
    for sampling, rate in (("all", 1.0), ("poisson", 0.1), ("fixed", 0.1)):
        event = transform.event(sampling, rate, turn_of(transform, 4, 0))
        assert (event is not None) == transform.noisy
        if event is not None:
            local = cls in (LocalGaussian, LocalLaplace)  # claims no sampling, and lets a client be replaced
            whole = sampling not in getattr(transform, "cohorts", (sampling,))  # no plan asks it so: nothing is claimed
            expected = ("fixed", 1.0) if local else ("all", 1.0) if whole else (sampling, rate)
            assert (event.sampling, event.sampling_rate) == expected
            assert spent([event], 1e-5).epsilon > 0.0


def test_one_client_moves_the_sum_by_at_most_the_clip_norm() -> None:
    mechanism, source = Gaussian(clip_norm=0.3), secure()
    others = np.sum([mechanism.encode(x, Turn(), source) for x in vectors(1, 50, 20, 1.0)], axis=0)
    one = mechanism.encode(np.full(20, 1e6), Turn(), source)
    assert np.linalg.norm((others + one) - others) <= 0.3 * (1.0 + 1e-6)


class TestNoise:
    """Noise of 200,000 draws of a fixed seed, so nothing here fails by chance twice.

    For a fresh seed the false-alarm probabilities would be: mean and deviation 5 standard errors, 6e-7 each;
    Kolmogorov-Smirnov, correlation and tail tests p < 1e-7 each.
    """

    COUNT = 200_000
    MECHANISM = Gaussian(clip_norm=0.25, noise_multiplier=1.6)  # standard deviation 0.4

    def noise(self, *seed: object) -> np.ndarray:
        """What the mechanism adds, in standard deviations."""
        return self.MECHANISM.decode(np.zeros(self.COUNT), Turn(), simulated(*seed)) / 0.4

    def test_its_mean_is_zero_and_its_deviation_is_multiplier_times_clip_norm(self) -> None:
        noise = self.noise("noise", 0)
        assert abs(noise.mean()) < 5.0 / math.sqrt(self.COUNT)
        assert abs(noise.std() - 1.0) < 5.0 / math.sqrt(2 * self.COUNT)

    def test_it_is_normal(self) -> None:
        noise = self.noise("noise", 1)
        assert stats.kstest(noise, "norm").pvalue > 1e-7
        assert stats.kstest(np.abs(noise[1::2] - noise[::2]) / math.sqrt(2.0), "halfnorm").pvalue > 1e-7

    def test_its_tails_are_as_heavy_as_they_must_be(self) -> None:
        """Light tails would give away rare values: counts beyond 2, 3 and 4 deviations are binomial (p > 1e-7)."""
        noise = self.noise("noise", 2)
        for beyond in (2.0, 3.0, 4.0):
            count = int(np.sum(np.abs(noise) > beyond))
            assert stats.binomtest(count, self.COUNT, 2.0 * stats.norm.sf(beyond)).pvalue > 1e-7

    def test_neighbouring_coordinates_and_rounds_are_independent(self) -> None:
        """Correlations at lag 1, at half a vector (the two halves of a Box-Muller pair) and between streams."""
        one, other = self.noise("noise", 3), self.noise("noise", 4)
        half = self.COUNT // 2
        for a, b in ((one[:-1], one[1:]), (one[:half], one[half:]), (one, other), (one[:half] ** 2, one[half:] ** 2)):
            correlation = float(np.corrcoef(a, b)[0, 1])
            assert abs(correlation) * math.sqrt(len(a)) < 5.4  # 5.4 standard errors: 7e-8

    def test_it_is_added_to_the_sum_and_never_twice_the_same(self) -> None:
        total, source = np.linspace(-5.0, 5.0, 1001), secure()
        first, second = self.MECHANISM.decode(total, Turn(), source), self.MECHANISM.decode(total, Turn(), source)
        assert np.all(first != second) and np.all(first != total)
        assert abs(np.mean(first - total)) < 6.0 * 0.4 / math.sqrt(1001)  # 6 standard errors: 2e-9

    def test_an_odd_number_of_coordinates_is_noised_in_full(self) -> None:
        for count in (0, 1, 2, 3, 7):
            noise = self.MECHANISM.decode(np.zeros(count), Turn(), simulated("odd"))
            assert noise.shape == (count,) and np.all(noise != 0.0)


def test_noise_that_was_not_calibrated_is_not_added_as_zero() -> None:
    with pytest.raises(ValueError, match="calibrate"):
        Gaussian(noise_multiplier=0.0, epsilon=1.0).decode(np.zeros(3), Turn(), secure())


def test_the_event_of_a_mechanism_is_its_noise_multiplier() -> None:
    assert Gaussian(clip_norm=9.0, noise_multiplier=1.5).event("poisson", 0.1, Turn()) == Event(
        "gaussian", 1.5, "poisson", 0.1
    )


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"clip_norm": -1.0}, "clip_norm"),
        ({"clip_norm": math.inf}, "clip_norm"),
        ({"clip_norm": math.nan}, "clip_norm"),
        ({"noise_multiplier": -1.0}, "noise_multiplier"),
        ({"noise_multiplier": 0.0}, "epsilon"),
        ({"noise_multiplier": math.nan}, "noise_multiplier"),
        ({"noise_multiplier": math.inf}, "noise_multiplier"),
        ({"noise_multiplier": 0.0, "epsilon": -1.0}, "epsilon"),
        ({"noise_multiplier": 1.0, "epsilon": -1.0}, "epsilon"),
        ({"noise_multiplier": 0.0, "epsilon": math.nan}, "epsilon"),
        ({"noise_multiplier": 0.0, "epsilon": math.inf}, "epsilon"),
        ({"noise_multiplier": 1.0, "epsilon": 1.0}, "either"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"delta": math.nan}, "delta"),
    ],
)
def test_a_mechanism_that_could_not_protect_is_refused(wrong: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Gaussian(**wrong)


@pytest.mark.parametrize("norm", [0.0, -1.0, math.nan, math.inf])
def test_a_clip_that_bounds_nothing_is_refused(norm: float) -> None:
    with pytest.raises(ValueError, match="norm"):
        Clip(norm)
