"""A client's committed integer vector has L2 norm at most B, proven without showing it. EXPERIMENTAL, unreviewed.

What is proven: whoever makes `verify` pass can open the commitment C to a vector x of `size` whole numbers with
x_1^2 + ... + x_n^2 <= B^2. The bound is exact: no slack in the integers (slack factor 1), no wrap-around mod ORDER. A
lie passes with a chance of about (hash calls + 1) * 2^-128, in the random oracle model, unless discrete logarithms in
G1 of BLS12-381 are computed. Nothing but the truth of the bound is shown, up to a statistical distance below 2^-70.

How (J. Bell et al.: "ACORN", USENIX Security 2023, https://eprint.iacr.org/2022/1461, after Gentry, Halevi and
Lyubashevsky. Differs: projections are masked and shown instead of proven to lie in a range; see `projection`).

1. X = (x, a) with a_1^2 + ... + a_4^2 = B^2 - |x|^2 (`four_squares`): now |X|^2 = B^2, which is public, so no range
   proof is needed. W commits to a and to masks y of 128 projections, on generators of its own.
2. Coins R follow from statement and W. Shown: z = y + R X, each in [0, 2^118).
3. Coins r. With p = (r, r^2, ...) and u = sum of p_j R_j, <u, X> + <p, y> = <p, z> must hold.
4. A commits to random S for x, A' to random Sa, Sy for a, y; T1 to 2 (<x, S> + <a, Sa>), T2 to <S, S> + <Sa, Sa>; D =
   <u, (S, Sa)> + <p, Sy>. Coins e. Shown: a' = a + e Sa, y' = y + e Sy, t' = <l, l> + <a', a'> for l = x + e S, and the
   blinding factors of C + e A, of W + e A' and of e T1 + e^2 T2.
5. a', y' must open W + e A', and t' must open B^2 + e T1 + e^2 T2. `inner_product` proves that C + e A opens to an l
   with <l, l> = t' - <a', a'> and <u, (l, a')> = <p, z> + e D - <p, y'>.

Why it holds (a sketch): from answers to three e, binding gives x and S inside C and A; a, y inside W, which therefore
holds nothing on the generators of x; and t1, t2 inside T1, T2; with l = x + e S, a' = a + e Sa, y' = y + e Sy.
- The square of (l, a') is quadratic in e and equals B^2 + e t1 + e^2 t2 for three e, so |X|^2 = B^2 mod ORDER.
- <u, X> + <p, y> = <p, z>, an equation of degree 128 in r, so z = y + R X mod ORDER save with chance 2^-247.
- X and y were fixed before R, so by the lemma in `projection` every coordinate of X lies below 2^118 in absolute value,
  save with chance 2^-128. At most 2^17 squares of such add up to less than 2^253 < ORDER, and B^2 is less: what is
  equal mod ORDER is equal. A prover with huge field elements whose squares wrap around to B^2 fails at z.
- x is padded to a length that folds. What C holds in the padding counts as coordinates: it only adds to |X|^2.

Why it hides: l, a', y' and the blinding factors are uniform, since S, Sa, Sy and theirs are; A, A', D and T1 follow
from the equations; T2 and W are commitments. z differs from uniform by at most 128 * 2 * reach / 2^118, where |R X| <=
reach = sqrt(padded size + 4) * B < 2^39. Not in it: Python's integers are not constant-time, and `four_squares` takes a
time that depends on the norm.

Real numbers: a quantised vector counts steps, and rounding may lengthen it; `steps_of` says which B allows for that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError
from tacit.privacy.proofs import inner_product, projection
from tacit.privacy.proofs.errors import ProofError
from tacit.privacy.proofs.four_squares import four_squares
from tacit.privacy.proofs.generators import blind, generators
from tacit.privacy.proofs.group import Point, Scalar, combined, decoded, dot, drawn, encoded, library, scalar, scalars
from tacit.privacy.proofs.group import written as _written
from tacit.privacy.proofs.norm_proof import SQUARES, WIDE, Answer, Masked, NormProof, from_bytes
from tacit.privacy.proofs.transcript import Transcript
from tacit.privacy.quantise import Quantiser
from tacit.privacy.secure_sum.entropy import RandomBytes

LONGEST = 2**15  # values; beyond, neither the cost nor the distance from uniform was looked at
LARGEST = 2**31 - 1  # bound


def steps_of(quantiser: Quantiser, clip_norm: float, size: int) -> int:
    """The smallest whole B that every vector of L2 norm `clip_norm` stays below once it is quantised in one part.

    The decoded vector of who proves B has a norm of at most clip_norm + (sqrt(size) + 1) steps.

    Raises:
        PlanError: parts with different steps, whose integers have no common norm.
    """
    steps = set(quantiser.steps)
    if len(steps) != 1:
        raise PlanError("a norm can be proven of integers with one step; the quantiser has parts with different steps")
    return math.ceil((clip_norm + quantiser.spread(size)) / steps.pop() * (1.0 + 1e-9))


@dataclass(frozen=True, slots=True)
class Statement:
    """What is proven, of which commitment, and for what: all of it goes into every challenge.

    Raises:
        PlanError: size or bound out of range.
    """

    context: bytes  # names run, round and client, so that a proof serves for nothing else
    commitment: bytes
    size: int
    bound: int  # B, in whole steps

    def __post_init__(self) -> None:
        if not 0 < self.size <= LONGEST or not 0 < self.bound <= LARGEST:
            raise PlanError(
                f"a norm is proven of 1 to {LONGEST} values and a bound of 1 to {LARGEST} steps, "
                f"got {self.size} values and {self.bound}"
            )

    @property
    def padded(self) -> int:
        """Values of x, with the padding."""
        return inner_product.padded(self.size)

    def begin(self) -> Transcript:
        """The transcript before the first message."""
        numbers = (self.size.to_bytes(8, "big"), self.bound.to_bytes(8, "big"))
        return Transcript.of("norm bound", self.context, self.commitment, *numbers)


def _powers(base: Scalar) -> list[Scalar]:
    out = [base]
    while len(out) < projection.ROWS:
        out.append(out[-1] * base)
    return out


def prove(statement: Statement, values: Array, factor: int, source: RandomBytes) -> bytes:
    """A proof that the committed `values` have an L2 norm of at most the statement's bound.

    Guarantees:
        a vector within the bound is always proven.
        an update over the bound cannot be proven by its own client.

    Args:
        statement: whose commitment is `pedersen.commit(values, factor)`.
        values: (size,) uint32, read as signed.
        factor: the blinding factor of the commitment.
        source: the operating system's randomness.

    Raises:
        ProtocolError: of another length, or over the bound; the message names no value.
    """
    if values.shape != (statement.size,) or values.dtype not in (np.uint32, np.int32):
        raise ProtocolError(f"({statement.size},) integers of 32 bits are needed, got {values.dtype} {values.shape}")
    vector = np.ascontiguousarray(values).view(np.int32).tolist()
    rest = statement.bound**2 - sum(value * value for value in vector)
    if rest < 0:
        raise ProtocolError("an update goes beyond the L2 bound that it must be proven to keep: clip it first")
    padding = [0] * (statement.padded - statement.size)
    return argue(statement, vector + padding, four_squares(rest, source), factor, source).to_bytes()


def argue(
    statement: Statement, vector: Sequence[int], roots: Sequence[int], factor: int, source: RandomBytes
) -> NormProof:
    """The messages of a prover who holds x = `vector` (padded) and a = `roots`, whether or not what they claim is true.

    An honest client calls `prove`. This is what tests of lies call.
    """
    rows, points = projection.ROWS, generators("vector", statement.padded)
    own, hide, unit = generators("wide", WIDE), blind(), generators("value", 1)[0]
    reach = math.isqrt((statement.padded + SQUARES) * statement.bound**2) + 1  # of a projection, up or down
    room = 2**projection.WIDTH - 2 * reach
    masks = [reach + int.from_bytes(source.bytes(48), "little") % room for _ in range(rows)]
    blinds = drawn(source.bytes(5 * 48))
    wide = encoded(combined([*own, hide], [*scalars(roots), *scalars(masks), blinds[0]]))
    transcript = statement.begin().said("wide", wide)
    matrix = projection.coefficients(transcript, statement.padded + SQUARES)
    shown = tuple(it % 2**projection.WIDTH for it in projection.projections(matrix, [*vector, *roots], masks))
    transcript = _shown(transcript, shown)  # `%` changes nothing that is honest
    powers = _powers(transcript.challenge("projections"))
    form = projection.form(matrix, powers)

    x, held = scalars(vector), scalars([*roots, *masks])
    noise, held_noise = drawn(source.bytes(48 * len(x))), drawn(source.bytes(48 * WIDE))
    cross = dot(x, noise) + dot(held[:SQUARES], held_noise[:SQUARES])
    square = dot(noise, noise) + dot(held_noise[:SQUARES], held_noise[:SQUARES])
    masked = Masked(
        encoded(combined([*points, hide], [*noise, blinds[1]])),
        encoded(combined([*own, hide], [*held_noise, blinds[2]])),
        encoded(combined([unit, hide], [cross + cross, blinds[3]])),
        encoded(combined([unit, hide], [square, blinds[4]])),
        dot([*form, *powers], [*noise, *held_noise]),
    )
    transcript, e = _challenged(transcript, masked)
    opened = [a + e * b for a, b in zip(x, noise, strict=True)]
    held = [a + e * b for a, b in zip(held, held_noise, strict=True)]
    answer = Answer(
        tuple(held),
        scalar(factor) + e * blinds[1],
        blinds[0] + e * blinds[2],
        dot(opened, opened) + dot(held[:SQUARES], held[:SQUARES]),
        e * blinds[3] + e * e * blinds[4],
    )
    folded = inner_product.prove(_answered(transcript, answer), points, opened, form[: statement.padded])
    return NormProof(wide, shown, masked, answer, folded)


def _shown(transcript: Transcript, shown: tuple[int, ...]) -> Transcript:
    return transcript.said("projections", *(it.to_bytes(projection.BYTES, "little") for it in shown))


def _challenged(transcript: Transcript, masked: Masked) -> tuple[Transcript, Scalar]:
    parts = (masked.vector, masked.wide, masked.cross, masked.square, _written(masked.product))
    then = transcript.said("masks", *parts)
    return then, then.challenge("masks")


def _answered(transcript: Transcript, answer: Answer) -> Transcript:
    numbers = (answer.blind, answer.wide_blind, answer.square, answer.square_blind, *answer.wide)
    return transcript.said("answer", *map(_written, numbers))


def verify(statement: Statement, proof: bytes) -> None:
    """Accept that the committed vector keeps the bound, or refuse.

    Guarantees:
        the proof of a vector within the bound is accepted.
        a forged proof of a vector over the bound is refused.
        squares that wrap around the order of the group are refused.
        a proof with a changed byte is refused.
        a proof for another run round client bound or commitment is refused.

    Raises:
        ProofError: the proof does not hold, or is no proof of this length at all.
    """
    try:
        holds = _holds(statement, from_bytes(proof, statement.padded))
    except ProtocolError as error:
        raise ProofError(f"a proof of an L2 bound is refused: {error}") from None
    if not holds:
        raise ProofError("a proof of an L2 bound is refused: it does not hold for this commitment")


def _holds(statement: Statement, proof: NormProof) -> bool:
    """Whether all equations between points hold, by one multi-exponentiation; numbers that do not hold raise."""
    masked, answer, size = proof.masked, proof.answer, statement.padded
    transcript = statement.begin().said("wide", proof.wide)
    matrix = projection.coefficients(transcript, size + SQUARES)
    transcript = _shown(transcript, proof.projections)
    powers = _powers(transcript.challenge("projections"))
    form = projection.form(matrix, powers)
    transcript, e = _challenged(transcript, masked)
    product = dot(powers, scalars(proof.projections)) + e * masked.product - dot([*form[size:], *powers], answer.wide)
    square = answer.square - dot(answer.wide[:SQUARES], answer.wide[:SQUARES])
    transcript, left = inner_product.check(_answered(transcript, answer), proof.folded, form[:size], square, product)
    second = transcript.challenge("batch")  # weighs the second and third equation against the first
    third = second * second
    zero = scalar(0)
    terms: list[tuple[Point, Scalar]] = [
        # claimed * (C + e A - blind H) + folds - <l, G> = 0
        (decoded(statement.commitment), left.claimed),
        (decoded(masked.vector), left.claimed * e),
        # second * (W + e A' - <(a', y'), K> - blind' H) = 0
        (decoded(proof.wide), second),
        (decoded(masked.wide), second * e),
        # third * (B^2 U + e T1 + e^2 T2 - t' U - blind'' H) = 0
        (generators("value", 1)[0], third * (scalar(statement.bound**2) - answer.square)),
        (decoded(masked.cross), third * e),
        (decoded(masked.square), third * e * e),
        (blind(), zero - left.claimed * answer.blind - second * answer.wide_blind - third * answer.square_blind),
    ]
    points = [point for point, _ in terms] + generators("wide", WIDE) + left.points + generators("vector", size)
    weights = [weight for _, weight in terms] + [zero - second * it for it in answer.wide] + left.weights
    weights += [zero - it for it in left.generators]
    return bool(combined(points, weights) == library().G1Point.identity())
