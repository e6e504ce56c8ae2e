"""Laws of the partitions: everyone has exactly one place, no party is empty, the seed alone decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.values import PlanError
from tacit.data.clients import ByAttribute, ByCustomer, Dirichlet, Quantity, Uniform, favourites
from tacit.data.interactions import Interactions
from tacit.data.storefront import Storefront
from tacit.data.tabular import Tabular

DATA = Storefront(customers=200, items=100).load()
ALL = [ByCustomer(), ByAttribute(), Dirichlet(), Quantity(), Uniform()]


def table(rows, institutions=("",)) -> Tabular:
    y = (np.arange(rows) % 3 == 0).astype(np.float32)
    holder = np.array([institutions[row % len(institutions)] for row in range(rows)])
    sex = np.array(["f", "m"])[np.arange(rows) % 2]
    return Tabular("rows", np.ones((rows, 1), np.float32), y, ("x",), holder, {"sex": sex})


@pytest.mark.parametrize("partition", ALL)
def test_every_customer_has_one_node_and_every_node_a_name(partition):
    nodes, names = partition.nodes(DATA), partition.names(DATA)
    assert nodes.shape == (200,)
    assert nodes.dtype.kind == "i"
    assert set(nodes.tolist()) == set(range(len(names)))
    assert len(set(names)) == len(names)
    assert np.array_equal(nodes, partition.nodes(DATA))


@given(
    st.integers(8, 120),
    st.sampled_from([Dirichlet(alpha=0.01), Dirichlet(alpha=100.0), Quantity(skew=3.0), Quantity(), Uniform()]),
)
@settings(max_examples=40)
def test_no_party_is_empty_and_rows_keep_their_owner_in_every_selection(rows, partition):
    data = table(rows)
    owners = partition.owners(data, np.arange(rows))
    assert set(owners.tolist()) == set(range(8))
    chosen = np.arange(0, rows, 3)
    assert np.array_equal(partition.owners(data, chosen), owners[chosen])


def test_uniform_parties_differ_by_one_at_most():
    sizes = np.bincount(Uniform(parties=7).owners(table(100), np.arange(100)))
    assert sizes.max() - sizes.min() <= 1
    assert not np.array_equal(Uniform(seed=1).nodes(DATA), Uniform(seed=2).nodes(DATA))


def test_quantity_follows_zipfs_law():
    sizes = np.bincount(Quantity(parties=4, skew=1.0).owners(table(1000), np.arange(1000)))
    assert np.allclose(sizes, 1000 * np.array([12, 6, 4, 3]) / 25, atol=1)


def test_small_alpha_makes_parties_unlike():
    def spread(alpha):
        data = table(3000)
        owners = Dirichlet(alpha, parties=5).owners(data, np.arange(3000))
        return np.std([data.y[owners == party].mean() for party in range(5)])

    assert spread(0.1) > 0.1
    assert spread(1000.0) < 0.05


def test_dirichlet_skews_favourite_categories():
    names = np.array([f"{one:02d}" for one in range(12)])[favourites(DATA)]
    assert len(set(names)) > 3
    nodes = Dirichlet(alpha=0.05, parties=3).nodes(DATA)
    assert any(len(set(nodes[names == name].tolist())) < 3 for name in set(names))


def test_a_favourite_is_what_a_customer_has_more_of_than_others():
    rows = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 3), (2, 0), (2, 1)]  # everyone has the popular 0 and 1
    customer, item = np.array(rows, np.int32).T
    flags = {
        "popular": np.array([True, True, False, False]),
        "rare": np.array([False, False, True, False]),
        "odd": np.array([False, False, False, True]),
    }
    data = Interactions("x", customer.copy(), item.copy(), np.ones(8, np.float32), None, 3, 4, categories=flags)
    assert favourites(data).tolist() == [1, 2, 0]


def test_by_attribute_takes_regions_of_customers_and_institutions_of_rows():
    assert ByAttribute().names(DATA) == ("east", "islands", "north", "south", "west")
    nodes = ByAttribute("gender").nodes(DATA)
    assert np.array_equal(nodes == 1, DATA.attributes["gender"] == "male")
    data = table(6, ("b", "a"))
    assert ByAttribute().names(data) == ("a", "b")
    assert ByAttribute().owners(data, np.array([0, 1, 5])).tolist() == [1, 0, 0]
    assert ByAttribute("institution").names(data) == ("a", "b")
    assert ByAttribute("sex").names(data) == ("f", "m")


def test_by_customer_makes_each_row_a_client():
    assert ByCustomer().owners(table(9), np.array([4, 7])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dirichlet(alpha=0.0), "alpha must be a positive number, got 0.0"),
        (lambda: Dirichlet(parties=0), "parties must be at least 1"),
        (lambda: Quantity(skew=-1.0), "skew must be 0 or more"),
        (lambda: Uniform(parties=-2), "parties must be at least 1, got -2"),
        (lambda: Uniform(parties=9).owners(table(8), np.arange(8)), "9 parties need at least as many .* got 8"),
        (lambda: ByAttribute("zodiac").nodes(DATA), "no attribute 'zodiac' .* known: age_band, gender, region"),
        (lambda: ByAttribute().names(table(8)), "no attribute 'institution' .* known: sex"),
        (
            lambda: Dirichlet().nodes(
                Interactions("x", np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, np.float32), None, 1, 1)
            ),
            "has no item categories",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(make, message):
    with pytest.raises(PlanError, match=message):
        make()
