"""A clip norm that follows the clients' norms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import Turn
from tacit.privacy.randomness import secure, simulated
from tacit.privacy.transforms.adaptive_clip import AdaptiveClip
from tacit.privacy.transforms.gaussian import Gaussian


def turn(told: dict, clients: int = 200, size: int = 10) -> Turn:
    return Turn(size=size, clients=clients, told=told)


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6), st.floats(0.01, 0.99), st.floats(1e-8, 1e8))
@settings(max_examples=60, deadline=None)
def test_the_encoded_contribution_and_its_indicator_together_have_l2_norm_at_most_1(
    seed: int, norm: float, indicator: float, scale: float
) -> None:
    clip = AdaptiveClip(norm=norm, indicator=indicator)
    x = np.random.default_rng(seed).standard_normal(9) * scale
    encoded = clip.encode(x, turn(dict(clip.start())), secure())
    assert encoded.shape == (10,)
    assert np.linalg.norm(encoded) <= 1.0 + 1e-9
    assert abs(encoded[-1]) == indicator and (encoded[-1] > 0) == (np.linalg.norm(x) <= norm)


@pytest.mark.parametrize("noise", [0.0, 2.0], ids=["without noise", "with noise"])
@pytest.mark.parametrize(("quantile", "begin"), [(0.5, 0.01), (0.5, 50.0), (0.9, 1.0)])
def test_the_norm_moves_towards_the_quantile_of_the_clients_norms(quantile: float, begin: float, noise: float) -> None:
    """200 clients with log-normal norms; after 60 rounds the share within is the quantile, to 0.12. Seed fixed."""
    clip = AdaptiveClip(norm=begin, quantile=quantile, rate=0.4)
    after = Gaussian(1.0, noise) if noise else None
    random = np.random.default_rng(1)
    norms = np.exp(random.standard_normal(200))
    told = dict(clip.start())
    for round in range(60):
        now = turn(told)
        x = random.standard_normal((200, 10))
        x *= (norms / np.linalg.norm(x, axis=1))[:, None]
        total = np.sum([clip.encode(each, now, secure()) for each in x], axis=0)
        if after is not None:
            total = after.decode(total, now, simulated("adaptive", round))
        told = dict(clip.follow(total, now))
    assert abs(np.mean(norms <= float(told["norm"])) - quantile) < 0.12


def test_the_norm_follows_only_what_was_summed_so_with_noise_behind_it_only_what_was_released() -> None:
    """Two sums that agree give the same next norm, whatever the clients were; and it never runs away."""
    clip = AdaptiveClip()
    now = turn(dict(clip.start()))
    total = np.linspace(-3.0, 3.0, 11)
    assert clip.follow(total, now) == clip.follow(total.copy(), now)
    told = dict(clip.start())
    for _ in range(500):
        told = dict(clip.follow(np.full(11, -1e9), turn(told)))
    assert float(told["norm"]) == pytest.approx(1e6)
    assert clip.event("all", 1.0, now) is None and clip.per_client and not clip.noisy


def test_the_sum_comes_back_on_the_scale_on_which_it_came_and_noise_scales_with_the_norm() -> None:
    clip = AdaptiveClip(norm=8.0)
    now = turn({"norm": np.array(2.0)}, size=3)
    x = np.array([[0.1, 0.2, 0.3], [0.5, -0.5, 1.0], [30.0, 0.0, 0.0]])
    total = np.sum([clip.encode(each, now, secure()) for each in x], axis=0)
    np.testing.assert_allclose(clip.decode(total, now, secure()), x[0] + x[1] + [2.0, 0.0, 0.0])
    tenth = turn({"norm": np.array(0.2)}, size=3)
    np.testing.assert_allclose(clip.decode(total, tenth, secure()) * 10.0, clip.decode(total, now, secure()))


@pytest.mark.parametrize("wrong", [{"norm": 0.0}, {"quantile": 1.0}, {"indicator": 1.0}, {"rate": 0.0}])
def test_numbers_without_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="AdaptiveClip"):
        AdaptiveClip(**wrong)
