"""Error feedback: what compression left out in one round is added to the client's contribution of the next.

S. P. Karimireddy, Q. Rebjock, S. U. Stich, M. Jaggi: "Error Feedback Fixes SignSGD and other Gradient Compression
Schemes", ICML 2019, https://arxiv.org/abs/1901.09847, Algorithm 2. Differs from the paper: clients that sit a round out
keep their memory, and there is no learning rate inside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tacit.core.protocols import Adaptive, Randomness, Remembering, Transform
from tacit.core.values import Array, Turn, Vector
from tacit.privacy.layer import Layer
from tacit.privacy.transforms.low_rank import LowRank


@dataclass(frozen=True, slots=True)
class ErrorFeedback(Layer):
    """Compresses contribution + memory, and remembers on the client what was left out. The memory never leaves.

    It must come first in `protect`, and a bound after it: what a client sends in a round may be many rounds' worth.

    Guarantees:
        what was sent and what is remembered add up to all contributions.
        the memory stays on the client, and the message depends on it only through the compressed sum.
    """

    compress: Transform = LowRank()  # read without scaling, whatever its `unbiased` says: the rest comes later

    def __post_init__(self) -> None:
        inner = self.compress
        if not hasattr(inner, "per_client"):
            raise ValueError(f"ErrorFeedback needs a compression, got {inner!r}")
        told = isinstance(inner, Adaptive | Remembering)
        if told or inner.noisy or not inner.per_client:
            raise ValueError(f"ErrorFeedback needs a compression without noise, memory or state, got {inner!r}")

    @property
    def _plain(self) -> Transform:
        """The compression, without the scaling that makes up for what is never sent."""
        inner: Any = self.compress
        plain: Transform = replace(inner, unbiased=False) if getattr(inner, "unbiased", False) else inner
        return plain

    @property
    def bound(self) -> float | None:
        """That of the compression."""
        return self.compress.bound

    @property
    def per_client(self) -> bool:
        """Every client has a memory of its own."""
        return True

    @property
    def lossy(self) -> bool:
        """Some of a round's sum comes back in later rounds."""
        return self.compress.lossy

    @property
    def reveals_support(self) -> bool:
        """Whether places of values may leave in the clear: as the compression says."""
        return bool(getattr(self.compress, "reveals_support", True))

    def length(self, turn: Turn) -> int:
        """As the compression's."""
        return self.compress.length(turn)

    def reach(self, bound: float, turn: Turn) -> float:
        """What the compression lets through of anything: a memory has no bound."""
        return self.compress.reach(math.inf, turn)

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The message of a client that remembers nothing."""
        return self.compress.encode(x, turn, source)

    def encode_with(self, x: Vector, memory: Array, turn: Turn, source: Randomness) -> tuple[Vector, Array]:
        """(the message, the new memory (d,) float32).

        Raises:
            ValueError: x holds NaN or infinity, which would stay in the memory for ever.
        """
        whole = x + memory
        if not np.all(np.isfinite(whole)):
            raise ValueError("a contribution holds NaN or infinity: it must not be remembered or sent")
        sent = self._plain.encode(whole, turn, source)
        return sent, (whole - self._plain.decode(sent, turn, source)).astype(np.float32)

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """As the compression does."""
        return self._plain.decode(total, turn, source)
