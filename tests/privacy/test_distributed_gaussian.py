"""Noise in shares: what it sums to, with and without the stated dropouts, and what its accounting rests on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tacit.core.values import PlanError, Turn
from tacit.privacy.accountant import spent
from tacit.privacy.quantise import Quantiser
from tacit.privacy.randomness import secure, simulated
from tacit.privacy.transforms.distributed_gaussian import LEAST, DistributedGaussian, log_closeness
from tacit.privacy.transforms.gaussian import Gaussian

COUNT = 100_000
MECHANISM = DistributedGaussian(clip_norm=0.5, noise_multiplier=1.2, survivors_at_least=8)
TURN = Turn(size=COUNT, clients=12, parties=12)


def opened(mechanism: DistributedGaussian, survivors: int, seed: int) -> np.ndarray:
    """The noise in a sum of integers mod 2^32 that so many of 12 parties' uploads make, back as floats."""
    codec = Quantiser(0.5 + mechanism.headroom(TURN, 1e-9) / 12, 12, (COUNT,))
    total = np.zeros(COUNT, np.uint32)
    for party in range(survivors):
        share = mechanism.share(COUNT, codec.steps[0], TURN, simulated("share", seed, party))
        total += codec.encode(np.zeros(COUNT), simulated("round", party)) + share.astype(np.uint32)
    return mechanism.decode(codec.decode(total, survivors), TURN, secure())


@pytest.mark.parametrize("survivors", [8, 12], ids=["the stated dropouts", "no dropouts"])
def test_the_sum_of_the_shares_of_the_stated_survivors_is_noise_of_noise_multiplier_times_clip_norm_on_each_value(
    survivors: int,
) -> None:
    """Kolmogorov-Smirnov, 10^5 draws, seed fixed; false alarm 1e-6 each. With no dropouts 12 shares of the 8 needed.

    The central mechanism with the same noise is the second sample: so the two cannot be told apart.
    """
    scale = 0.6 * math.sqrt(survivors / 8)
    noise = opened(MECHANISM, survivors, 1)
    assert stats.kstest(noise / scale, "norm").pvalue > 1e-6
    central = Gaussian(0.5, 1.2 * math.sqrt(survivors / 8)).decode(np.zeros(COUNT), TURN, simulated("central"))
    assert stats.ks_2samp(noise, central).pvalue > 1e-6
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 5.0 / math.sqrt(COUNT)
    for beyond in (2.0, 3.0, 4.0):
        count = int(np.sum(np.abs(noise) > beyond * scale))
        assert stats.binomtest(count, COUNT, 2.0 * stats.norm.sf(beyond)).pvalue > 1e-6


def test_fewer_dropouts_than_stated_leave_more_noise_and_never_less() -> None:
    deviations = [opened(MECHANISM, survivors, 2).std() for survivors in (8, 9, 10, 12)]
    assert deviations == sorted(deviations)
    assert deviations[0] > 0.6 * (1.0 - 5.0 / math.sqrt(2 * COUNT))
    trusting = opened(replace(MECHANISM, colluding=3), 5, 3)  # 3 of the 8 told their shares: 5 must be enough
    assert abs(trusting.std() / 0.6 - 1.0) < 5.0 / math.sqrt(2 * COUNT)


def test_one_client_moves_the_sum_before_noise_by_at_most_clip_norm_in_l2() -> None:
    for x in (np.full(50, 1e6), np.eye(50)[0] * 0.4, np.zeros(50)):
        assert np.linalg.norm(MECHANISM.encode(x, TURN, secure())) <= 0.5 * (1.0 + 1e-6)
    rows = replace(MECHANISM, examples=100)
    assert rows.bound == 50.0 and rows.unit == "example" and MECHANISM.unit is None
    random = np.random.default_rng(0)
    for _ in range(50):  # one example moves a sum in or beyond the ball by at most clip_norm
        x = random.standard_normal(20) * random.choice([1.0, 10.0, 30.0])
        step = random.standard_normal(20)
        other = x + 0.5 * step / np.linalg.norm(step)
        moved = rows.encode(x, TURN, secure()) - rows.encode(other, TURN, secure())
        assert np.linalg.norm(moved) <= 0.5 * (1.0 + 1e-6)


