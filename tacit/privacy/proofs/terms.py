"""What all parties of a proven sum agree on: what is committed to, and which L2 norm is proven of it. EXPERIMENTAL.

A party commits to the integers that it is about to mask, before any masked vector is taken; with "norm" it proves that
they keep a bound. What it then masks is the vector with its blinding factor behind it, in limbs, so that the sum opens
both sums and never a single factor: the two must open the product of the commitments.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError
from tacit.privacy.proofs import inner_product, norm_bound, norm_proof, pedersen
from tacit.privacy.proofs.errors import ProofError
from tacit.privacy.proofs.group import POINT
from tacit.privacy.proofs.norm_bound import Statement
from tacit.privacy.secure_sum.entropy import RandomBytes

MOST = {"opening": 100_000, "norm": 10_000}  # values that a plan may have committed to, and proven
KINDS = ("", *MOST)


def added_bytes(kind: str, size: int) -> int:
    """Bytes that a party sends beside its `size` masked values: blinding factor, commitment, proof of the norm."""
    proof = norm_proof.length(inner_product.padded(size)) if kind == "norm" else 0
    return 4 * pedersen.LIMBS + POINT + proof if kind else 0


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """What a party has ready after it committed."""

    commitment: bytes  # (POINT,)
    proof: bytes  # of the norm; empty where none is asked for
    upload: Array = field(repr=False)  # (d + LIMBS,) uint32: vector and blinding factor, secret


@dataclass(frozen=True, slots=True)
class Terms:
    """Numbers of a proven sum, and the statement that each party proves.

    Guarantees:
        a proof replayed by another party or in another round run or plan is refused.

    Raises:
        PlanError: no such proof, or more values than it can be made of.
    """

    kind: str = "opening"  # or "norm"
    size: int = 1  # values that are committed to
    bound: int = 1  # L2 norm of them in one client's vector, in whole steps; "opening" does not look at it
    plan: str = ""  # digest of the plan
    run: bytes = b"in process"  # names the run
    chosen: Array | None = field(default=None, compare=False, repr=False)  # (d,) bool: which they are; None = all

    def __post_init__(self) -> None:
        if self.kind not in MOST:
            raise PlanError(f"proof must be one of {tuple(MOST)}, got {self.kind!r}")
        if not 0 < self.size <= MOST[self.kind]:
            raise PlanError(
                f"a proof of kind {self.kind!r} takes 1 to {MOST[self.kind]:,} values, but a contribution of this plan "
                f"has {self.size:,}: " + _instead(self.kind)
            )
        if self.chosen is not None and (count := int(np.count_nonzero(self.chosen))) != self.size:
            raise PlanError(f"{count} values were chosen, but the terms are for {self.size}")
        if self.kind == "norm":
            self.statement(0, "", b"")

    @property
    def length(self) -> int:
        """Values of a whole vector, d."""
        return self.size if self.chosen is None else len(self.chosen)

    def pick(self, vector: Array) -> Array:
        """(size,) those of a (d,) vector that are committed to."""
        return vector if self.chosen is None else vector[self.chosen]

    def statement(self, round: int, name: str, commitment: bytes, clients: int = 1) -> Statement:
        """What a party proves in a round, where its vector is the sum of so many clients'."""
        parts = (self.plan.encode(), self.run, round.to_bytes(8, "big"), name.encode())
        context = b"".join(len(it).to_bytes(8, "big") + it for it in parts)
        return Statement(context, commitment, self.size, self.bound * max(clients, 1))

    def seal(self, round: int, name: str, values: Array, source: RandomBytes, clients: int = 1) -> Sealed:
        """Commit to what is chosen of (d,) uint32, prove, and get ready what goes under the mask.

        Raises:
            ProtocolError: of another length, or over the bound; the message names no value.
        """
        if values.shape != (self.length,) or values.dtype != np.uint32:
            raise ProtocolError(f"({self.length},) uint32 were agreed on, got {values.dtype} of shape {values.shape}")
        factor, mine = pedersen.blinding(source), self.pick(values)
        commitment, proof = pedersen.commit(mine, factor), b""
        if self.kind == "norm":
            proof = norm_bound.prove(self.statement(round, name, commitment, clients), mine, factor, source)
        return Sealed(commitment, proof, np.concatenate([values, pedersen.limbs(factor)]))

    def check(self, round: int, name: str, commitment: bytes, proof: bytes, clients: int = 1) -> None:
        """The server's (or anybody's) check of what a party said before the sum.

        Raises:
            ProofError: it does not hold.
        """
        try:
            pedersen.added([commitment])
        except ProtocolError as error:
            raise ProofError(f"a commitment is refused: {error}") from None
        if self.kind == "norm":
            norm_bound.verify(self.statement(round, name, commitment, clients), proof)
        elif proof:
            raise ProofError("a proof was sent where none is asked for")


def _instead(kind: str) -> str:
    """What to do about too many values."""
    fewer = (
        "name a smaller part of the model in proof_of, keep more of it private (FedPer, FedRep), or shorten what is "
        "sent (LowRank, RandomK, CountSketch)"
    )
    return f'{fewer}, or take proof = "opening"' if kind == "norm" else f"{fewer}, or do without proofs"
