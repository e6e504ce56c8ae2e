"""Histories through public features: one release of norm 1 a customer, whatever the history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import DataError, Population, Schema
from tacit.models.feature_projection import FeatureProjection

MakePopulation = Callable[..., Population]
KINDS = pytest.mark.parametrize(
    "model", [FeatureProjection(), FeatureProjection(near=0.0), FeatureProjection(near=0.5)]
)


@KINDS
@given(seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_a_contribution_has_norm_one_or_nothing_in_it(
    model: FeatureProjection, make_interactions: MakePopulation, seed: int
) -> None:
    """The noise is calibrated to this bound, so it may be exceeded by rounding only."""
    clients = make_interactions(seed)
    for c in range(len(clients)):
        size = float(np.linalg.norm(model.statistics({}, {}, clients.take([c]))[0]["seen"]))
        assert size <= 1.0 + 1e-12
        assert size == pytest.approx(1.0 if clients.sizes[c] else 0.0, abs=1e-9)


@KINDS
def test_a_contribution_is_the_scaled_closeness_of_rows_times_their_features(
    model: FeatureProjection, make_interactions: MakePopulation
) -> None:
    """Oracle: K[j, k] = 0.5^(|j - k| / near) on an orthonormal basis of the features' span."""
    clients = make_interactions(3, empty=False)
    features = np.asarray(clients.schema.item_features, np.float64)
    span = np.concatenate([np.ones((len(features), 1)), features], axis=1)
    projector = span @ np.linalg.pinv(span)  # does not depend on the choice of a basis
    for c in (0, 4):
        item = clients.rows(c)["item"]
        seen = model.statistics({}, {}, clients.take([c]))[0]["seen"]
        expected = np.zeros((len(features), len(features)))
        for j, one in enumerate(item):
            for k, other in enumerate(item):
                expected[one] += (0.5 ** (abs(j - k) / model.near) if model.near else 1.0) * projector[other]
        np.testing.assert_allclose(
            seen @ seen.T, expected @ expected.T / np.linalg.norm(expected) ** 2, rtol=1e-6, atol=1e-9
        )


def test_the_basis_spans_the_leading_directions_of_the_sum(make_interactions: MakePopulation) -> None:
    clients = make_interactions(1, clients=40)
    model = FeatureProjection(rank=3)
    total = model.statistics({}, {}, clients)[0]
    basis = model.solve({}, total, 40)["basis"]
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-6)
    values, vectors = np.linalg.eigh(total["seen"] @ total["seen"].T)
    leading = vectors[:, np.argsort(values)[-3:]]
    np.testing.assert_allclose(basis @ basis.T, leading @ leading.T, atol=1e-5)


def test_data_without_item_features_are_refused_with_a_way_out() -> None:
    bare = Population(Schema("interactions", items=3), np.array([0, 1]), {"item": np.zeros(1, np.int32)})
    with pytest.raises(DataError, match="ItemItem"):
        FeatureProjection().statistics({}, {}, bare)


def test_features_that_repeat_each_other_or_hold_for_no_item_add_nothing(make_interactions: MakePopulation) -> None:
    clients = make_interactions(1)
    features = clients.schema.item_features
    assert features is not None
    odd = np.concatenate([features, features[:, :1], np.zeros_like(features), np.ones_like(features)], axis=1)
    twice = Population(Schema("interactions", clients.schema.items, 0, odd), clients.offsets, clients.fields)
    one = FeatureProjection().statistics({}, {}, clients)[0]["seen"]
    other = FeatureProjection().statistics({}, {}, twice)[0]["seen"]
    assert other.shape == one.shape
    np.testing.assert_allclose(np.linalg.svd(one)[1], np.linalg.svd(other)[1], atol=1e-9)
    shared = FeatureProjection().solve({}, {"seen": other}, 12)
    assert np.all(np.isfinite(FeatureProjection().scores(shared, {}, twice)))


def test_before_anybody_contributed_only_local_taste_scores(make_interactions: MakePopulation) -> None:
    clients = make_interactions(1)
    unsolved = FeatureProjection().init(clients.schema, 0)
    assert np.all(np.isfinite(FeatureProjection().scores(unsolved, {}, clients)))
    assert not np.any(FeatureProjection(affinity=0.0).scores(unsolved, {}, clients))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"rank": 0}, {"near": -1.0}, {"affinity": -0.1}, {"newest": -1.0}),
        *({"half_life": 0.0}, {"oldest": 0.0}, {"prior": 0.0}),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FeatureProjection(**wrong)