def test_a_share_that_is_too_coarse_for_the_accounting_is_refused() -> None:
    share = 0.6 / math.sqrt(8)
    with pytest.raises(PlanError, match="64 steps"):
        MECHANISM.share(3, share / LEAST * 1.01, TURN, secure())
    assert MECHANISM.share(3, share / LEAST, TURN, secure()).dtype == np.int64


def test_the_quantiser_has_room_for_everybodys_noise() -> None:
    """10^5 values, 12 shares of 8: none comes near the end of the integers' range."""
    noise = opened(replace(MECHANISM, noise_multiplier=50.0), 12, 4)
    assert np.abs(noise).max() < 0.5 * 12 + replace(MECHANISM, noise_multiplier=50.0).headroom(TURN, 1e-9)
    assert stats.kstest(noise / (25.0 * math.sqrt(12 / 8)), "norm").pvalue > 1e-6


def test_it_costs_what_the_central_mechanism_costs() -> None:
    """Within 0.01 %: what the rounding to integers takes from the noise."""
    for sampling, rate in (("all", 1.0), ("poisson", 0.1), ("fixed", 0.1)):
        event, central = MECHANISM.event(sampling, rate, TURN), Gaussian(0.5, 1.2).event(sampling, rate, TURN)
        assert event is not None and central is not None
        one, other = spent([event] * 5, 1e-5).epsilon, spent([central] * 5, 1e-5).epsilon
        assert other <= one <= 1.001 * other


@pytest.mark.parametrize(("sigma", "shares"), [(1.0, 2), (1.0, 5), (1.5, 3)])
def test_a_sum_of_discrete_gaussians_is_nearly_one_as_proposition_14_says(sigma: float, shares: int) -> None:
    k = np.arange(-25, 26)
    one = np.exp(-np.square(k) / (2.0 * sigma**2))
    total = one / one.sum()
    for _ in range(shares - 1):
        total = np.convolve(total, one / one.sum())
    places = np.arange(len(total)) - len(total) // 2
    whole = np.exp(-np.square(places) / (2.0 * shares * sigma**2))
    whole /= whole.sum()
    tau = 10.0 * sum(math.exp(-2.0 * math.pi**2 * sigma**2 * j / (j + 1)) for j in range(1, shares))
    assert tau <= math.exp(log_closeness(sigma, shares)) * (1.0 + 1e-12)
    middle = np.abs(places) <= 6 * sigma * math.sqrt(shares)  # beyond, the finite sums above say nothing
    assert np.abs(np.log(total[middle] / whole[middle])).max() <= tau


def summed(sigma: float, shares: int) -> tuple[np.ndarray, np.ndarray]:
    """(whole numbers, exact chances of the sum of so many discrete Gaussians), by convolution."""
    k = np.arange(-int(14 * sigma) - 1, int(14 * sigma) + 2)
    one = np.exp(-np.square(k / sigma) / 2.0)
    one /= one.sum()
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)
    return np.arange(len(total)) - len(total) // 2, total


def hockey_stick(one: np.ndarray, other: np.ndarray, epsilon: float) -> float:
    """The larger delta of both directions."""
    return max(float(np.maximum(p - math.exp(epsilon) * q, 0.0).sum()) for p, q in ((one, other), (other, one)))


@pytest.mark.parametrize(("sigma", "shares", "moved"), [(0.5, 2, 1), (0.6, 3, 1), (0.8, 2, 2)])
def test_the_exact_loss_of_coarse_shares_is_that_of_one_discrete_gaussian_and_tau(
    sigma: float, shares: int, moved: int
) -> None:
    """Convolution, where shares are so coarse (refused in a plan) that tau can be seen: within e^tau, 2 tau."""
    places, total = summed(sigma, shares)
    whole = np.exp(-np.square(places) / (2.0 * shares * sigma**2))
    whole /= whole.sum()
    tau = math.exp(log_closeness(sigma, shares))
    assert 1e-6 < tau < 1.0
    for epsilon in (0.0, 0.5, 2.0):
        exact = hockey_stick(total, np.roll(total, moved), epsilon + 2.0 * tau)
        assert exact <= math.exp(tau) * hockey_stick(whole, np.roll(whole, moved), epsilon) + 1e-12


