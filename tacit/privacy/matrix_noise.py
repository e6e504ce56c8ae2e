"""Correlated Gaussian noise for many rounds without sampling: each round's noise takes back a part of earlier noise.

What a model follows is the sum of all rounds so far, so noise that cancels over rounds costs it less than fresh noise.
P. Kairouz et al.: "Practical and Private (Deep) Learning without Sampling or Shuffling" (DP-FTRL), ICML 2021,
https://arxiv.org/abs/2103.00039; C. Choquette-Choo et al.: "(Amplified) Banded Matrix Factorization: A Unified Approach
to Private Training", NeurIPS 2023, https://arxiv.org/abs/2306.08153, Theorem 2 (participations at least `bands` rounds
apart have orthogonal columns); N. Kalinin, C. Lampert: "Banded Square Root Matrix Factorization for Differentially
Private Model Training", NeurIPS 2024, https://arxiv.org/abs/2405.13763 (the factors used here: the first coefficients
of (1 - x)^(-1/2), the square root of the prefix-sum matrix, whose error is within a small constant of the best).
Differs from the papers: each round is charged what it adds to the cost of the rounds before, so that a training that
stops early is accounted exactly, and the charges of all rounds compose to the cost of the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Array, Event, Vector


@dataclass(frozen=True, slots=True)
class MatrixNoise:
    """Noise of rounds 1, 2, ...: w_t = z_t - c_1 w_(t-1) - ... - c_(bands-1) w_(t-bands+1), z_t independent normals.

    The statement holds while every client contributes with L2 norm at most `clip_norm`, in rounds that are at least
    `separation` apart (as when cohorts go through the clients in turn), and `separation >= bands`. Clients whose rounds
    are drawn by coins are no such clients.

    Guarantees:
        the noise times the factor matrix is independent normal noise.
        the sensitivity is the largest over all allowed participations.
        the charges of all rounds compose to the cost of the whole.
        the sum of all rounds has less noise than with independent noise of the same cost.
    """

    bands: int = 8  # 1 = independent noise
    separation: int = 8  # rounds from one participation of a client to its next, at least
    clip_norm: float = 1.0
    noise_multiplier: float = 1.0  # standard deviation of z / clip_norm

    def __post_init__(self) -> None:
        if not 1 <= self.bands <= self.separation:
            raise ValueError(f"MatrixNoise needs 1 <= bands <= separation, got {self.bands} and {self.separation}")
        if not 0.0 < self.clip_norm < math.inf or not 0.0 < self.noise_multiplier < math.inf:
            raise ValueError(
                "MatrixNoise needs finite clip_norm and noise_multiplier > 0, got "
                f"{self.clip_norm} and {self.noise_multiplier}"
            )

    @property
    def coefficients(self) -> Array:
        """(bands,) first column of the factor: c_0 = 1, c_k = c_(k-1) (2k - 1) / (2k)."""
        k = np.arange(1, self.bands)
        return np.concatenate([[1.0], np.cumprod((2.0 * k - 1.0) / (2.0 * k))])

    def start(self, size: int) -> Array:
        """(bands - 1, size) zeros: the noise of earlier rounds, newest first. It is the server's secret."""
        return np.zeros((self.bands - 1, size))

    def add(self, total: Vector, memory: Array, source: Randomness) -> tuple[Vector, Array]:
        """(the sum with this round's noise, the memory of the next round)."""
        fresh = self.noise_multiplier * self.clip_norm * source.normal(len(total))
        noise = fresh - self.coefficients[1:] @ memory
        return total + noise, np.concatenate([noise[None], memory])[: self.bands - 1]

    def squared_sensitivity(self, rounds: int) -> float:
        """(clip norm = 1) of everything that is released up to and including a round.

        Columns of participations do not overlap; the sooner a client begins, the more of them count.
        """
        squares = np.cumsum(np.square(self.coefficients))
        ends = [min(self.bands, rounds - first) for first in range(0, rounds, self.separation)]
        return math.fsum(float(squares[end - 1]) for end in ends)

    def event(self, round: int) -> Event:
        """What a round adds to the cost of those before it."""
        more = self.squared_sensitivity(round) - (self.squared_sensitivity(round - 1) if round > 1 else 0.0)
        return Event("gaussian", min(self.noise_multiplier / math.sqrt(max(more, 1e-24)), 1e12), "all", 1.0)

    def error(self, rounds: int) -> float:
        """Root mean square, over rounds, of the noise in the sum of the rounds so far; in units of clip_norm."""
        inverse = np.zeros(rounds)
        for t in range(rounds):
            past = inverse[max(t - self.bands + 1, 0) : t][::-1]
            inverse[t] = (1.0 if t == 0 else 0.0) - float(self.coefficients[1 : 1 + len(past)] @ past)
        rows = np.cumsum(np.square(np.cumsum(inverse)))  # row t of (prefix sums x inverse factor), squared
        return self.noise_multiplier * math.sqrt(float(rows.mean()))
