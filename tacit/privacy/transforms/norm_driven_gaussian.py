"""The Gaussian mechanism with noise that falls as updates shrink, seen only through what was released.

Dynamic noise, as W. Wei, L. Liu: "Gradient Leakage Attack Resilient Deep Learning", IEEE TIFS 2022,
https://arxiv.org/abs/2112.13178, ask for: it follows the norms of updates. Differs from the paper: norms are read from
sums that have their noise already, so that reading them costs nothing, and the noise is chosen within a filter, so that
a cost which is only known at the end never exceeds what was stated at the beginning: R. Rogers et al.: "Privacy
Odometers and Filters", NeurIPS 2016, https://arxiv.org/abs/1605.08294. For Gaussian noise without sampling the filter
is exact: the squares of 1 / multiplier add up, however each was chosen from what came before (A. Smith, A. Thakurta:
"Fully Adaptive Composition for Gaussian Differential Privacy", 2022, https://arxiv.org/abs/2210.17520; A. Koskela,
M. Tobaben, A. Honkela: "Individual Privacy Accounting with Gaussian Differential Privacy", ICLR 2023,
https://arxiv.org/abs/2209.15596).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Array, Event, Params, Turn, Vector
from tacit.privacy import grid_noise, noise_settings
from tacit.privacy.clip import clipped
from tacit.privacy.layer import Layer

_NONE = 1e12  # noise multiplier of a round that adds nothing to the cost of those before
_STILL = 1e-12  # parts of a round that are rounding errors


@dataclass(frozen=True, slots=True)
class NormDrivenGaussian(Layer):
    """Clip to `clip_norm`; the noise begins with more than `noise_multiplier` and falls with the norm of noisy sums.

    Spending is counted in rounds at constant noise: a round at `noise_multiplier` spends 1, at a multiplier m
    (noise_multiplier / m)^2. Each participation of a client allows 1 more. The first spends `first`; a later one
    first / (norm of the sum now / norm in round 1)^2, between `first` and `most`, of an even share of all that is left,
    and never more than is allowed and unspent; the last one spends the rest. So whatever the norms are, no round takes
    from a later one. Where round 1's norm is not to be seen for noise, all that is allowed is spent.

    Guarantees:
        the noise of a round has mean 0 and standard deviation multiplier * clip_norm of that round.
        one client moves the sum before noise by at most clip_norm in L2.
        the rounds so far never cost more than as many at constant noise.
        what rounds are charged does not depend on the sums.
        the multiplier follows only what was released.
        the noise falls when the sums that were released become smaller.
    """

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0  # of constant noise at the same cost; 0 = from `epsilon`
    epsilon: float = 0.0  # target; used only when noise_multiplier is 0
    delta: float = 1e-5  # of the stated (epsilon, delta); take it well below 1 / clients
    first: float = 0.8  # what round 1 spends: its multiplier is noise_multiplier / sqrt(first)
    most: float = 4.0  # shares: no multiplier below that of an even share / sqrt(most), but in the last round
    rate: float = 0.5  # part of a new norm in the norm that is followed

    def __post_init__(self) -> None:
        noise_settings.check(self)
        if not 0.0 < self.first <= 1.0 <= self.most < math.inf or not 0.0 < self.rate <= 1.0:
            raise ValueError(
                "NormDrivenGaussian needs first in (0, 1], most >= 1 and rate in (0, 1], got "
                f"{self.first}, {self.most} and {self.rate}"
            )

    @property
    def cohorts(self) -> tuple[str, ...]:
        """How cohorts may be drawn: the filter is exact where nobody is hidden by chance."""
        return ("all", "cyclic")

    @property
    def bound(self) -> float | None:
        """L2 norm that no encoded contribution exceeds."""
        return self.clip_norm

    @property
    def noisy(self) -> bool:
        """Decoding adds noise that the accountant charges."""
        return True

    def start(self) -> Params:
        """Nothing is spent, no norm is known."""
        return {"round": np.array(0), "spent": np.zeros(1), "norm": np.array(0.0), "begin": np.array(0.0)}

    def follow(self, total: Vector, turn: Turn) -> Params:
        """What is spent, each block of clients for itself, and the norm of the sum as it was released."""
        spent = self._spent(turn).copy()
        spent[(turn.round - 1) % turn.separation] += self.share(turn)  # each block of clients has its own
        noise = self.multiplier(turn) * self.clip_norm
        square = max(float(np.sum(np.square(total))) - len(total) * noise**2, 0.0)  # what the noise adds, taken off
        if turn.round == 1:
            norm = begin = math.sqrt(square)
        else:
            begin = float(turn.told["begin"])
            norm = math.sqrt((1.0 - self.rate) * float(turn.told["norm"]) ** 2 + self.rate * square)
        return {"round": np.array(turn.round), "spent": spent, "norm": np.array(norm), "begin": np.array(begin)}

    def share(self, turn: Turn) -> float:
        """What this round spends, in rounds at constant noise."""
        number, last = (turn.round - 1) // turn.separation + 1, -(-turn.rounds // turn.separation)
        if number == 1:
            return self.first if last > 1 else 1.0
        foretold = int(turn.told.get("round", 0)) != turn.round - 1
        spent = float(self._spent(turn)[(turn.round - 1) % turn.separation])
        if foretold:  # asked before the training: as if nothing were saved after the first participation
            spent = self.first if number == 2 else number - 1.0
        allowed = max(number - spent, 0.0)
        norm, begin = float(turn.told.get("norm", 0.0)), float(turn.told.get("begin", 0.0))
        if foretold or number >= last or not begin > 0.0:  # nothing is known of the norm where it drowned in noise
            return allowed
        pace = max(last - spent, 0.0) / (last - number + 1)
        wanted = self.first * (begin / max(norm, 1e-6 * begin)) ** 2
        return min(pace * min(max(wanted, self.first), self.most), allowed)

    def multiplier(self, turn: Turn) -> float:
        """This round's noise multiplier."""
        return self.noise_multiplier / math.sqrt(max(self.share(turn), self.first * _STILL))

    def _spent(self, turn: Turn) -> Array:
        """(separation,) spent by each block of clients so far."""
        spent = np.asarray(turn.told.get("spent", np.zeros(1)), np.float64)
        return spent if spent.shape == (turn.separation,) else np.zeros(turn.separation)

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The contribution, scaled back into the ball."""
        return clipped(x, self.clip_norm)

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """The sum with this round's noise: (d,) float64, whole steps of a grid."""
        if self.noise_multiplier == 0.0:
            raise ValueError("this plan's noise multiplier was not computed yet: call calibrate() first")
        return grid_noise.noisy(total, self.clip_norm, self.multiplier(turn), source)

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """What this round adds to the most that any sums let the rounds so far cost: known before the training.

        What they did spend would be less, but the sums choose it: no epsilon holds for a cost that the release chose.
        """
        first_block = (turn.round - 1) % turn.separation == 0  # it takes part in every cycle, and in each one first
        more = self.share(replace(turn, told={})) if first_block else 0.0
        multiplier = self.noise_multiplier / math.sqrt(more) if more > _STILL else _NONE
        return Event("gaussian", multiplier, "all", 1.0)

    def repeated(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """What this round costs once more, where a crash came between its release and its record: all of it."""
        return Event("gaussian", self.multiplier(turn), "all", 1.0)
