"""Random sparsification with places that everybody knows: the same for all clients of a round, drawn from its seed.

J. Konecny, H. B. McMahan, F. X. Yu, P. Richtarik, A. T. Suresh, D. Bacon: "Federated Learning: Strategies for Improving
Communication Efficiency", 2016, https://arxiv.org/abs/1610.05492, section 2 (random mask). Differs from the paper:
one mask for all clients of a round, so that what they send adds up under a secure sum and no place tells of a customer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tacit.core.protocols import Randomness
from tacit.core.values import Array, Turn, Vector
from tacit.privacy.layer import Layer


@dataclass(frozen=True, slots=True)
class RandomK(Layer):
    """Sends the values at one in `ratio` places (blocks of `block` values), the places being public.

    Guarantees:
        encoding is linear, so it goes through any sum.
        with a ratio of one the sum comes back.
        the mean of what comes back over rounds is the sum.
        no contribution grows.
        which places are sent depends on the round alone.
    """

    per_client = True  # every client leaves out what it does not send

    ratio: float = 16.0  # places / places that are sent
    block: int = 1  # values that go together: the columns of an item table send whole items
    unbiased: bool = True  # scale by ratio; False under error feedback, which sends the rest later

    def __post_init__(self) -> None:
        if not 1.0 <= self.ratio <= 1e9 or self.block < 1:
            raise ValueError(f"RandomK needs a ratio from 1 to 10^9 and a block of at least 1, got {self!r}")

    @property
    def lossy(self) -> bool:
        """What is not sent in a round does not come back in it."""
        return self.ratio > 1.0

    @property
    def linear(self) -> bool:
        """Leaving places out is linear: a node may add up its clients before it encodes."""
        return True

    def length(self, turn: Turn) -> int:
        """One in `ratio` blocks, at least one."""
        return len(places(turn.size, self.block, self.ratio, turn.seed)) * self.block

    def encode(self, x: Vector, turn: Turn, source: Randomness) -> Vector:
        """The values at the round's places."""
        padded = np.zeros(-(-len(x) // self.block) * self.block)
        padded[: len(x)] = x
        chosen = places(turn.size, self.block, self.ratio, turn.seed)
        return np.asarray(padded.reshape(-1, self.block)[chosen]).ravel()

    def decode(self, total: Vector, turn: Turn, source: Randomness) -> Vector:
        """(d,) with zeros at the other places, scaled if `unbiased`."""
        chosen = places(turn.size, self.block, self.ratio, turn.seed)
        blocks = -(-turn.size // self.block)
        out = np.zeros((blocks, self.block))
        scale = blocks / len(chosen) if self.unbiased and len(chosen) else 1.0
        out[chosen] = scale * total.reshape(-1, self.block)
        return out.ravel()[: turn.size]


@lru_cache(maxsize=4)
def places(size: int, block: int, ratio: float, seed: int) -> Array:
    """Sorted numbers of the blocks that a round sends: a uniform draw without repeats."""
    blocks = -(-size // block)
    chosen = np.sort(np.random.default_rng(seed).permutation(blocks)[: int(np.ceil(blocks / ratio))])
    chosen.flags.writeable = False
    return chosen
