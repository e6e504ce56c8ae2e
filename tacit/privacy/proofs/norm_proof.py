"""A proof of an L2 bound as a message: every part of it, and its one form in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from tacit.core.values import ProtocolError
from tacit.privacy.proofs.group import POINT, SCALAR, Scalar, read, written
from tacit.privacy.proofs.inner_product import Fold, Folded, rounds
from tacit.privacy.proofs.projection import BYTES, ROWS, WIDTH

SQUARES = 4  # that fill a norm up to its bound
WIDE = SQUARES + ROWS  # numbers that W holds


@dataclass(frozen=True, slots=True)
class Masked:
    """What the prover says before the last challenge: commitments to masks, and their share in the linear form."""

    vector: bytes  # A: masks of the vector
    wide: bytes  # A': masks of what W holds
    cross: bytes  # T1: the part of the square that is linear in the challenge
    square: bytes  # T2: the part that is quadratic
    product: Scalar  # D


@dataclass(frozen=True, slots=True)
class Answer:
    """What the prover says after it."""

    wide: tuple[Scalar, ...]  # (WIDE,) what W holds, masked: the four squares' roots, the projections' masks
    blind: Scalar  # of C + e A
    wide_blind: Scalar  # of W + e A'
    square: Scalar  # of the masked vector and roots
    square_blind: Scalar


@dataclass(frozen=True, slots=True)
class NormProof:
    """A proof for a vector of known length."""

    wide: bytes  # W: the roots of four squares and the projections' masks
    projections: tuple[int, ...]  # (ROWS,) from 0 to 2^WIDTH
    masked: Masked
    answer: Answer
    folded: Folded

    def to_bytes(self) -> bytes:
        """The message."""
        masked, answer, folded = self.masked, self.answer, self.folded
        parts = [self.wide, masked.vector, masked.wide, masked.cross, masked.square]
        for fold in folded.folds:
            parts += [fold.left, fold.right]
        parts += [it.to_bytes(BYTES, "little") for it in self.projections]
        numbers = [masked.product, answer.blind, answer.wide_blind, answer.square, answer.square_blind, *answer.wide]
        numbers += [number for fold in folded.folds for number in fold.products]
        return b"".join(parts + [written(number) for number in (*numbers, *folded.last)])


def length(padded: int) -> int:
    """Bytes of a proof for a vector of this padded length."""
    folds = rounds(padded)
    return (5 + 2 * folds) * POINT + ROWS * BYTES + (5 + WIDE + 4 * folds + (padded >> folds)) * SCALAR


def from_bytes(data: bytes, padded: int) -> NormProof:
    """The proof in a message from anybody; points are read later, by the check.

    Raises:
        ProtocolError: of another length, or a number that is out of range or not canonical.
    """
    if len(data) != length(padded):
        raise ProtocolError(f"a proof of {length(padded)} bytes is needed for this statement, got {len(data)}")
    folds = rounds(padded)
    ends = (5 + 2 * folds) * POINT, (5 + 2 * folds) * POINT + ROWS * BYTES
    points = [data[low : low + POINT] for low in range(0, ends[0], POINT)]
    shown = tuple(int.from_bytes(data[low : low + BYTES], "little") for low in range(*ends, BYTES))
    if any(it >> WIDTH for it in shown):
        raise ProtocolError(f"a projection goes beyond {WIDTH} bits: the vector may hold huge coordinates")
    numbers = [read(data[low : low + SCALAR]) for low in range(ends[1], len(data), SCALAR)]
    product, blind, wide_blind, square, square_blind = numbers[:5]
    wide, rest = tuple(numbers[5 : 5 + WIDE]), numbers[5 + WIDE :]
    folded = Folded(
        tuple(
            Fold(points[5 + 2 * k], points[6 + 2 * k], (rest[4 * k], rest[4 * k + 1], rest[4 * k + 2], rest[4 * k + 3]))
            for k in range(folds)
        ),
        tuple(rest[4 * folds :]),
    )
    masked = Masked(points[1], points[2], points[3], points[4], product)
    return NormProof(points[0], shown, masked, Answer(wide, blind, wide_blind, square, square_blind), folded)