@pytest.mark.parametrize(("sampling", "rate"), [("all", 1.0), ("poisson", 0.2)])
@pytest.mark.parametrize("shares", [1, 4])
def test_the_exact_loss_of_the_coarsest_accepted_shares_is_within_what_is_accounted(
    sampling: str, rate: float, shares: int
) -> None:
    """Convolution at 64 steps a share, one value, a client that moves it by the clip norm; beside the accountant.

    Sampled: a mixture of both, against nobody, in both directions. Within 10 % of the stated delta, too.
    """
    mechanism = DistributedGaussian(clip_norm=1.0, noise_multiplier=64.0 / 43.0, survivors_at_least=shares)
    event = mechanism.event(sampling, rate, TURN)
    assert event is not None
    _, nobody = summed(LEAST, shares)
    moved = np.roll(nobody, round(43 * math.sqrt(shares)))
    for delta in (1e-3, 1e-6):
        epsilon = spent([event], delta).epsilon
        found = hockey_stick(rate * moved + (1.0 - rate) * nobody, nobody, epsilon)
        assert 0.9 * delta <= found <= delta * (1.0 + 1e-6)


def test_the_factor_that_the_accounting_leaves_out_is_nothing_at_the_coarsest_accepted_shares() -> None:
    """Of 2^31 parties and 2^40 values together, and for ever so many rounds: less than 10^-17000."""
    assert (log_closeness(LEAST, 2**31) + math.log(2.0**40 * 1e12)) / math.log(10.0) < -17000


def test_what_rounding_adds_to_the_part_of_an_example_is_covered_by_as_much_more_noise() -> None:
    """Two sums that differ by one example, rounded by the same random bits, as the quantiser does it."""
    rows = replace(MECHANISM, examples=100)
    codec = Quantiser(50.0 + rows.headroom(Turn(size=20, clients=12, parties=12), 1e-6) / 12, 12, (20,))
    step, random, furthest = codec.steps[0], np.random.default_rng(0), 0.0
    for seed in range(300):
        x, one = random.standard_normal(20), random.standard_normal(20) * (random.random(20) < 0.2)
        other = x + 0.5 * one / max(float(np.linalg.norm(one)), 1e-9)
        a, b = (codec.encode(v, simulated("bits", seed)).view(np.int32).astype(np.int64) for v in (x, other))
        furthest = max(furthest, float(np.linalg.norm(a - b)) * step)
    assert 0.5 < furthest <= 0.5 + step * math.sqrt(20)
    share = rows._share(20, step)
    assert share == pytest.approx(1.2 * (0.5 + step * math.sqrt(20)) / math.sqrt(8), rel=1e-12)
    assert MECHANISM._share(20, step) == pytest.approx(0.6 / math.sqrt(8), rel=1e-12)  # clients are shrunk instead


@pytest.mark.parametrize(("eta", "sigma", "close"), [(1.0, 3.0, 1e-6), (1.5, 4.0, 1e-14)])
def test_a_normal_value_rounded_by_a_discrete_gaussian_is_a_discrete_gaussian(
    eta: float, sigma: float, close: float
) -> None:
    """What lets shares be accounted as normal noise; here with deviations so small that the factor can be seen."""
    y = np.linspace(-12 * sigma, 12 * sigma, 200_001)
    density = np.exp(-np.square(y) / (2.0 * (sigma**2 - eta**2)))
    density /= density.sum()
    around = np.arange(-15, 16)
    near = np.rint(y)[:, None] + around
    weights = np.exp(-np.square(near - y[:, None]) / (2.0 * eta**2))
    weights *= (density / weights.sum(axis=1))[:, None]
    found = {k: weights[near == k].sum() for k in range(-12, 13)}
    k = np.arange(-60, 61)
    exact = np.exp(-np.square(k) / (2.0 * sigma**2))
    exact /= exact.sum()
    for place, weight in found.items():
        assert abs(math.log(weight / exact[place + 60])) < max(10.0 * 2.0 * math.exp(-2 * math.pi**2 * eta**2), close)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"noise_multiplier": 0.0}, "epsilon"),
        ({"epsilon": 1.0}, "either"),
        ({"delta": 1.0}, "delta"),
        ({"survivors_at_least": 0}, "survivors_at_least"),
        ({"colluding": 20}, "colluding"),
        ({"examples": -1}, "examples"),
    ],
)
def test_a_mechanism_that_could_not_protect_is_refused(wrong: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        DistributedGaussian(**wrong)  # type: ignore[arg-type]


def test_shares_that_were_not_calibrated_are_not_added_as_zero() -> None:
    with pytest.raises(ValueError, match="calibrate"):
        DistributedGaussian(noise_multiplier=0.0, epsilon=1.0).share(3, 1e-9, TURN, secure())
