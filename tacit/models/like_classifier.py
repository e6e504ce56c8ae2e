"""Will this customer like this item: explicit factors and a few calibrated features, every step a sum over customers.

Y. Koren, R. Bell, C. Volinsky: "Matrix Factorization Techniques for Recommender Systems", IEEE Computer 42(8), 2009,
for the factors on what biases leave over; J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999, for
calibrating on held-out rows. Differs from the papers: items are solved from summed normal equations, users on their
own side; the calibration is fitted by Newton's method from summed gradients and Hessians.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit

from tacit.core.triangle import pack, unpack
from tacit.core.values import Array, Params, Population, Schema

LIKE = 4.0  # a rating from here on is a like
FEATURES = 9
PARTS = ("early", "all")  # fitted on the first 80 % of each customer's rows to calibrate, and on all rows to serve


@dataclass(frozen=True, slots=True)
class LikeClassifier:
    """p(rating >= 4) from item and customer biases, a product of factors, counts and spread.

    Rounds: 1 sums item statistics, the next `sweeps` solve item factors, all later ones calibrate: 1 + sweeps + 6 or
    more rounds are needed. Shared, for both parts: item mean, like rate, log count, factors; the coefficients.
    """

    dim: int = 8
    sweeps: int = 6
    user_reg: float = 6.0
    item_reg: float = 12.0
    l2: float = 1.0  # of the calibration
    half_life: float = 20.0  # in rows: how fast a customer's older deviations count less in its recent bias

    def __post_init__(self) -> None:
        if self.dim < 1 or self.sweeps < 1 or min(self.user_reg, self.item_reg, self.l2, self.half_life) <= 0.0:
            raise ValueError(f"{self!r} needs dim and sweeps >= 1, and user_reg, item_reg, l2, half_life > 0")

    @property
    def serves(self) -> Literal["interactions", "tabular"]:
        """Interactions, with ratings."""
        return "interactions"

    @property
    def private(self) -> tuple[str, ...]:
        """What is personal is solved anew from local rows, so nothing is stored."""
        return ()

    @property
    def ranges(self) -> dict[str, float]:
        """Largest absolute values that a client's statistics may take, for their encoding as integers."""
        sums = {"count": 1.0, "rating": 128.0, "like": 1.0, "square": 16384.0, "rows": 65536.0}
        factors = {"normal": 64.0, "target": 64.0}
        return {f"{part}/{k}": v for part in PARTS for k, v in (sums | factors).items()} | {
            "slope": 4096.0,
            "curve": 4096.0,
        }

    @property
    def whole(self) -> tuple[str, ...]:
        """Statistics that are counts."""
        return tuple(f"{part}/{name}" for part in PARTS for name in ("count", "like"))

    def init(self, schema: Schema, seed: int) -> Params:
        """stage (), and for each part factors (items, dim), mean, like, log (items,), centre (3,); coefficients
        (9,).
        """
        random = np.random.default_rng(seed)
        factors = (0.1 * random.standard_normal((schema.items, self.dim))).astype(np.float32)
        zeros = np.zeros(schema.items, np.float32)
        out = {"stage": np.zeros((), np.float32), "coefficients": np.zeros(FEATURES, np.float32)}
        for part in PARTS:
            out |= {f"{part}/factors": factors, f"{part}/mean": zeros, f"{part}/like": zeros, f"{part}/log": zeros}
            out |= {f"{part}/centre": np.zeros(3, np.float32)}  # mean rating, like rate, variance
        return out

    def statistics(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """The sums of the stage that `shared` is in, float64."""
        stage = int(shared["stage"])
        if stage > self.sweeps:
            return self._calibration(shared, clients), {}
        sums: dict[str, Array] = {}
        for part in PARTS:
            rows = _early(clients) if part == "early" else clients
            found = self._item_sums(rows) if stage == 0 else self._normal_equations(shared, part, rows)
            sums |= {f"{part}/{key}": value for key, value in found.items()}
        return sums, {}

    def solve(self, shared: Params, total: Params, clients: float) -> Params:
        """The next stage's parameters."""
        out = dict(shared)
        stage = int(shared["stage"])
        if stage > self.sweeps:
            out["coefficients"] = self._newton(shared["coefficients"], total)
        for part in PARTS if stage <= self.sweeps else ():
            sums = {key.removeprefix(f"{part}/"): v for key, v in total.items() if key.startswith(f"{part}/")}
            found = _item_means(sums) if stage == 0 else {"factors": self._factors(sums)}
            out |= {f"{part}/{key}": value.astype(np.float32) for key, value in found.items()}
        out["stage"] = np.asarray(stage + 1, np.float32)
        return out

    def probabilities(self, shared: Params, own: Params, history: Population, rows: Population) -> Array:
        """(rows,) float32 probability of a like, each from its owner's training rows."""
        x = self.features(shared, "all", history, rows.fields["item"], rows.owner())
        return np.asarray(1.0 / (1.0 + np.exp(-x @ shared["coefficients"].astype(np.float64))), np.float32)

    def _item_sums(self, rows: Population) -> dict[str, Array]:
        items = rows.schema.items
        item, rating = rows.fields["item"], np.asarray(rows.fields["rating"], np.float64)
        like = (rating >= LIKE).astype(np.float64)
        return {
            "count": np.bincount(item, minlength=items).astype(np.float64),
            "rating": np.bincount(item, rating, minlength=items),
            "like": np.bincount(item, like, minlength=items),
            "square": np.bincount(item, rating**2, minlength=items),
        }

    def _normal_equations(self, shared: Params, part: str, rows: Population) -> dict[str, Array]:
        """normal (items, dim (dim + 1) / 2), target (items, dim): sums of x x' and x residual over a client's items."""
        users, residual = self._users(shared, part, rows)
        items = rows.schema.items
        normal = np.zeros((items, self.dim * (self.dim + 1) // 2))
        target = np.zeros((items, self.dim))
        _add_equations(users, rows.offsets, rows.fields["item"], residual, normal, target)
        return {"normal": normal, "target": target}

    def _factors(self, sums: Params) -> Array:
        out = np.empty_like(sums["target"])
        for i in range(len(out)):
            matrix = unpack(np.asarray(sums["normal"][i], np.float64))
            matrix[np.diag_indices_from(matrix)] += self.item_reg
            out[i] = np.linalg.solve(matrix, sums["target"][i])
        return out

    def _users(self, shared: Params, part: str, rows: Population) -> tuple[Array, Array]:
        """(clients, dim) factors of customers, and (rows,) what is left of ratings after item mean and own bias."""
        item, owner = rows.fields["item"], rows.owner()
        deviation = rows.fields["rating"].astype(np.float64) - shared[f"{part}/mean"][item]
        bias = np.bincount(owner, deviation, minlength=len(rows)) / (rows.sizes + 3.0)
        residual = deviation - bias[owner]
        table = np.asarray(shared[f"{part}/factors"], np.float64)
        return _solve_users(table, rows.offsets, item, residual, self.user_reg), residual

    def features(self, shared: Params, part: str, history: Population, item: Array, owner: Array) -> Array:
        """(n, 9) features of items for customers, who are numbered by their place in `history`."""
        rows, who = history.fields, history.owner()
        n = len(history)
        rating = rows["rating"].astype(np.float64)
        mean, like_rate, variance = (float(v) for v in shared[f"{part}/centre"])
        deviation = rating - shared[f"{part}/mean"][rows["item"]]
        liked: Array = (rating >= LIKE) - shared[f"{part}/like"][rows["item"]].astype(np.float64)
        age = np.repeat(history.offsets[1:], history.sizes) - 1 - np.arange(history.offsets[-1])
        weight = 0.5 ** (age / self.half_life)
        sizes = history.sizes
        bias = np.bincount(who, deviation, minlength=n) / (sizes + 3.0)
        recent = np.bincount(who, weight * deviation, minlength=n) / (np.bincount(who, weight, minlength=n) + 1.0)
        like_bias = np.bincount(who, liked, minlength=n) / (sizes + 3.0)
        spread = np.sqrt((np.bincount(who, (rating - mean) ** 2, minlength=n) + 3.0 * variance) / (sizes + 3.0))
        users = self._users(shared, part, history)[0]
        product = np.sum(users[owner] * shared[f"{part}/factors"][item], axis=1)
        return np.stack(
            [
                np.ones(len(item)),
                shared[f"{part}/mean"][item] - mean,
                shared[f"{part}/like"][item] - like_rate,
                bias[owner],
                recent[owner],
                like_bias[owner],
                product,
                shared[f"{part}/log"][item] - 4.0,
                spread[owner] - 1.0,
            ],
            axis=1,
        )

    def _calibration(self, shared: Params, clients: Population) -> dict[str, Array]:
        """slope (9,) and curve (45,): gradient and packed Hessian of the logistic loss on each customer's late rows."""
        early, late = _early(clients), _late(clients)
        x = self.features(shared, "early", early, late.fields["item"], late.owner())
        label = (late.fields["rating"] >= LIKE).astype(np.float64)
        p = 1.0 / (1.0 + np.exp(-x @ shared["coefficients"].astype(np.float64)))
        return {"slope": x.T @ (p - label), "curve": pack((x * (p * (1.0 - p))[:, None]).T @ x)}

    def _newton(self, coefficients: Array, total: Params) -> Array:
        now = coefficients.astype(np.float64)
        curve = unpack(np.asarray(total["curve"], np.float64)) + self.l2 * np.eye(FEATURES)
        return np.asarray(now - np.linalg.solve(curve, total["slope"] + self.l2 * now), np.float32)


def _split_point(clients: Population) -> Array:
    """(clients,) rows of each client that count as early: all but the last fifth, at least one left out."""
    return clients.sizes - np.maximum(1, np.floor(0.2 * clients.sizes)).astype(np.int64) * (clients.sizes > 1)


def _part(clients: Population, keep: Array, sizes: Array) -> Population:
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Population(clients.schema, offsets, {name: values[keep] for name, values in clients.fields.items()})


def _early(clients: Population) -> Population:
    cut = _split_point(clients)
    place = np.arange(clients.offsets[-1]) - np.repeat(clients.offsets[:-1], clients.sizes)
    return _part(clients, place < np.repeat(cut, clients.sizes), cut)


def _late(clients: Population) -> Population:
    cut = _split_point(clients)
    place = np.arange(clients.offsets[-1]) - np.repeat(clients.offsets[:-1], clients.sizes)
    return _part(clients, place >= np.repeat(cut, clients.sizes), clients.sizes - cut)


def _item_means(sums: Params) -> dict[str, Array]:
    """Item means and like rates, drawn to the overall ones by 5 pseudo-ratings."""
    count = np.maximum(sums["count"], 0.0)
    rows = max(float(count.sum()), 1.0)
    mean, like = float(sums["rating"].sum()) / rows, float(sums["like"].sum()) / rows
    variance = max(float(sums["square"].sum()) / rows - mean**2, 0.0)
    return {
        "mean": mean + (sums["rating"] - mean * count) / (count + 5.0),
        "like": like + (sums["like"] - like * count) / (count + 5.0),
        "log": np.log1p(count),
        "centre": np.array([mean, like, variance]),
    }


@njit(cache=True)
def _solve_users(table, offsets, item, residual, reg):  # type: ignore[no-untyped-def]
    """(clients, dim): each client's ridge regression of its residuals on its items' factors."""
    dim = table.shape[1]
    out = np.zeros((len(offsets) - 1, dim))
    for u in range(len(out)):
        a = np.eye(dim) * reg
        b = np.zeros(dim)
        for e in range(offsets[u], offsets[u + 1]):
            v = table[item[e]]
            for k in range(dim):
                b[k] += residual[e] * v[k]
                for m in range(dim):
                    a[k, m] += v[k] * v[m]
        out[u] = np.linalg.solve(a, b)
    return out


@njit(cache=True)
def _add_equations(users, offsets, item, residual, normal, target):  # type: ignore[no-untyped-def]
    """Add the upper triangle of x x' and x residual for each rated item."""
    dim = users.shape[1]
    for u in range(len(users)):
        for e in range(offsets[u], offsets[u + 1]):
            i = item[e]
            place = 0
            for k in range(dim):
                target[i, k] += residual[e] * users[u, k]
                for m in range(k, dim):
                    normal[i, place] += users[u, k] * users[u, m]
                    place += 1
