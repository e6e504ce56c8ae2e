"""A clip norm that follows a quantile of the clients' update norms, and with it the noise that comes after.

G. Andrew, O. Thakkar, H. B. McMahan, S. Ramaswamy: "Differentially Private Learning with Adaptive Clipping", NeurIPS
2021, https://arxiv.org/abs/1905.03871, Algorithm 1 (geometric updates). Differs from the paper: a contribution is
divided by the clip norm and the indicator rides along as one more value, scaled so that both together have norm 1 at
most; so one noise mechanism of clip norm 1 behind it covers both, and its multiplier is the whole cost. Where updates
shrink during training the noise on the model shrinks with them: the noise follows norms, as W. Wei, L. Liu: "Gradient
Leakage Attack Resilient Deep Learning", IEEE TIFS 2022, https://arxiv.org/abs/2112.13178, ask for, but only norms that
were released with noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Event, Params, Turn, Vector
from tacit.privacy.clip import clipped

_FAR = 1e6  # the norm never leaves [norm / _FAR, norm * _FAR]


@dataclass(frozen=True, slots=True)
class AdaptiveClip:
    """Clip to a norm that a share `quantile` of the clients is within; put a noise mechanism of clip norm 1 behind it.

    Each round: norm *= exp(-rate * (noisy share of clients within the norm - quantile)).

    Guarantees:
        the encoded contribution and its indicator together have L2 norm at most 1.
        the norm moves towards the quantile of the clients' norms.
        the norm follows only what was summed, so with noise behind it only what was released.
    """

    norm: float = 1.0  # in round 1
    quantile: float = 0.5  # share of clients that is not clipped
    rate: float = 0.2  # how fast the norm follows
    indicator: float = 0.1  # part of the unit norm that the indicator takes: sqrt(1 - indicator^2) is left

    def __post_init__(self) -> None:
        if not self.norm > 0.0 or not math.isfinite(self.norm):
            raise ValueError(f"AdaptiveClip needs a finite norm > 0, got {self.norm}")
        if not 0.0 < self.quantile < 1.0 or not 0.0 < self.indicator < 1.0:
            raise ValueError(
                f"AdaptiveClip needs quantile and indicator in (0, 1), got {self.quantile} and {self.indicator}"
            )
        if not 0.0 < self.rate <= 10.0:
            raise ValueError(f"AdaptiveClip needs a rate in (0, 10], got {self.rate}")

    @property
    def bound(self) -> float | None:
        """Contributions are divided by the norm."""
        return 1.0

    @property
    def noisy(self) -> bool:
        """The noise comes behind it."""
        return False

    @property
    def per_client(self) -> bool:
        """Every client says for itself whether it is within the norm."""
        return True

    @property
    def lossy(self) -> bool:
        """What is within the norm comes back."""
        return False

    @property
    def _rest(self) -> float:
        return math.sqrt(1.0 - self.indicator**2)

    def start(self) -> Params:
        """The first round's norm."""
        return {"norm": np.array(self.norm)}

    def follow(self, total: Vector, turn: Turn) -> Params:
        """The next round's norm, from the sum with the noise that was put on it."""
        within = 0.5 + 0.5 * float(total[-1]) / (self.indicator * max(turn.clients, 1))
        log = math.log(self.norm_of(turn)) - self.rate * (min(max(within, 0.0), 1.0) - self.quantile)
        far = math.log(_FAR)
        return {"norm": np.array(math.exp(min(max(log, math.log(self.norm) - far), math.log(self.norm) + far)))}

    def norm_of(self, turn: Turn) -> float:
        """This round's norm."""
        return float(turn.told["norm"]) if "norm" in turn.told else self.norm

    def length(self, turn: Turn) -> int:
        """One value more."""
        return turn.size + 1

    def reach(self, bound: float, turn: Turn) -> float:
        """1: the contribution's part and the indicator's."""
        return 1.0

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """(d + 1,): the contribution over the norm, and whether it was within."""
        norm = self.norm_of(turn)
        cut = clipped(x, norm)
        within = self.indicator if cut is x else -self.indicator
        return np.append(clipped(cut * (self._rest / norm), self._rest), within)

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """(d,): the sum, on the scale on which it came."""
        return np.asarray(total[:-1] * (self.norm_of(turn) / self._rest))

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        """None of its own: the noise behind it pays for the indicator too."""
        return None
