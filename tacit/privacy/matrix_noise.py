"""Correlated Gaussian noise for many rounds without sampling: each round's noise takes back a part of earlier noise.

What a model follows is the sum of all rounds so far, so noise that cancels over rounds costs it less than fresh noise.
With C a lower triangular factor of ones on the diagonal and entries >= 0, and Z independent normal rows, the rounds X
are released as X + C^-1 Z = C^-1 (C X + Z): as private as one Gaussian release of C X.

banded: C. Choquette-Choo et al.: "(Amplified) Banded Matrix Factorization: A Unified Approach to Private Training",
NeurIPS 2023, https://arxiv.org/abs/2306.08153 (BandMF: as many earlier noises are kept as there are bands). The entries
are the first coefficients of (1 - x)^(-1/2), the square root of the prefix-sum matrix (N. Kalinin, C. Lampert: "Banded
Square Root Matrix Factorization for Differentially Private Model Training", NeurIPS 2024,
https://arxiv.org/abs/2405.13763, whose error is within a small constant of the best). Their Theorem 2 gives the
sensitivity where a client's rounds are `separation` apart: that of the client who begins first, for bands of any width.
tree: P. Kairouz et al.: "Practical and Private (Deep) Learning without Sampling or Shuffling" (DP-FTRL), ICML 2021,
https://arxiv.org/abs/2103.00039, section 3: every node of a binary tree over the rounds has a noise of its own. Row t
of the factor is the node that round t completes.

Differs from the papers: each round is charged what it adds to the cost of the rounds before, so that a training that
stops early is accounted exactly, and the charges of all rounds compose to the cost of the whole; banded coefficients
are not optimised for each number of rounds; the tree is the online one, without the estimator of Honaker (2015), and
only nodes that are ever released (left children) are paid for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tacit.core.values import Array

KINDS = ("banded", "tree")


@dataclass(frozen=True, slots=True)
class Factor:
    """The factor C: what a round's noise has to do with that of other rounds.

    Guarantees:
        the noise times the factor matrix is independent normal noise.
        the sensitivity is the largest over all allowed participations.
        the charges of all rounds compose to the cost of the whole.
        the sum of all rounds has less noise than with independent noise of the same cost.
    """

    kind: str = "banded"
    bands: int = 8  # 1 = independent noise; a tree has none

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.bands < 1:
            raise ValueError(f"a factor is one of {KINDS} with bands >= 1, got {self.kind!r} and {self.bands}")

    @property
    def coefficients(self) -> Array:
        """(bands,) first column of the banded factor: c_0 = 1, c_k = c_(k-1) (2k - 1) / (2k)."""
        k = np.arange(1, self.bands)
        return np.concatenate([[1.0], np.cumprod((2.0 * k - 1.0) / (2.0 * k))])

    def matrix(self, rounds: int) -> Array:
        """(rounds, rounds) the factor, to look at: nothing here computes with it."""
        out = np.zeros((rounds, rounds))
        for row in range(rounds):
            if self.kind == "tree":
                out[row, row + 1 - _node(row + 1) : row + 1] = 1.0
            else:
                part = self.coefficients[: row + 1]
                out[row, row + 1 - len(part) : row + 1] = part[::-1]
        return out

    def rows(self, rounds: int) -> int:
        """Noises of the past that must be kept."""
        return max(rounds.bit_length(), 1) if self.kind == "tree" else min(self.bands, rounds) - 1

    def back(self, memory: Array, round: int) -> Array:
        """(d,) what this round's noise takes back, from a memory (rows, d) of earlier ones.

        Zeros in the memory, as before round 1, are noise that was never there: the release then is as private, for the
        factor that stands for it has the same entries or zeros.
        """
        if self.kind == "tree":
            return np.asarray(memory[: _node(round).bit_length() - 1].sum(axis=0))
        return np.asarray(self.coefficients[1 : 1 + len(memory)] @ memory)

    def kept(self, fresh: Array, noise: Array, memory: Array, round: int) -> Array:
        """(rows, d) memory of the next round: a tree's live nodes by level, or the newest noises first."""
        if self.kind == "tree":
            level, memory = _node(round).bit_length() - 1, memory.copy()
            memory[:level], memory[level] = 0.0, fresh
            return memory
        return np.concatenate([noise[None], memory])[: len(memory)]

    def costs(self, rounds: int, separation: int) -> Array:
        """(rounds,) what each round adds to the squared sensitivity, clip norm = 1, of everything released so far.

        The sensitivity is to a client's contributions, each of norm 1 at most, in rounds first, first + separation,
        first + 2 separation ... or some of these. It is the norm of the sum of the factor's columns of these rounds,
        since entries >= 0 let contributions that all point in one direction do most; and the largest over `first`.
        """
        return _costs(self, rounds, separation)

    def again(self, round: int, separation: int) -> float:
        """Sensitivity, clip norm = 1, of one more release of a round with fresh noise: its row's largest sum."""
        if self.kind == "tree":
            return float(-(-_node(round) // separation))
        return math.fsum(self.coefficients[: min(round, self.bands) : separation])

    def error(self, rounds: int) -> float:
        """Root mean square, over rounds, of the noise in the sum of the rounds so far; fresh noise = 1."""
        if self.kind == "tree":  # the noises of the nodes that make up rounds 1 to t: a one in t each
            return math.sqrt(sum(t.bit_count() for t in range(1, rounds + 1)) / rounds)
        inverse, past = np.zeros(rounds), -self.coefficients[1:]
        for t in range(rounds):
            before = inverse[max(t - self.bands + 1, 0) : t][::-1]
            inverse[t] = 1.0 if t == 0 else float(past[: len(before)] @ before)
        rows = np.cumsum(np.square(np.cumsum(inverse)))  # row t of (prefix sums x inverse factor), squared
        return math.sqrt(float(rows.mean()))

    def loss(self, rounds: int, separation: int) -> float:
        """`error` where the whole training costs one: independent noise of one participation in one round has 1."""
        return self.error(rounds) * math.sqrt(math.fsum(self.costs(rounds, separation)))


@lru_cache(maxsize=256)
def best_bands(rounds: int, separation: int) -> int:
    """The number of bands (a power of two, or the separation) with the least noise for its cost; no data are read."""
    tried = {min(2**k, rounds) for k in range(rounds.bit_length() + 1)} | {min(separation, rounds)}
    return min(sorted(tried), key=lambda bands: Factor("banded", bands).loss(rounds, separation))


@lru_cache(maxsize=256)
def _costs(factor: Factor, rounds: int, separation: int) -> Array:
    t = np.arange(1, rounds + 1)
    if factor.kind == "tree":
        first = np.arange(1, min(separation, rounds) + 1)[:, None]  # of a client's rounds
        node = t & -t
        within = (t - first) // separation - np.maximum((t - node - first) // separation, -1)  # its rounds in the node
        reached = np.cumsum(np.square(np.where(t < first, 0, within)), axis=1).max(axis=0).astype(np.float64)
        costs = np.diff(reached, prepend=0.0)
    else:
        columns = np.zeros(rounds)
        for start in range(0, rounds, separation):
            part = factor.coefficients[: rounds - start]
            columns[start : start + len(part)] += part
        costs = np.square(columns)
    costs.flags.writeable = False
    return np.asarray(costs)


def _node(round: int) -> int:
    """Rounds under the tree's node that this round completes and that is used: the largest power of two in it."""
    return round & -round
