"""A vector under a commitment, its square and one linear form of it, proven with log(n) messages by folding it in half.

J. Bootle, A. Cerulli, P. Chaidos, J. Groth, C. Petit, EUROCRYPT 2016; B. Bünz et al.: "Bulletproofs", S&P 2018,
https://eprint.iacr.org/2017/1066 (inner products, checking with one multi-exponentiation); T. Attema, R. Cramer:
"Compressed Sigma-Protocol Theory", CRYPTO 2020, https://eprint.iacr.org/2020/152 (linear forms, one set of generators).
Differs from the papers: the inner product is that of a vector with itself, so there is one vector and one set of
generators in place of two; folding ends at 9 to 16 values, which are sent.

Claim: P = <l, G>, <l, l> = t and <u, l> = w, with G, u, P, t, w public. NOT hiding by itself: l must be masked before.
One round, with halves l = (f, g), G = (F, H), u = (p, q): the prover sends L = <f, H>, R = <g, F>, <f, f>, <f, g>,
<q, f>, <p, g>; a challenge c comes; and the claim becomes, with half the length, l' = f + c g, G' = c F + H,
u' = c p + q, P' = L + c P + c^2 R, t' = <f, f> + 2 c <f, g> + c^2 (t - <f, f>), w' = <q, f> + c w + c^2 <p, g>.

Why it holds. Say that for four values of c the halved claim can be opened, by l'(c). From three of them L, P and R are
linear combinations of known openings, so their own openings (on F and on H) are known: (a1, a2), (b1, b2), (d1, d2).
By binding c l'(c) = a1 + c b1 + c^2 d1 and l'(c) = a2 + c b2 + c^2 d2, so the polynomial c (a2 + c b2 + c^2 d2) -
(a1 + c b1 + c^2 d1) of degree 3 has four roots and is zero: a1 = d2 = 0, a2 = b1, d1 = b2, and l'(c) = b1 + c b2. Then
t'(c) = <b1 + c b2, b1 + c b2> for four values of c makes the two polynomials equal: t = <b1, b1> + <b2, b2>; likewise
w = <u, (b1, b2)>. So each round is special-sound with four answers, and adds 3 / ORDER to the chance of a lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tacit.privacy.proofs.errors import ProofError
from tacit.privacy.proofs.group import Point, Scalar, combined, decoded, dot, encoded, scalar, written
from tacit.privacy.proofs.transcript import Transcript

LAST = 16  # values at which folding ends


def rounds(size: int) -> int:
    """How often a vector of at least `size` values is folded."""
    return max((size - 1).bit_length() - (LAST - 1).bit_length(), 0)


def padded(size: int) -> int:
    """The next length that can be folded so often."""
    unit = 1 << rounds(size)
    return -(-size // unit) * unit


@dataclass(frozen=True, slots=True)
class Fold:
    """The prover's message in one round."""

    left: bytes  # L and R, encoded points
    right: bytes
    products: tuple[Scalar, Scalar, Scalar, Scalar]  # <f, f>, <f, g>, <q, f>, <p, g>

    def after(self, transcript: Transcript) -> tuple[Transcript, Scalar]:
        """The transcript with this message, and the round's challenge."""
        then = transcript.said("fold", self.left, self.right, *map(written, self.products))
        return then, then.challenge("fold")


@dataclass(frozen=True, slots=True)
class Folded:
    """The whole argument."""

    folds: tuple[Fold, ...]
    last: tuple[Scalar, ...]  # l, folded to at most LAST values


def _blown(weights: Sequence[Scalar], c: Scalar) -> list[Scalar]:
    """The weights of twice as many stretches of the generators: c for a first half, 1 for a second."""
    return [part for weight in weights for part in (weight * c, weight)]


def prove(transcript: Transcript, points: Sequence[Point], vector: list[Scalar], form: list[Scalar]) -> Folded:
    """The argument for l = `vector` and u = `form`, both of a `padded` length, over as many points.

    The points are never folded (a single multiplication costs as much as ten places in a multi-exponentiation): L and R
    are taken over the original ones.
    """
    folds, weights = [], [scalar(1)]
    for _ in range(rounds(len(points))):
        half = len(vector) // 2
        f, g, p, q = vector[:half], vector[half:], form[:half], form[half:]
        starts = range(0, len(points), 2 * half)
        first = [point for start in starts for point in points[start : start + half]]
        second = [point for start in starts for point in points[start + half : start + 2 * half]]
        left = combined(second, [weight * value for weight in weights for value in f])
        right = combined(first, [weight * value for weight in weights for value in g])
        fold = Fold(encoded(left), encoded(right), (dot(f, f), dot(f, g), dot(q, f), dot(p, g)))
        transcript, c = fold.after(transcript)
        folds.append(fold)
        vector = [a + c * b for a, b in zip(f, g, strict=True)]
        form = [c * a + b for a, b in zip(p, q, strict=True)]
        weights = _blown(weights, c)
    return Folded(tuple(folds), tuple(vector))


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """What is left to check: claimed * P + sum of weights * points - <generators, G> is the identity."""

    claimed: Scalar
    points: list[Point]
    weights: list[Scalar]
    generators: list[Scalar]


def check(
    transcript: Transcript, proof: Folded, form: list[Scalar], square: Scalar, product: Scalar
) -> tuple[Transcript, Relation]:
    """Check all numbers of an argument; the points are left to the caller's one multi-exponentiation.

    Args:
        transcript: as it was when `prove` began.
        proof: the argument.
        form: u, of a `padded` length.
        square: t, what <l, l> is claimed to be.
        product: w, what <u, l> is claimed to be.

    Raises:
        ProofError: a number does not hold, or the argument is not as long as the form asks for.
        ProtocolError: a point that is none.
    """
    size = len(form)
    if len(proof.folds) != rounds(size) or len(proof.last) != size >> rounds(size):
        raise ProofError("an inner-product argument is of another length than its statement")
    points: list[Point] = []
    weights: list[Scalar] = []
    spread, claimed = [scalar(1)], scalar(1)
    for fold in proof.folds:
        transcript, c = fold.after(transcript)
        if c.is_zero():
            raise ProofError("a challenge is zero")  # a chance of 2^-255
        same, mixed, across, back = fold.products
        square = same + (c + c) * mixed + c * c * (square - same)
        product = across + c * product + c * c * back
        weights = [weight * c for weight in weights]
        points += [decoded(fold.left), decoded(fold.right)]
        weights += [scalar(1), c * c]
        claimed = claimed * c
        half = len(form) // 2
        form = [c * a + b for a, b in zip(form[:half], form[half:], strict=True)]
        spread = _blown(spread, c)
    if dot(proof.last, proof.last) != square or dot(form, proof.last) != product:
        raise ProofError("an inner product is not what it was claimed to be")
    transcript = transcript.said("last", *map(written, proof.last))
    return transcript, Relation(claimed, points, weights, [weight * it for weight in spread for it in proof.last])
