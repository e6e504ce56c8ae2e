"""A Merkle tree that only grows, with proofs of inclusion and of consistency.

B. Laurie, A. Langley, E. Kasper: "Certificate Transparency", RFC 6962, section 2.1 (hashing, proofs),
https://www.rfc-editor.org/rfc/rfc6962; B. Laurie, E. Messeri, R. Stradling: "Certificate Transparency Version 2.0",
RFC 9162, sections 2.1.3.2 and 2.1.4.2 (verifying), https://www.rfc-editor.org/rfc/rfc9162.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from tacit.core.values import VerificationError

EMPTY = hashlib.sha256(b"").digest()  # root of a tree without leaves


def leaf_hash(data: bytes) -> bytes:
    """(32,) bytes: SHA-256 of 0x00 and the entry."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """(32,) bytes: SHA-256 of 0x01 and both children. The other first byte keeps a node from passing for a leaf."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(slots=True, eq=False, repr=False)
class Tree:
    """Leaf hashes and every complete subtree above them: append takes O(log n), a proof O(log^2 n) hashes."""

    levels: list[list[bytes]] = field(default_factory=lambda: [[]])  # levels[k][i]: leaves i 2^k to (i + 1) 2^k

    def __len__(self) -> int:
        return len(self.levels[0])

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash; each subtree that it completes is closed at once."""
        level = 0
        self.levels[0].append(leaf)
        while len(self.levels[level]) % 2 == 0:
            left, right = self.levels[level][-2:]
            if level + 1 == len(self.levels):
                self.levels.append([])
            level += 1
            self.levels[level].append(node_hash(left, right))

    def root(self, size: int | None = None) -> bytes:
        """Root of the first `size` leaves; all of them by default.

        Raises:
            ValueError: the tree has fewer leaves.
        """
        size = len(self) if size is None else size
        if not 0 <= size <= len(self):
            raise ValueError(f"a tree of {len(self)} leaves has no root of size {size}")
        return self._hash(0, size) if size else EMPTY

    def root_with(self, leaf: bytes) -> bytes:
        """The root after `append(leaf)`, without appending: the leaf, joined to each complete subtree to its left."""
        value = leaf
        for level in self.levels:
            if len(level) % 2:
                value = node_hash(level[-1], value)
        return value

    def inclusion(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Proof that leaf `index` is in the tree of the first `size` leaves: PATH of RFC 6962, section 2.1.1.

        Raises:
            ValueError: there is no such leaf.
        """
        size = len(self) if size is None else size
        if not 0 <= index < size <= len(self):
            raise ValueError(f"leaf {index} is not among the first {size} of {len(self)}")
        proof, low, high = [], 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                proof.append(self._hash(middle, high))
                high = middle
            else:
                proof.append(self._hash(low, middle))
                low = middle
        return tuple(reversed(proof))

    def consistency(self, first: int, second: int | None = None) -> tuple[bytes, ...]:
        """Proof that the tree of `first` leaves is the beginning of that of `second`: RFC 6962, section 2.1.2.

        Raises:
            ValueError: not 0 <= first <= second <= leaves.
        """
        second = len(self) if second is None else second
        if not 0 <= first <= second <= len(self):
            raise ValueError(f"sizes {first} and {second} do not fit a tree of {len(self)} leaves")
        if first in (0, second):
            return ()
        proof, low, high, known = [], 0, second, True  # known: the verifier holds this subtree's root already
        while first != high:
            middle = low + _split(high - low)
            if first <= middle:
                proof.append(self._hash(middle, high))
                high = middle
            else:
                proof.append(self._hash(low, middle))
                low, known = middle, False
        if not known:
            proof.append(self._hash(low, high))
        return tuple(reversed(proof))

    def _hash(self, low: int, high: int) -> bytes:
        size = high - low
        if size & (size - 1) == 0:  # `low` is a multiple of every power of two that is asked for
            level = size.bit_length() - 1
            return self.levels[level][low >> level]
        middle = low + _split(size)
        return node_hash(self._hash(low, middle), self._hash(middle, high))


def _split(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1  # the largest power of two below `size`


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf hash is leaf `index` of the tree with this root.

    Raises:
        VerificationError: it is not, or the proof is malformed.
    """
    if not 0 <= index < size:
        raise VerificationError(f"leaf {index} cannot be in a tree of {size} leaves")
    position, last, value = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise VerificationError("the inclusion proof is longer than the tree is high")
        if position & 1 or position == last:
            value = node_hash(step, value)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, step)
        position, last = position >> 1, last >> 1
    if last != 0 or value != root:
        raise VerificationError(f"the inclusion proof of leaf {index} does not lead to the root of {size} leaves")


def verify_consistency(first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes) -> None:
    """Check that the tree of `second` leaves begins with that of `first`: nothing was changed or taken away.

    Raises:
        VerificationError: it does not, or the proof is malformed.
    """
    if not 0 <= first <= second:
        raise VerificationError(f"a tree of {second} leaves cannot grow from one of {first}")
    if first in (0, second):
        same = first_root == (second_root if first == second else EMPTY)
        if proof or not same:
            raise VerificationError(f"trees of {first} and {second} leaves need no proof, and their roots must fit")
        return
    path = list(proof)
    if first & (first - 1) == 0:  # a whole subtree: the verifier holds its root already
        path.insert(0, first_root)
    if not path:
        raise VerificationError("the consistency proof is empty")
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            raise VerificationError("the consistency proof is longer than the tree is high")
        if position & 1 or position == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, step)
        position, last = position >> 1, last >> 1
    if last != 0 or old != first_root or new != second_root:
        raise VerificationError(f"the log of {second} entries does not continue the log of {first} entries")
