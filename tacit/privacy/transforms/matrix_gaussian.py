"""The Gaussian mechanism with noise that is correlated over rounds: DP-FTRL and matrix factorisation.

For many rounds without sampling: everybody in each round, or cohorts in turn (`sampling = "cyclic"`). Factors, their
sources and what differs from them: tacit/privacy/matrix_noise.py. That contributions may depend on what was released
before costs nothing: S. Denisov et al.: "Improved Differential Privacy for SGD via Optimal Private Linear Operators on
Adaptive Streams", NeurIPS 2022, https://arxiv.org/abs/2202.08312, section 2 (Gaussian noise).
Differs from them: fresh noise, sums and what is taken back are whole steps of a grid (tacit/privacy/grid_noise.py).
Given the rounds before, a round of two neighbouring trainings differs by the factor's row, and by the rounding of what
is taken back: half a step in each value on either side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Event, Params, Turn, Vector
from tacit.privacy import grid_noise, noise_settings
from tacit.privacy.clip import clipped
from tacit.privacy.layer import Layer
from tacit.privacy.matrix_noise import KINDS, Factor, best_bands

_ROUNDING = 2.0**-13  # of the clip norm: rounding what is taken back moves two neighbouring trainings apart by no more
_NONE = 1e12  # noise multiplier of a round that adds nothing to the cost of those before


@dataclass(frozen=True, slots=True)
class MatrixGaussian(Layer):
    """Clip to L2 norm `clip_norm`; noise on the sum that takes back a part of the noise of earlier rounds.

    The server keeps some earlier noise, which it tells nobody: it stands in checkpoints until the training is finished,
    and whoever reads it can take the noise off. The statement holds for clients who take part in rounds that are a
    cycle apart, or in some of these; a client who is removed leaves its place in the cycle empty.

    Guarantees:
        the noise of all rounds times the factor matrix is independent normal noise.
        one client moves the sum before noise by at most clip_norm in L2.
        the rounds cost what one release of the whole factored training costs.
        a training that stops early has paid for the rounds that it has released.
        what is released is a whole number of steps that do not depend on the data.
        the noise that the server keeps is in no request and in no record.
    """

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0  # standard deviation of round 1's noise / clip norm; 0 = from `epsilon`
    epsilon: float = 0.0  # target; used only when noise_multiplier is 0
    delta: float = 1e-5  # of the stated (epsilon, delta); take it well below 1 / clients
    factorisation: str = "banded"  # or "tree"
    bands: int = 0  # earlier noises that count, and one; 1 = independent noise; 0 = the best for rounds and cohorts

    def __post_init__(self) -> None:
        noise_settings.check(self)
        if self.factorisation not in KINDS or self.bands < 0:
            raise ValueError(
                f"MatrixGaussian needs a factorisation of {KINDS} and bands >= 0, got {self.factorisation!r} and "
                f"{self.bands}"
            )

    @property
    def cohorts(self) -> tuple[str, ...]:
        """How cohorts may be drawn: nobody is hidden by chance."""
        return ("all", "cyclic")

    @property
    def bound(self) -> float | None:
        """L2 norm that no encoded contribution exceeds."""
        return self.clip_norm

    @property
    def noisy(self) -> bool:
        """Decoding adds noise that the accountant charges."""
        return True

    def factor(self, turn: Turn) -> Factor:
        """The factor for a training of so many rounds and so many cohorts in turn."""
        return Factor(self.factorisation, self.bands or best_bands(turn.rounds, turn.separation))

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The contribution, scaled back into the ball."""
        return clipped(x, self.clip_norm)

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """The sum with the noise of a first round, which knows of none before: (d,) float64."""
        return self.decode_with(total, {}, turn, source)[0]

    def decode_with(self, total: Vector, hidden: Params, turn: Turn, source: Randomness) -> tuple[Vector, Params]:
        """(the sum with this round's noise (d,) float64, the noise to keep: "noise" (rows, d) float64); on a grid.

        Noise that is kept for another number of values (a first round that summed something else) is forgotten, which
        leaves more noise than the statement needs.
        """
        if self.noise_multiplier == 0.0:
            raise ValueError("this plan's noise multiplier was not computed yet: call calibrate() first")
        factor = self.factor(turn)
        shape = (factor.rows(turn.rounds), len(total))
        memory = hidden.get("noise")
        memory = np.zeros(shape) if memory is None or memory.shape != shape else memory
        grain = grid_noise.step(self.clip_norm, self.noise_multiplier, len(total))
        fresh = grid_noise.gaussian(self.clip_norm, self.noise_multiplier, len(total), source)
        noise = fresh - np.rint(factor.back(memory, turn.round) / grain) * grain
        return np.rint(total / grain) * grain + noise, {"noise": factor.kept(fresh, noise, memory, turn.round)}

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """What this round adds to the cost of those before it; never less for being drawn by chance."""
        factor = self.factor(turn)
        costs = factor.costs(max(turn.rounds, turn.round), turn.separation)
        return self._gaussian(math.sqrt(costs[turn.round - 1]), factor)

    def repeated(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """What this round costs once more, where a crash came between its release and its record: fresh noise."""
        factor = self.factor(turn)
        return self._gaussian(factor.again(turn.round, turn.separation), factor)

    def _gaussian(self, sensitivity: float, factor: Factor) -> Event:
        rounded = factor.kind == "banded" and factor.bands > 1
        more = sensitivity + (_ROUNDING if rounded else 0.0)
        multiplier = self.noise_multiplier / more if more > 0.0 else math.inf
        return Event("gaussian", min(multiplier, _NONE), "all", 1.0)
