"""Whole rows of a table, read off one gradient step of a network.

A hidden unit that is active for a single row of the batch has that row as its gradient, up to a factor that its bias
has too: x = dW / db. J. Geiping et al., "Inverting Gradients", NeurIPS 2020, https://arxiv.org/abs/2003.14053,
proposition 3.1; L. Fowl et al., "Robbing the Fed", ICLR 2022, https://arxiv.org/abs/2110.13057. Differs from the
papers: nothing is planted or optimised. A ratio counts as a row when the network's own error on it is the one that the
gradient shows, which tells rows from mixtures without knowing any; rows found are taken off the gradient, and what is
left is searched again; rows that no unit has alone are differences of two units.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tacit.core.plan import Plan
from tacit.core.trees import unflatten
from tacit.core.values import Array, Params, Population, Vector
from tacit.evaluation.attacks.leakage import Leakage, exact
from tacit.evaluation.attacks.protections import Protection
from tacit.evaluation.attacks.scene import Scene
from tacit.evaluation.attacks.view import View, observe
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.models.multilayer_perceptron import MultilayerPerceptron

RATE = 0.1  # of the attacked step
CLOSE = 0.01  # of a column's standard deviation, or of a value beyond one: nearer than that is the row
LOOSE = 0.02  # an error known less exactly than that, as a share, bears no row out
MOST = 64  # rows that one message is searched for
CROWD = 40  # groups of units, beyond which their differences fit a row by chance


@dataclass(frozen=True, slots=True)
class GradientInversion:
    """Each client takes one step on `batch` rows; the attacker names rows. Nobody guesses a whole row.

    Rows are standardised columns. The network is the attack's own: a plan whose clients take such a step on so few
    rows is what it says something about.
    """

    batch: int = 4
    hidden: int = 256
    clients: int = 100

    @property
    def serves(self) -> tuple[str, ...]:
        """Tables."""
        return ("tabular",)

    @property
    def question(self) -> str:
        """In words."""
        return f"What stands in the rows that a client took a step on, {self.batch} at a time?"

    def variants(self, scene: Scene) -> list[GradientInversion]:
        """Growing batches."""
        return [replace(self, batch=batch) for batch in (1, 4, 8, 32)]

    def refuses(self, scene: Scene) -> str | None:
        """Fewer rows than two clients need."""
        rows = int(scene.clients.offsets[-1])
        return None if rows >= 2 * self.batch else f"{rows} rows are too few for two clients of {self.batch}"

    def attempt(self, scene: Scene, protection: Protection) -> Leakage:
        """Leakage of rows; the false-positive rate is the share of named rows that are none."""
        clients = standardised(scene, self.batch, min(self.clients, int(scene.clients.offsets[-1]) // self.batch))
        plan = self.plan(scene)
        view = observe(plan, clients, protection)
        weights = plan.model.init(scene.clients.schema, plan.seed)  # public: what was broadcast
        hits, of, named, wrong = np.zeros(len(clients)), np.zeros(len(clients)), 0, 0
        found = None
        for c in range(len(clients)):
            if found is None or view.each is not None:
                found = rows_in(view.of(c), view, weights, -RATE / self.batch)
                named += len(found)
                everybody = clients.fields["x"] if view.each is None else clients.rows(c)["x"]
                wrong += int(np.sum(~_near(found, np.asarray(everybody, np.float64))))
            truth = np.unique(np.asarray(clients.rows(c)["x"], np.float64), axis=0)
            hits[c], of[c] = int(np.sum(_near(truth, found))), len(truth)
        return exact("rows", hits, of, 0.0, wrong / named if named else 0.0, scene.seed)

    def plan(self, scene: Scene) -> Plan:
        """One full-batch step of the attacked network, on the scene's data."""
        local = SGD(lr=RATE, epochs=1, batch_size=max(self.batch, 1), shuffle=False)
        bare = replace(scene.plan, protect=(), secure_sum=None)
        return replace(bare, model=MultilayerPerceptron(self.hidden), algorithm=FedAvg(local), trainer=None, rounds=1)


