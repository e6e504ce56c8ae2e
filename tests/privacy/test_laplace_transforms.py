"""Laplace noise in a plan, by the server and by each client: what it bounds, its law, its grid and its cost."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from tacit.core.order import refuses
from tacit.core.values import Event, Turn
from tacit.privacy import l1_ball, messages
from tacit.privacy.accountant import noise_multiplier, spent
from tacit.privacy.randomness import secure, simulated
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.laplace import Laplace
from tacit.privacy.transforms.local_laplace import LocalLaplace
from tacit.privacy.transforms.random_k import RandomK

COUNT = 100_000


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from([1e-300, 1e-3, 1.0, 1e4]), st.floats(-310, 307.7)
)
@example(9465, 1, 1.0, 0.0)  # just above a step: shrinking it, though it fits, would take it a step further
@settings(max_examples=200, deadline=None)
def test_one_client_moves_the_sum_before_noise_by_at_most_clip_norm_in_l1(
    seed: int, size: int, norm: float, power: float
) -> None:
    x = np.random.default_rng(seed).standard_normal(size)
    x = np.clip(x, -1.7, 1.7) * 10.0**power
    found = l1_ball.steps(x, norm, 2**19)
    assert np.abs(found).sum() <= 2**19
    assert np.all(np.sign(found) * np.sign(x) >= 0.0)
    with np.errstate(over="ignore"):
        whole = np.abs(x).sum()
    if whole <= norm and norm >= 1e-3:
        assert np.abs(found * (norm / 2**19) - x).max() <= norm / 2**19 * (1.0 + 1e-9)
    elif norm >= 1e-3:
        assert np.abs(found).sum() >= 2**19 * (1.0 - 2.0**-29) - size
    sent = Laplace(clip_norm=1.0).encode(x, Turn(size=size), secure())
    assert np.abs(sent).sum() <= 1.0


def test_what_is_released_is_a_whole_number_of_steps_that_do_not_depend_on_the_data() -> None:
    mechanism = Laplace(clip_norm=0.3)
    turn, random = Turn(size=50, clients=7), np.random.default_rng(0)
    step, levels = mechanism.grid(turn)
    assert levels % 2 == 0
    for scale in (1e-9, 1.0, 1e9):
        clients = [mechanism.encode(random.standard_normal(50) * scale, turn, secure()) for _ in range(7)]
        carried = [messages.opened((mechanism,), (turn,), messages.message((mechanism,), (turn,), x)) for x in clients]
        np.testing.assert_array_equal(clients, carried)  # nothing is lost on the way, so sensitivity stays as it is
        released = mechanism.decode(np.sum(carried, axis=0), turn, secure())
        assert np.all(np.rint(released / step) * step == released)


@pytest.mark.parametrize("multiplier", [0.1, 3.0])
def test_the_noise_on_each_value_is_discrete_laplace_of_scale_noise_multiplier_times_clip_norm(
    multiplier: float,
) -> None:
    """Kolmogorov-Smirnov, 10^5 draws, seed fixed; false alarm 1e-6 each. The grid is fine enough not to be seen."""
    mechanism = Laplace(clip_norm=0.5, noise_multiplier=multiplier)
    noise = mechanism.decode(np.zeros(COUNT), Turn(size=COUNT), simulated("laplace", multiplier))
    assert stats.kstest(noise / (0.5 * multiplier), "laplace").pvalue > 1e-6
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 5.0 / math.sqrt(COUNT)
    coarse = replace(mechanism, bits=8, noise_multiplier=0.01)  # scale 1.28 steps
    steps = np.rint(coarse.decode(np.zeros(COUNT), Turn(size=COUNT), simulated("coarse")) * 256).astype(int)
    k = np.arange(-8, 9)
    ratio = math.exp(-1.0 / 1.28)
    hoped = np.append(ratio ** np.abs(k) * (1.0 - ratio) / (1.0 + ratio), 0.0) * COUNT
    hoped[-1] = COUNT - hoped.sum()
    inside = np.bincount(steps[np.abs(steps) <= 8] + 8, minlength=17)
    assert stats.chisquare(np.append(inside, COUNT - inside.sum()), hoped).pvalue > 1e-6


def test_a_round_costs_one_over_the_noise_multiplier_without_a_delta() -> None:
    """Oracle: the ratio of chances of discrete Laplace noise, a whole clip norm of steps apart."""
    event = Laplace(noise_multiplier=2.0).event("all", 1.0, Turn())
    assert event == Event("discrete laplace", 2.0, "all", 1.0)
    for rounds in (1, 7):
        paid = spent([event] * rounds, 0.0)
        assert paid.epsilon == pytest.approx(rounds / 2.0) and paid.accountant == "sum" and paid.delta == 0.0
    half = replace(Laplace(), bits=8)._most
    k = np.arange(-2000, 2001)
    weights = np.exp(-np.abs(k) / (2.0 * half))
    moved = np.exp(-np.abs(k - half) / (2.0 * half))
    assert np.abs(np.log(weights / moved)).max() == pytest.approx(0.5)


@pytest.mark.parametrize(("sampling", "rate"), [("all", 1.0), ("poisson", 0.1), ("fixed", 0.1)])
@pytest.mark.parametrize("delta", [0.0, 1e-5])
def test_the_noise_that_is_found_for_an_epsilon_keeps_it(sampling: str, rate: float, delta: float) -> None:
    found = noise_multiplier(2.0, delta, 30, sampling, rate, "discrete laplace")
    paid = spent([Event("discrete laplace", found, sampling, rate)] * 30, delta).epsilon
    assert 2.0 * 0.995 <= paid <= 2.0
    if delta:
        assert found <= noise_multiplier(2.0, 0.0, 30, sampling, rate, "discrete laplace")


def test_epsilon_without_a_delta_is_infinite_for_gaussian_noise_and_sampling_makes_pure_epsilon_less() -> None:
    assert spent([Event("gaussian", 5.0, "all", 1.0)], 0.0).epsilon == math.inf
    events = [Event("discrete laplace", 1.0, *how) for how in (("all", 1.0), ("poisson", 0.1))]
    whole, part = (spent([event], 0.0).epsilon for event in events)
    assert part == pytest.approx(math.log1p(0.1 * math.expm1(whole)))


def test_what_leaves_a_client_is_its_bounded_contribution_plus_discrete_laplace_noise_on_each_value() -> None:
    """Kolmogorov-Smirnov, 10^5 draws, seed fixed; false alarm 1e-6."""
    mechanism, turn = LocalLaplace(clip_norm=0.5, noise_multiplier=4.0), Turn(size=COUNT)
    x = np.zeros(COUNT)
    x[0] = 1e9
    sent = mechanism.encode(x, turn, simulated("local"))
    assert stats.kstest(sent[1:] / 2.0, "laplace").pvalue > 1e-6
    assert np.all(np.rint(sent * 2**20) == sent * 2**20)
    nothing = mechanism.encode(np.zeros(COUNT), turn, simulated("local"))
    assert sent[0] - nothing[0] == pytest.approx(0.5, abs=1e-5) and np.all(sent[1:] == nothing[1:])
    assert np.linalg.norm(sent) <= mechanism.reach(math.inf, turn)
    assert np.all(mechanism.decode(sent, turn, secure()) == sent)


def test_no_sampling_is_claimed_and_one_client_may_be_replaced_for_twice_the_cost() -> None:
    event = LocalLaplace(noise_multiplier=4.0).event("poisson", 0.01, Turn())
    assert event is not None
    paid = spent([event] * 3, 0.0)
    assert paid.neighbouring == "replace-one" and paid.epsilon == pytest.approx(3 * 2.0 / 4.0)


@pytest.mark.parametrize("size", [1, 30, 5000])
def test_local_noise_stays_within_its_reach(size: int) -> None:
    """1,000 draws, seed fixed; the chance that one is beyond is 10^-14."""
    mechanism, turn = LocalLaplace(noise_multiplier=1.0), Turn(size=size)
    source = simulated("reach", size)
    assert all(
        np.linalg.norm(mechanism.encode(np.zeros(size), turn, source)) < mechanism.reach(1.0, turn) * 0.999
        for _ in range(1000 if size < 1000 else 50)
    )


def test_nothing_may_take_laplace_noise_off_its_grid_or_stretch_what_it_bounded() -> None:
    for later in (RandomK(), Clip(0.5)):
        assert "last" in str(refuses((Laplace(), later), secure=False))
    assert refuses((RandomK(), Laplace()), secure=True) is None
    assert refuses((Clip(), LocalLaplace(), Clip(9.0)), secure=True) is None


@pytest.mark.parametrize("cls", [Laplace, LocalLaplace])
@pytest.mark.parametrize(
    "wrong", [{"clip_norm": 0.0}, {"noise_multiplier": 0.0}, {"epsilon": 1.0}, {"delta": 1.0}, {"epsilon": -1.0}]
)
def test_a_mechanism_that_could_not_protect_is_refused(cls: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=cls.__name__):
        cls(**wrong)
    with pytest.raises(ValueError, match="bits"):
        Laplace(bits=40)


def test_noise_that_was_not_calibrated_is_not_added_as_zero() -> None:
    with pytest.raises(ValueError, match="calibrate"):
        LocalLaplace(noise_multiplier=0.0, epsilon=1.0).encode(np.zeros(3), Turn(size=3), secure())
    with pytest.raises(ValueError, match="calibrate"):
        Laplace(noise_multiplier=0.0, epsilon=1.0).decode(np.zeros(3), Turn(), secure())
