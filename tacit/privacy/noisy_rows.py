"""What a noisy sum over customers says about each item: posterior means, not the sum itself.

Rows of a sum of views are popularity times what an item's audience looks like. Audiences of items with like public
facts are alike, so a row borrows from the others: a Gaussian process over items with a low-rank covariance of columns,
fitted to the released values (empirical Bayes). C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine
Learning", MIT Press 2006, section 2.2; B. Efron, "Large-Scale Inference", Cambridge 2010, chapter 1.
Everything here is post-processing of released values: it costs no privacy, and is the same for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.values import Array

GRID = np.linspace(-5.0, 5.0, 61)  # standard deviations of log popularity on which its posterior is added up
SURE = 8.0  # standard errors from which on a popularity is taken as it came


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Prior covariance of rows: size (related * facts facts' + (1 - related) I) size, in Woodbury's form."""

    facts: Array  # (items, f) rows of norm 1 at most
    size: Array  # (items,) expected size of a row
    related: float  # share of a row's variance that its facts explain

    def prior(self, x: Array) -> Array:
        """K x, for x (items, n)."""
        wide = self._wide()
        return np.asarray(wide @ (wide.T @ x) + self._own()[:, None] * x)

    def solve(self, strength: float, x: Array) -> Array:
        """(strength K + I)^-1 x, for x (items, n)."""
        inverse, wide, small = self._inner(strength)
        return np.asarray(inverse[:, None] * x - wide @ np.linalg.solve(small, wide.T @ x))

    def spread(self, strength: float) -> Array:
        """(items,) posterior variance of each row's value, at unit noise."""
        inverse, wide, small = self._inner(strength)
        root = np.linalg.cholesky(np.linalg.inv(small))
        return np.asarray(np.maximum(1.0 - inverse + np.square(wide @ root).sum(axis=1), 0.0))

    def _wide(self) -> Array:
        return np.asarray(self.size[:, None] * self.facts * self.related**0.5)

    def _own(self) -> Array:
        return np.asarray((1.0 - self.related) * self.size**2)

    def _inner(self, strength: float) -> tuple[Array, Array, Array]:
        inverse = 1.0 / (strength * self._own() + 1.0)
        wide = self._wide()
        scaled = inverse[:, None] * wide
        return inverse, scaled, np.eye(wide.shape[1]) / strength + wide.T @ scaled


def popularities(seen: Array, error: float) -> tuple[Array, Array]:
    """(median, mean) posterior popularity of each item, above 0, from its noisy value with this standard error.

    Prior: log normal, its two parameters fitted to the values.
    """
    centre, variance = float(np.log(max(seen.mean(), error))) - 0.5, 1.5
    known = seen > SURE * error
    exact = np.log(np.maximum(seen, error))
    for _ in range(15):
        log = centre + variance**0.5 * GRID
        fit = -0.5 * np.square((seen[:, None] - np.exp(log)) / error) - 0.5 * np.square(GRID)
        weight = np.exp(fit - fit.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        first, second = weight @ log, weight @ np.square(log)
        mean = np.where(known, exact, first)
        spread = np.where(known, 0.0, np.maximum(second - np.square(first), 0.0))
        centre = float(mean.mean())
        variance = float(np.clip(np.mean(spread + np.square(mean - centre)), 0.05, 9.0))
    return np.exp(mean), np.where(known, seen, weight @ np.exp(log))


def audiences(rows: Rows, residual: Array, edge: float, rank: int) -> tuple[Array, Array]:
    """Posterior means and variances, (items, k) each, of the rows along the k columns that stand out.

    Args:
        rows: prior covariance of rows, for columns of unit strength.
        residual: (items, n) released values less what popularity alone predicts, at unit noise.
        edge: columns count from this share of the largest eigenvalue that noise alone brings.
        rank: columns at most.
    """
    random = np.random.default_rng(0)
    noise = random.normal(size=residual.shape)
    probe = random.normal(size=(len(residual), 64))
    strength = 1.0
    for _ in range(3):  # how strongly a typical column stands out decides which items it is best read from
        seen, alone = rows.solve(strength, residual), rows.solve(strength, noise)
        signal, chance = seen.T @ rows.prior(seen), alone.T @ rows.prior(alone)
        values, vectors = np.linalg.eigh(signal)
        values, vectors = values[::-1], vectors[:, ::-1]
        count = max(int(np.sum(values[:rank] > edge * np.linalg.eigvalsh(chance)[-1])), 1)
        gain = float(np.sum(rows.solve(strength, rows.prior(probe)) * rows.prior(rows.solve(strength, probe)))) / 64
        strengths = np.maximum((values[:count] - np.trace(chance) / len(values)) / gain, 1e-12)
        strength = float(np.median(strengths))
    means, spreads = np.empty((2, len(residual), count))
    along = residual @ vectors[:, :count]
    for k, each in enumerate(strengths):
        means[:, k] = each * rows.prior(rows.solve(float(each), along[:, k : k + 1]))[:, 0]
        spreads[:, k] = rows.spread(float(each))
    return means, spreads


def embedding(means: Array, spreads: Array, popular: Array) -> tuple[Array, Array]:
    """(table (items, k), second moments (k,)): directions of taste such that customers' tastes have variance 1 along
    each.

    A deviation of audiences is a product of what an item is and how much customers differ in it, equally strong: the
    table has the roots of its singular values. Second moments include the doubt about the table itself.
    """
    share = popular / popular.sum()
    centred = means - share @ means
    values, vectors = np.linalg.eigh((centred * share[:, None]).T @ centred)
    values, vectors = np.maximum(values[::-1], 1e-15), vectors[:, ::-1]
    scale = (values[0] / values) ** 0.25 / values[:1] ** 0.5
    table = centred @ vectors * scale
    table -= share @ table
    moments = (table * share[:, None]).T @ table + np.diag(share @ (spreads @ np.square(vectors)) * scale**2)
    values, vectors = np.linalg.eigh(moments)
    return table @ vectors, np.maximum(values, 0.0)