def rows_in(vector: Vector, view: View, weights: Params, step: float) -> Array:
    """(n, features) rows that an update gives away; `step` is minus the learning rate over the batch.

    Divided by its outgoing weight, a unit's gradient is the sum of error * (row, 1) over the rows that wake it. So
    units that the same rows wake show the same vector, and a row's own vector is that of such a group, or the
    difference of two groups. It is a row, and no mixture, if the network's own error on it, sigmoid(score) - y for
    y = 0 or 1, is the one shown (times the clipping that all rows of a message share), and if it wakes the units that
    it should. Each row found is taken off every unit that it wakes, which lays others bare.
    """
    net = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    shown = _shown(vector, view, weights, step)
    nothing, scale = np.zeros((0, len(net["w1"]))), 0.0
    found = _found(nothing, nothing[:, 0], nothing, net)
    for _ in range(MOST):
        groups = _groups(found.taken_off(shown))
        scale = scale or _clipping(groups, net)
        if (fresh := _next(groups, found, net, scale)) is None:
            break
        rows, errors, blur = (
            np.concatenate([a, b]) for a, b in zip((found.rows, found.errors, found.blur), fresh, strict=True)
        )
        found = _settled(_found(rows, errors, blur, net), shown, net)
    return found.rows


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Shown:
    """What hidden units show, over step and outgoing weight, and how exactly 32-bit numbers can show it."""

    slope: Array  # (units, features) sum of error * row over the rows that wake a unit
    error: Array  # (units,) sum of error
    blur: Array  # (units, features) standard deviation of rounding in slope
    grain: Array  # (units,) differences of errors below it are rounding
    sure: Array  # (units,) bool: it is known which of the rows found so far wake it


def _shown(vector: Vector, view: View, weights: Params, step: float) -> _Shown:
    """A message is the difference of 32-bit weights: where a weight is small, it is the more exact."""
    arrays, out = unflatten(vector, view.like), step * np.asarray(weights["w2"], np.float64)
    usable = np.abs(out) > 1e-3 * np.abs(out).max()
    out = np.where(usable, out, 1.0)[:, None]
    slope = np.asarray(arrays["w1"], np.float64).T / out
    error = np.asarray(arrays["b1"], np.float64) / out[:, 0]
    rounding = np.abs(np.spacing(np.asarray(weights["w1"], np.float32))).T / np.abs(out) / 3.0
    return _Shown(slope, error, rounding + 1e-7 * np.abs(slope) + 1e-12, 3e-7 * np.abs(error) + 1e-12, usable)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Found:
    """Rows found so far."""

    rows: Array  # (n, features)
    errors: Array  # (n,)
    blur: Array  # (n, features) standard deviation of each value
    wakes: Array  # (n, units) bool
    sure: Array  # (n, units) bool: that is beyond doubt

    def taken_off(self, shown: _Shown) -> _Shown:
        """What is left without these rows."""
        woken = self.wakes.T * self.errors
        return replace(
            shown,
            slope=shown.slope - woken @ self.rows,
            error=shown.error - woken.sum(axis=1),
            blur=np.sqrt(shown.blur**2 + woken**2 @ self.blur**2),
            grain=shown.grain + 3e-7 * np.abs(woken).sum(axis=1),
            sure=shown.sure & self.sure.all(axis=0),
        )


def _found(rows: Array, errors: Array, blur: Array, net: Params) -> _Found:
    """Rows of these values, with the units that they wake."""
    reach = rows @ net["w1"] + net["b1"]
    doubt = 5.0 * np.sqrt(blur**2 @ net["w1"] ** 2) + 1e-5
    return _Found(rows, errors, blur, reach > 0.0, np.abs(reach) > doubt)


