"""Symmetric matrices as their upper triangle, and the item-item Gram matrix: a sum over clients."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from tacit.core.values import Array, Population


@lru_cache(maxsize=4)
def _upper(order: int) -> tuple[Array, Array]:
    return np.triu_indices(order)


def pack(matrix: Array) -> Array:
    """(n, n) symmetric -> (n (n + 1) / 2,): the upper triangle, row by row."""
    return np.asarray(matrix[_upper(len(matrix))])


def unpack(triangle: Array) -> Array:
    """The inverse of `pack`.

    Raises:
        ValueError: the length is not n (n + 1) / 2 for any n.
    """
    order = (math.isqrt(8 * len(triangle) + 1) - 1) // 2
    if order * (order + 1) // 2 != len(triangle):
        raise ValueError(f"{len(triangle)} values are not the upper triangle of a square matrix")
    matrix = np.empty((order, order), triangle.dtype)
    rows, columns = _upper(order)
    matrix[rows, columns] = triangle
    matrix[columns, rows] = triangle
    return matrix


def gram(clients: Population, block: int = 1024) -> Array:
    """Packed X'X (items (items + 1) / 2,) float64 of the binary matrix X (clients, items): exact integers.

    Entry (i, j) counts the clients with both items; one client's matrix has Frobenius norm n for n items.
    """
    items = clients.schema.items
    if len(clients) <= 4:  # one client's triangle directly: n^2 / 2 entries instead of a matrix product
        out = np.zeros(items * (items + 1) // 2)
        for c in range(len(clients)):
            own = np.unique(clients.rows(c)["item"]).astype(np.int64)
            low, high = np.triu_indices(len(own))
            i, j = own[low], own[high]
            out[i * items - i * (i - 1) // 2 + (j - i)] += 1.0
        return out
    total = np.zeros((items, items))
    for start in range(0, len(clients), block):
        part = clients.take(np.arange(start, min(start + block, len(clients))))
        x = np.zeros((len(part), items), np.float32)  # counts up to 2^24 stay exact in float32
        x[part.owner(), part.fields["item"]] = 1.0
        total += x.T @ x
    return pack(total)
