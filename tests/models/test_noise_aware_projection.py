"""A release of norm 1 a customer, believed as far as it stands out of its noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import Array, Population, Schema
from tacit.models.noise_aware_projection import SILENT, NoiseAwareProjection, _around

MakePopulation = Callable[..., Population]
KINDS = pytest.mark.parametrize("model", [NoiseAwareProjection(), NoiseAwareProjection(near=5.0)])


@KINDS
@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_a_contribution_has_norm_one_or_nothing_in_it(
    model: NoiseAwareProjection, make_interactions: MakePopulation, seed: int
) -> None:
    """The noise is calibrated to this bound, so it may be exceeded by rounding only."""
    clients = make_interactions(seed)
    for c in range(len(clients)):
        sums = model.statistics(model.init(clients.schema, 0), {}, clients.take([c]))[0]
        assert float(np.linalg.norm(sums["seen"])) == pytest.approx(1.0 if clients.sizes[c] else 0.0, abs=1e-9)
        assert not sums["silent"].any()


def test_without_closeness_in_time_each_row_contributes_the_same_view(make_interactions: MakePopulation) -> None:
    """Oracle: an endless reach in time gives what no reach gives, by the other way of computing it."""
    clients = make_interactions(4, empty=False)
    start = NoiseAwareProjection().init(clients.schema, 0)
    plain = NoiseAwareProjection().statistics(start, {}, clients)[0]["seen"]
    endless = NoiseAwareProjection(near=1e12).statistics(start, {}, clients)[0]["seen"]
    np.testing.assert_allclose(plain, endless, atol=1e-8)


NOTHING = NoiseAwareProjection().init(Schema("interactions", 300), 0)


def planted(noise: float, seed: int) -> dict[str, Array]:
    """A sum of three directions of strength 60, 40 and 30 over 300 items and 40 directions, with noise."""
    random = np.random.default_rng(seed)
    left = np.linalg.qr(random.normal(size=(300, 3)))[0]
    right = np.linalg.qr(random.normal(size=(40, 3)))[0]
    seen = left * np.array([60.0, 40.0, 30.0]) @ right.T + noise * random.normal(size=(300, 40))
    return {"seen": seen, "silent": noise * random.normal(size=SILENT), "left": left}


def test_directions_are_kept_that_stand_out_of_the_noise_and_no_others() -> None:
    """Statistical, 20 seeds: noise 0.5 alone has singular values up to 0.5 (sqrt 300 + sqrt 40) = 11.8, far below 30.
    At the edge itself noise alone passes in under a tenth of the seeds (Tracy-Widom, edge taken 3 % wrong at worst).
    """
    kept = [NoiseAwareProjection().solve(NOTHING, planted(0.5, seed), 300.0)["basis"].shape[1] for seed in range(20)]
    assert sorted(kept)[1:-3] == [3] * 16
    loud = [NoiseAwareProjection().solve(NOTHING, planted(10.0, seed), 300.0)["basis"].shape[1] for seed in range(20)]
    assert np.mean(loud) <= 1.0


def test_a_direction_is_shrunk_by_what_the_noise_added_to_it() -> None:
    total = planted(0.5, 1)
    shared = NoiseAwareProjection().solve(NOTHING, total, 300.0)
    values = np.linalg.svd(total["seen"], compute_uv=False)[:3]
    noise = float(np.sqrt(np.mean(total["silent"] ** 2)))
    np.testing.assert_allclose(
        np.linalg.norm(shared["basis"][:, :3], axis=0), (1.0 - noise**2 * 300 / values**2) ** 0.25, rtol=1e-5
    )


def test_a_second_round_looks_along_what_the_first_found_and_keeps_both(make_interactions: MakePopulation) -> None:
    clients = make_interactions(5, clients=40, empty=False)
    model = NoiseAwareProjection()
    start = model.init(clients.schema, 0)
    first = model.solve(start, model.statistics(start, {}, clients)[0], 40.0)
    again = model.statistics(model.broadcast(first), {}, clients)[0]
    assert again["seen"].shape == first["view"].shape
    for c in range(4):
        one = model.statistics(first, {}, clients.take([c]))[0]["seen"]
        assert float(np.linalg.norm(one)) == pytest.approx(1.0)
    second = model.solve(first, again, 40.0)
    assert second["summed"].shape[1] == first["summed"].shape[1] + again["seen"].shape[1]


def test_trust_falls_where_nothing_was_learned_and_scores_are_then_local(make_interactions: MakePopulation) -> None:
    clients = make_interactions(2, empty=False)
    model = NoiseAwareProjection()
    before = model.init(clients.schema, 0)
    total = model.statistics(before, {}, clients)[0]
    random = np.random.default_rng(0)
    noisy = {name: value + 1e4 * random.normal(size=value.shape) for name, value in total.items()}
    shared = model.solve(before, noisy, 12.0)
    assert float(shared["trust"][0]) <= 0.2
    assert np.all(np.isfinite(model.scores(shared, {}, clients)))
    assert np.all(np.isfinite(model.scores(before, {}, clients)))


def test_local_taste_prefers_what_the_customer_takes_more_often_than_others() -> None:
    features = np.zeros((40, 2), np.float32)
    features[:20, 0] = features[20:, 1] = 1.0
    items = np.arange(0, 10, dtype=np.int32)  # a customer of the first kind only
    one = Population(Schema("interactions", 40, 0, features), np.array([0, 10]), {"item": items})
    model = NoiseAwareProjection()
    shared = {**model.init(one.schema, 0), "popularity": np.zeros(40, np.float32)}
    scores = model.scores(shared, {}, one)[0]
    assert scores[10:20].min() > scores[20:].max()


def test_neighbours_in_the_catalogue_are_preferred_where_its_order_means_something() -> None:
    one = Population(Schema("interactions", 40), np.array([0, 3]), {"item": np.array([10, 11, 12], np.int32)})
    shared = {**NoiseAwareProjection().init(one.schema, 0), "popularity": np.zeros(40, np.float32)}
    near = NoiseAwareProjection(neighbours=3.0).scores(shared, {}, one)[0]
    assert near[13] > near[20] > near[35]
    assert np.ptp(NoiseAwareProjection().scores(shared, {}, one)) == 0.0


def test_the_sum_around_an_item_is_the_dense_kernel() -> None:
    """Oracle."""
    rows = np.random.default_rng(0).random((5, 30))
    place = np.arange(30)
    kernel = np.exp(-np.abs(place[:, None] - place) / 4.0)
    np.testing.assert_allclose(_around(rows, 4.0), rows @ kernel, rtol=1e-12)


@pytest.mark.parametrize(
    "settings", [{"rank": 0}, {"sure": 0}, {"bumps": 0}, {"affinity": -1.0}, {"lift": -1.0}, {"prior": 0.0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs"):
        NoiseAwareProjection(**settings)  # type: ignore[arg-type]