def _settled(found: _Found, shown: _Shown, net: Params) -> _Found:
    """All rows again from all units that show nothing else, by least squares weighed by exactness."""
    for _ in range(2):
        left = found.taken_off(shown)
        clear = left.sure & (np.abs(left.error) <= 3.0 * left.grain)
        wakes, grain = found.wakes[:, clear].astype(np.float64), shown.grain[clear]
        if np.linalg.matrix_rank(wakes) < len(wakes):
            return found
        weight = 1.0 / shown.blur[clear] ** 2  # (units, features)
        weight /= (top := weight.max(axis=0))
        inner = np.linalg.pinv(np.einsum("ru,uf,su->frs", wakes, weight, wakes, optimize=True), hermitian=True)
        right = np.einsum("ru,uf->fr", wakes, weight * shown.slope[clear])
        errors = np.linalg.lstsq(wakes.T / grain[:, None], shown.error[clear] / grain, rcond=None)[0]
        rows = np.einsum("frs,fs->rf", inner, right) / errors[:, None]
        blur = np.sqrt(np.einsum("frr->rf", inner) / top) / np.abs(errors[:, None])
        found = _found(rows, errors, blur, net)
    return found


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Groups:
    """Units that show the same, taken together; group 0 is those that show nothing."""

    slope: Array  # (groups, features)
    error: Array  # (groups,)
    blur: Array  # (groups, features)
    grain: Array  # (groups,)
    of: Array  # (units,) the group of each, -1 for none


def _groups(left: _Shown) -> _Groups:
    """Units whose errors differ by rounding only."""
    order = np.argsort(left.error)
    order = order[left.sure[order] & (np.abs(left.error[order]) > 3.0 * left.grain[order])]
    apart = np.maximum(left.grain[order][1:], 4e-7 * np.abs(left.error).max())  # errors may cancel, roundings do not
    rises = np.diff(left.error[order]) > apart
    number = np.concatenate([np.zeros(min(1, len(order)), np.int64), np.cumsum(rises)]).astype(np.int64) + 1
    of = np.full(len(left.error), -1)
    of[left.sure & (np.abs(left.error) <= 3.0 * left.grain)] = 0
    of[order] = number
    member = (of[None, :] == np.arange(1, number.max(initial=0) + 1)[:, None]).astype(np.float64)
    weight = 1.0 / left.blur**2
    total = member @ weight
    nothing = np.zeros((1, left.slope.shape[1]))
    slope = np.vstack([nothing, member @ (weight * left.slope) / total])
    error = np.append(0.0, member @ left.error / member.sum(axis=1))
    grain = np.append(0.0, member @ left.grain / member.sum(axis=1))
    return _Groups(slope, error, np.vstack([nothing, 1.0 / np.sqrt(total)]), grain, of)


def _factors(rows: Array, errors: Array, blur: Array, grain: Array, net: Params) -> tuple[Array, Array]:
    """(n, 4) the clipping that a row of each label says there was, then two such rows; and its rounding, as a share."""
    hidden = np.maximum(rows @ net["w1"] + net["b1"], 0.0)
    score = np.clip(hidden @ net["w2"] + net["b2"], -35.0, 35.0)
    swing = np.linalg.norm(((hidden > 0.0) * net["w2"]) @ net["w1"].T * blur, axis=1)  # of the score
    up, down = 1.0 / (1.0 + np.exp(-score)), 1.0 / (1.0 + np.exp(score))
    factors = np.stack([errors / up, -errors / down, errors / up / 2.0, -errors / down / 2.0], axis=1)
    slack = 5.0 * swing[:, None] * np.stack([down, up, down, up], axis=1)
    slack += 5e-5 + ((grain + 2e-7) / np.abs(errors))[:, None]
    return factors, slack


