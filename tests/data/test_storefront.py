"""The generated storefront: the same every time, like MovieLens in its marginals, and learnable."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tacit.core.values import DataError
from tacit.data.clients import favourites
from tacit.data.split import leave_one_out
from tacit.data.storefront import HISTOGRAM, Storefront


@pytest.fixture(scope="module")
def shop():
    return Storefront().load()


def gini(counts):
    ordered = np.sort(counts)
    return 2 * np.sum(np.arange(1, len(ordered) + 1) * ordered) / len(ordered) / ordered.sum() - 1 - 1 / len(ordered)


def marginals(data):
    per_customer = np.bincount(data.customer)
    per_item = np.sort(np.bincount(data.item, minlength=data.items))[::-1]
    return {
        "fewest": int(per_customer.min()),
        "median": float(np.median(per_customer)),
        "mean": float(per_customer.mean()),
        "activity gini": float(gini(per_customer)),
        "popularity gini": float(gini(per_item)),
        "top tenth": float(per_item[: data.items // 10].sum() / per_item.sum()),
        "top item": float(per_item[0] / data.customers),
        "histogram": np.bincount(data.rating.astype(int), minlength=6)[1:] / len(data),
    }


def test_the_same_seed_gives_the_same_rows():
    first, second, other = (Storefront(60, 60, seed).load() for seed in (3, 3, 4))
    for name in ("customer", "item", "rating", "time"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert np.array_equal(first.attributes["region"], second.attributes["region"])
    assert len(first) != len(other) or not np.array_equal(first.item, other.item)


def test_a_thousand_customers_take_less_than_a_second():
    start = time.process_time()
    Storefront().load()
    assert time.process_time() - start < 1.0


def test_its_marginals_are_those_that_its_docstring_states(shop):
    found = marginals(shop)
    assert found["fewest"] == 20
    assert 55 <= found["median"] <= 75
    assert 90 <= found["mean"] <= 120
    assert abs(found["activity gini"] - 0.472) < 0.04
    assert abs(found["popularity gini"] - 0.629) < 0.04
    assert abs(found["top tenth"] - 0.427) < 0.08
    assert abs(found["top item"] - 0.618) < 0.06
    assert np.allclose(found["histogram"], HISTOGRAM, atol=0.002)


def test_movielens_100k_has_the_marginals_that_it_is_calibrated_to(movielens_100k):
    found = marginals(movielens_100k)
    assert (found["fewest"], found["median"]) == (20, 65)
    assert abs(found["activity gini"] - 0.472) < 0.001
    assert abs(found["popularity gini"] - 0.629) < 0.001
    assert abs(found["top tenth"] - 0.427) < 0.001
    assert abs(found["top item"] - 0.618) < 0.001
    assert np.allclose(found["histogram"], HISTOGRAM, atol=0.001)


def test_neighbours_know_more_than_popularity(shop):
    """Leave-one-out, 99 negatives, seed 0: item-item cosine beats popularity by far, and chance is 0.10."""
    split = leave_one_out(shop)
    train = np.zeros((shop.customers, shop.items), np.float32)
    train[split.train.owner(), split.train.fields["item"]] = 1
    seen = train.copy()
    everyone = np.arange(shop.customers)
    seen[everyone, split.validation] = seen[everyone, split.test] = 1
    generator = np.random.default_rng(0)
    negatives = np.argsort(generator.random(seen.shape) + 2 * seen, axis=1)[:, :99]
    together = train.T @ train
    cosine = together / np.sqrt(np.outer(train.sum(0) + 1, train.sum(0) + 1))
    np.fill_diagonal(cosine, 0)

    def hit_rate(scores):
        return float(
            ((scores[everyone[:, None], negatives] >= scores[everyone, split.test][:, None]).sum(1) < 10).mean()
        )

    popularity = hit_rate(np.tile(train.sum(0), (shop.customers, 1)))
    assert 0.35 < popularity < 0.55
    assert hit_rate(train @ cosine) > popularity + 0.1
    assert 0.07 < hit_rate(generator.random(seen.shape)) < 0.13


def test_regions_are_not_alike(shop):
    """Non-IID: favourite categories depend on the region, far beyond chance (permuted regions, seed 0)."""
    favourite = favourites(shop)
    _, region = np.unique(shop.attributes["region"], return_inverse=True)

    def distance(region):
        counts = np.stack([np.bincount(favourite[region == one], minlength=12) for one in range(5)]).astype(float)
        shares = counts / counts.sum(1, keepdims=True)
        return float(np.abs(shares - shares.mean(0)).sum())

    shuffled = [distance(np.random.default_rng(seed).permutation(region)) for seed in range(20)]
    assert distance(region) > 2 * max(shuffled)


def test_rows_have_times_and_facts(shop):
    order = np.lexsort((shop.time, shop.customer))
    assert np.array_equal(order, np.arange(len(shop)))
    assert set(shop.attributes) == {"age_band", "gender", "region"}
    assert len(shop.categories) == 12
    assert (sum(shop.categories.values()) >= 1).all()
    assert shop.order_known
    assert "invented" in shop.note


def test_sizes_that_make_no_shop_are_refused():
    with pytest.raises(DataError, match="needs a customer and 50 items, got 0 and 800"):
        Storefront(customers=0)
    with pytest.raises(DataError, match="got 10 and 49"):
        Storefront(10, 49)
    assert Storefront(1, 50).load().customers == 1
