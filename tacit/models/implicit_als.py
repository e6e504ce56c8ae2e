"""Implicit matrix factorisation, federated: every customer solves for its own vector, what items need is summed.

Y. Hu, Y. Koren, C. Volinsky: "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008; objective and
scaling of the regularisation as in S. Rendle, W. Krichene, L. Zhang, Y. Koren: "Revisiting the Performance of iALS on
Item Recommendation Benchmarks", RecSys 2022, https://arxiv.org/abs/2110.14037; federated by M. Ammad-ud-din et al.:
"Federated Collaborative Filtering for Privacy-Preserving Personalized Recommendation System", 2019,
https://arxiv.org/abs/1901.09888. Differs from the papers: instead of plain gradients and Adam, two d x d matrices ride
along, and the server takes a Newton step with each item's second moment of user vectors replaced by their average over
interactions. It needs no step size and follows exact alternating least squares sweep by sweep, for d^2 further numbers
instead of items * d^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit

from tacit.core.values import Array, Params, Population, Schema


@dataclass(frozen=True, slots=True)
class ImplicitALS:
    """score(u, i) = x_u . items[i], x_u solved on the client from its history; shared: items (items, dim).

    Loss: sum over interactions (1 - x_u.v_i)^2 + alpha0 * sum over all pairs (x_u.v_i)^2
    + reg * sum_u (n_u + alpha0 * items) |x_u|^2 + reg * sum_i (n_i + alpha0 * users) |v_i|^2.
    """

    dim: int = 24
    alpha0: float = 0.3  # weight of every unobserved pair
    reg: float = 0.01
    oldest: float = 1.0  # when scoring, the client weighs a row oldest + newest * 0.5^(age / half_life)
    newest: float = 0.0  # 0 = all rows alike, as in training
    half_life: float = 3.0  # in rows; age counts the client's newer rows

    def __post_init__(self) -> None:
        if self.dim < 1 or not self.alpha0 > 0.0 or not self.reg > 0.0 or not self.oldest > 0.0:
            raise ValueError(f"{self!r} needs dim >= 1 and alpha0, reg, oldest > 0")
        if self.newest < 0.0 or not self.half_life > 0.0:
            raise ValueError(f"{self!r} needs newest >= 0 and half_life > 0")

    @property
    def serves(self) -> Literal["interactions", "tabular"]:
        """Interactions."""
        return "interactions"

    @property
    def private(self) -> tuple[str, ...]:
        """User vectors are solved anew from local rows whenever they are needed, so nothing is stored."""
        return ()

    @property
    def ranges(self) -> dict[str, float]:
        """Largest absolute values that a client's statistics may take, for their encoding as integers."""
        return {"count": 1.0, "residual": 16.0, "gram": 256.0, "cross": 65536.0}

    @property
    def whole(self) -> tuple[str, ...]:
        """Statistics that are counts."""
        return ("count",)

    def init(self, schema: Schema, seed: int) -> Params:
        """items (items, dim) float32, normal with standard deviation 0.1 / sqrt(dim)."""
        random = np.random.default_rng(seed)
        return {
            "items": (random.standard_normal((schema.items, self.dim)) * 0.1 / np.sqrt(self.dim)).astype(np.float32)
        }

    def statistics(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """Sums over clients, float64.

        residual (items, dim): sum of x_u (1 - x_u.v_i) over a client's items i; count (items,): clients per item;
        gram (dim, dim): sum of x_u x_u'; cross (dim, dim): sum of n_u x_u x_u'.
        """
        table = np.asarray(shared["items"], np.float64)
        users = self._users(table, clients, np.ones(len(clients.fields["item"])))
        residual = np.zeros_like(table)
        count = np.zeros(len(table))
        _residuals(table, users, clients.offsets, clients.fields["item"], residual, count)
        gram = users.T @ users
        cross = (users * clients.sizes[:, None]).T @ users
        return {"residual": residual, "count": count, "gram": gram, "cross": cross}, {}

    def solve(self, shared: Params, total: Params, clients: float) -> Params:
        """One Newton step for all items at once: a single eigenproblem of order dim serves every item."""
        table = np.asarray(shared["items"], np.float64)
        count = np.maximum(total["count"], 0.0)
        gram, cross = _positive(total["gram"]), _positive(total["cross"])
        descent = total["residual"] - self.alpha0 * table @ gram
        descent -= (self.reg * (count + self.alpha0 * clients))[:, None] * table
        unit = np.eye(self.dim)
        base = np.linalg.cholesky(self.alpha0 * gram + self.alpha0 * clients * self.reg * unit)
        inverse = np.linalg.inv(base)
        mean = cross / max(float(count.sum()), 1.0) + self.reg * unit
        values, vectors = np.linalg.eigh(inverse @ mean @ inverse.T)
        basis = inverse.T @ vectors  # basis' (a0 G + ..) basis = 1, basis' mean basis = diag(values)
        step = ((descent @ basis) / (1.0 + count[:, None] * values)) @ basis.T
        return {"items": (table + step).astype(np.float32)}

    def scores(self, shared: Params, own: Params, clients: Population) -> Array:
        """(clients, items) float32. With newest > 0, rows must stand in their order in time."""
        table = np.asarray(shared["items"], np.float64)
        age = np.repeat(clients.offsets[1:], clients.sizes) - 1 - np.arange(clients.offsets[-1])  # 0 = newest
        weight = self.oldest + self.newest * 0.5 ** (age / self.half_life)
        return (self._users(table, clients, weight) @ table.T).astype(np.float32)

    def central(self, train: Population, seed: int, rounds: int) -> tuple[Params, Params]:
        """The same objective by exact alternating least squares on pooled rows: `rounds` sweeps over users and
        items.
        """
        table = np.asarray(self.init(train.schema, seed)["items"], np.float64)
        order = np.argsort(train.fields["item"], kind="stable")
        counts = np.bincount(train.fields["item"], minlength=len(table))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        owner = train.owner()[order]
        ones = np.ones(len(order))
        for _ in range(rounds):
            users = self._users(table, train, ones)
            ridge = self.reg * (counts + self.alpha0 * len(train))
            table = _solve(users, self.alpha0 * users.T @ users, offsets, owner, ones, ridge)
        return {"items": table.astype(np.float32)}, {}

    def _users(self, table: Array, clients: Population, weight: Array) -> Array:
        ridge = self.reg * (clients.sizes + self.alpha0 * len(table))
        gram = self.alpha0 * table.T @ table
        solved: Array = _solve(table, gram, clients.offsets, clients.fields["item"], weight, ridge)
        return solved


def _positive(matrix: Array) -> Array:
    """The nearest positive semidefinite matrix: what a sum of squares is until noise is added to it."""
    matrix = (matrix + matrix.T) / 2.0
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(matrix if values[0] >= 0.0 else (vectors * np.maximum(values, 0.0)) @ vectors.T)


@njit(cache=True, fastmath={"contract", "reassoc", "nsz"})
def _solve(table, gram, offsets, index, weight, ridge):  # type: ignore[no-untyped-def]
    """Row r solves (gram + sum_e w_e v_e v_e' + ridge_r) x = sum_e w_e v_e over its entries e."""
    rows, dim = len(offsets) - 1, table.shape[1]
    out = np.zeros((rows, dim))
    a = np.empty((dim, dim))
    b = np.empty(dim)
    longest = 1
    for r in range(rows):
        longest = max(longest, offsets[r + 1] - offsets[r])
    rows_of = np.empty((longest, dim))
    weighted = np.empty((longest, dim))
    for r in range(rows):
        low, count = offsets[r], offsets[r + 1] - offsets[r]
        b[:] = 0.0
        for e in range(count):
            v = table[index[low + e]]
            for k in range(dim):
                rows_of[e, k] = v[k]
                weighted[e, k] = weight[low + e] * v[k]
                b[k] += weighted[e, k]
        a[:, :] = gram + np.dot(weighted[:count].T, rows_of[:count])  # by BLAS
        for k in range(dim):
            a[k, k] += ridge[r]
        out[r] = np.linalg.solve(a, b)
    return out


@njit(cache=True, fastmath={"contract", "reassoc", "nsz"})
def _residuals(table, users, offsets, item, residual, count):  # type: ignore[no-untyped-def]
    """Add x_u (1 - x_u.v_i) and 1 for each interaction."""
    dim = table.shape[1]
    for u in range(len(users)):
        for e in range(offsets[u], offsets[u + 1]):
            i = item[e]
            score = 0.0
            for k in range(dim):
                score += users[u, k] * table[i, k]
            for k in range(dim):
                residual[i, k] += users[u, k] * (1.0 - score)
            count[i] += 1.0