def _clipping(groups: _Groups, net: Params) -> float:
    """The factor on which most groups agree, were each a row; 1 (no clipping) where no other has more."""
    error = groups.error[1:, None]
    blur = groups.blur[1:] / np.abs(error)
    factors, slack = _factors(groups.slope[1:] / error, error[:, 0], blur, groups.grain[1:], net)
    usable = (factors > 0.0) & (factors < 1.01) & (slack < LOOSE)
    tried = np.append(1.0, factors[usable])
    near = np.abs(factors[None] / tried[:, None, None] - 1.0) < slack
    worth = np.log(LOOSE / np.minimum(slack, LOOSE))  # agreement says the more, the less could have agreed by chance
    worth *= np.array([1.0, 1.0, 0.9, 0.9])  # all rows twice at half the factor: that is all of them once
    says = np.max(np.where(usable & near, worth, 0.0), axis=2)  # (tried, groups)
    lone = np.bincount(groups.of[groups.of >= 0], minlength=len(groups.error))[1:] == 1
    own = np.flatnonzero(usable) // 4
    says[1 + np.flatnonzero(lone[own]), own[lone[own]]] = 0.0  # one unit that agrees with itself says nothing
    return float(tried[np.argmax(says.sum(axis=1))])


def _next(groups: _Groups, found: _Found, net: Params, scale: float) -> tuple[Array, Array, Array] | None:
    """(row, error, blur), each of one, that most units bear out: from a group, else from the difference of two."""
    size = np.bincount(groups.of[groups.of >= 0], minlength=len(groups.error))
    several = np.triu_indices(len(size) - 1 if len(size) <= CROWD else 0, 1)
    for high, low in ((np.arange(len(size)), np.zeros(len(size), np.int64)), (several[0] + 1, several[1] + 1)):
        error = groups.error[high] - groups.error[low]
        grain = groups.grain[high] + groups.grain[low]
        keep = np.abs(error) > 3.0 * grain
        high, low, error, grain = high[keep], low[keep], error[keep], grain[keep]
        rows = (groups.slope[high] - groups.slope[low]) / error[:, None]
        blur = np.sqrt(groups.blur[high] ** 2 + groups.blur[low] ** 2) / np.abs(error)[:, None]
        factors, slack = _factors(rows, error, blur, grain, net)
        # either group may be the one that has the row: where it is the lower one, the error's sign is the other
        best: tuple[int, Array, Array, Array] | None = None
        for sign in (1.0, -1.0):
            fits = np.any((np.abs(sign * factors / scale - 1.0) < slack) & (slack < LOOSE), axis=1)
            for n in np.flatnonzero(fits):
                has, lacks = (high[n], low[n]) if sign > 0.0 else (low[n], high[n])
                if len(found.rows) and np.any(_apart(found.rows, rows[n]) <= 10.0 * CLOSE):
                    continue
                woken = rows[n] @ net["w1"] + net["b1"] > 0.0
                right = np.mean(woken[groups.of == has]) if has else 0.0
                wrong = np.mean(woken[groups.of == lacks]) if lacks else 0.0
                support = int(size[has] + (size[lacks] if lacks else 0))
                if right > 0.9 and wrong < 0.1 and (best is None or support > best[0]):
                    best = support, rows[[n]], sign * error[[n]], blur[[n]]
        if best is not None:
            return best[1:]
    return None


def standardised(scene: Scene, batch: int, clients: int) -> Population:
    """Clients of `batch` random rows each; columns have mean 0 and deviation 1, constant ones are left at 0."""
    x = np.asarray(scene.clients.fields["x"], np.float64)
    spread = x.std(axis=0)
    order = np.random.default_rng([scene.seed, 2]).permutation(len(x))[: batch * clients]
    scaled = ((x - x.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0))[order]
    fields = {"x": scaled.astype(np.float32), "y": scene.clients.fields["y"][order]}
    return Population(scene.clients.schema, np.arange(clients + 1, dtype=np.int64) * batch, fields)


def _near(rows: Array, others: Array) -> Array:
    """(rows,) bool: whether one of the others equals it within CLOSE in every column."""
    if not len(others):
        return np.zeros(len(rows), bool)
    return np.array([bool(np.any(_apart(others, row) <= CLOSE)) for row in rows], bool)


def _apart(rows: Array, row: Array) -> Array:
    """(rows,) largest distance to a row over columns: in standard deviations, or as a share of a value above one."""
    return np.asarray((np.abs(rows - row) / np.maximum(1.0, np.abs(row))).max(axis=1))
