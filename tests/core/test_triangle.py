"""Symmetric matrices as triangles, and Gram matrices as sums over clients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.core.triangle import gram, pack, unpack
from tacit.core.values import Population, Schema


def histories(seed: int, clients: int, items: int) -> Population:
    """Random distinct items for each client; some have none, some have all."""
    random = np.random.default_rng(seed)
    sizes = random.integers(0, items + 1, clients)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    item = np.concatenate([np.zeros(0, int), *(random.choice(items, size, replace=False) for size in sizes)])
    return Population(Schema("interactions", items=items), offsets, {"item": item.astype(np.int32)})


def dense(clients: Population) -> np.ndarray:
    """(clients, items) binary."""
    x = np.zeros((len(clients), clients.schema.items))
    x[clients.owner(), clients.fields["item"]] = 1.0
    return x


@given(st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_unpack_is_the_inverse_of_pack(order: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((order, order))
    matrix = matrix + matrix.T
    triangle = pack(matrix)
    assert triangle.shape == (order * (order + 1) // 2,)
    np.testing.assert_array_equal(unpack(triangle), matrix)


@pytest.mark.parametrize("length", [2, 4, 5, 7, 11])
def test_a_number_of_values_that_fills_no_triangle_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"{length} values"):
        unpack(np.zeros(length))


@given(st.integers(0, 12), st.integers(1, 20), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_the_gram_matrix_of_any_number_of_clients_is_the_dense_product(clients: int, items: int, seed: int) -> None:
    """Few clients and many take different paths: both are the oracle, exactly."""
    population = histories(seed, clients, items)
    x = dense(population)
    np.testing.assert_array_equal(gram(population), pack(x.T @ x))
    np.testing.assert_array_equal(gram(population, block=3), pack(x.T @ x))


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_the_gram_matrix_of_two_groups_is_the_sum_of_theirs(some: int, others: int, seed: int) -> None:
    population = histories(seed, some + others, 11)
    first, second = population.take(np.arange(some)), population.take(np.arange(some, some + others))
    np.testing.assert_array_equal(gram(population), gram(first) + gram(second))


def test_one_customer_with_n_items_has_a_gram_matrix_of_norm_n() -> None:
    population = histories(3, 1, 40)
    assert np.linalg.norm(unpack(gram(population))) == pytest.approx(int(population.sizes[0]))


@pytest.mark.parametrize("clients", [2, 9])
def test_an_item_that_stands_twice_in_a_history_counts_once(clients: int) -> None:
    item = np.tile(np.array([1, 1, 2], np.int32), clients)
    population = Population(Schema("interactions", items=3), np.arange(clients + 1) * 3, {"item": item})
    assert gram(population).tolist() == [0, 0, 0, clients, clients, clients]
