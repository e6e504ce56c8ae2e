"""The clients of one round, in the order of the ring, and what all of them must agree on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tacit.core.values import Array, ProtocolError
from tacit.privacy.secure_sum.graph import offsets
from tacit.privacy.secure_sum.keys import pack


def join(names: Iterable[str]) -> bytes:
    """Names of clients, one a line: what a request carries.

    Raises:
        ProtocolError: a name is empty or holds a line break.
    """
    listed = list(names)
    if any(not name or "\n" in name for name in listed):
        raise ProtocolError("a client's name must not be empty or hold a line break")
    return "\n".join(listed).encode()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ring:
    """Clients in the order of a hash of their names: whoever leaves moves nobody else, so pairs last over rounds."""

    names: tuple[str, ...]
    place: Mapping[str, int]
    members: frozenset[str]
    digest: bytes


@lru_cache(maxsize=32)
def ring(seed: bytes, joined: bytes) -> Ring:
    """The ring of these joined names, shuffled by a public 32-byte seed.

    Raises:
        ProtocolError: not text, an empty name, or one twice.
    """
    try:
        listed = joined.decode().split("\n")
    except UnicodeDecodeError:
        raise ProtocolError("the list of clients is not text in UTF-8") from None
    if "" in listed or len(set(listed)) != len(listed):
        raise ProtocolError("the list of clients names one of them twice, or none")
    order = sorted(listed, key=lambda name: (hashlib.blake2b(name.encode(), key=seed, digest_size=16).digest(), name))
    digest = hashlib.sha256(pack("ring", seed, *order)).digest()
    return Ring(tuple(order), {name: place for place, name in enumerate(order)}, frozenset(order), digest)


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """One round's clients, neighbours and threshold. Its digest goes into every key and tag of the round."""

    ring: Ring
    epoch: int
    neighbours: int
    threshold: int
    digest: bytes

    def __len__(self) -> int:
        return len(self.ring.names)

    def __repr__(self) -> str:
        return f"Roster({len(self)} clients, {self.neighbours} neighbours, threshold {self.threshold})"

    def around(self, place: int) -> Array:
        """(k,) places of the neighbours of one place, by slot."""
        return (place + np.array(offsets(self.neighbours), np.int64)) % len(self)

    def all_around(self) -> Array:
        """(n, k) places of the neighbours of every place, by slot."""
        return (np.arange(len(self))[:, None] + np.array(offsets(self.neighbours), np.int64)) % len(self)

    def statement(self, survivors: Array, dropped: Array) -> bytes:
        """32 bytes that name this round, who survived and who dropped out: (n,) bool each, in the ring's order."""
        parts = pack("survivors", self.digest, np.packbits(survivors).tobytes(), np.packbits(dropped).tobytes())
        return hashlib.sha256(parts).digest()
