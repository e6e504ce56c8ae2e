"""A round in which clients are held to what they prove: commit and prove, leave out who fails, sum, open, compare.

The order matters: commitments and proofs first, then the secure sum among those that hold, of vectors with their
blinding factors behind them; at last the opened sum must open the sum of the commitments. EXPERIMENTAL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError, VerificationError
from tacit.privacy.proofs import norm_bound, pedersen
from tacit.privacy.proofs.errors import OpeningError, ProofError
from tacit.privacy.secure_sum.entropy import RandomBytes, System
from tacit.privacy.secure_sum.groups import partition
from tacit.privacy.secure_sum.local import Parties
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted
from tacit.privacy.secure_sum.rules import Rules


@dataclass(frozen=True, slots=True)
class Sent:
    """What a client says before the sum. Everybody may see it."""

    commitment: bytes
    proof: bytes = b""  # empty where no norm is asked for


@dataclass(frozen=True, slots=True, eq=False)
class Contribution:
    """What a client prepares: the public part, and what it hands to the secure sum."""

    sent: Sent
    upload: Array = field(repr=False)  # (size + LIMBS,) uint32: vector and blinding factor, secret


@dataclass(frozen=True, slots=True, eq=False)
class ProvenTotal:
    """The sum of the clients that were held to their word."""

    total: Array  # (size,) uint32: the sum mod 2^32, which is the sum of the committed vectors as signed integers
    survivors: tuple[str, ...]
    dropped: tuple[str, ...]
    excluded: Mapping[str, str]  # client -> why its commitment or proof does not hold
    suspected: tuple[str, ...]  # members of groups whose sum does not match: one of them lied, with more than one group

    def __repr__(self) -> str:
        return (
            f"ProvenTotal({len(self.total)} values, {len(self.survivors)} survivors, {sorted(self.excluded)} excluded)"
        )


@dataclass(frozen=True, slots=True)
class ProvenSum:
    """What all parties of such rounds agree on.

    Guarantees:
        the honest sum comes out when nobody lies.
        a client over the bound is excluded and named and the honest sum still comes out.
        a client that commits to one vector and sends another is caught.
        a proof replayed by another client or in another round is excluded.
        with groups a liar costs its group and the others are summed.

    Not guaranteed: who lied, when an opening check fails (with one group the round is refused, so a client can spoil
    it); that a committed vector is an honest update, beyond its norm. Messages of the secure sum itself are as safe as
    `SecAgg` says.

    Raises:
        PlanError: size or bound out of range, or the rules cut the round into groups themselves.
    """

    rules: Rules = Rules()
    size: int = 1000  # values of a vector
    bound: int = 0  # L2 norm in whole steps (see `norm_bound.steps_of`); 0 = none is proven, the sum is still compared
    groups: int = 1  # secure sums of their own, each compared: a liar spoils only its group's
    run: bytes = b"in process"

    def __post_init__(self) -> None:
        if not 0 < self.size <= pedersen.LONGEST:
            raise PlanError(f"1 to {pedersen.LONGEST} values can be committed to, got {self.size}")
        if self.groups < 1 or self.rules.groups != 1:
            raise PlanError("a proven sum needs rules without groups, and `groups` of its own of at least 1")
        if self.bound:
            self.statement(0, "", b"")

    def statement(self, round: int, name: str, commitment: bytes) -> norm_bound.Statement:
        """What this client proves in this round."""
        who = name.encode()
        context = b"".join(len(it).to_bytes(8, "big") + it for it in (self.run, round.to_bytes(8, "big"), who))
        return norm_bound.Statement(context, commitment, self.size, self.bound)

    def contribute(self, round: int, name: str, values: Array, source: RandomBytes | None = None) -> Contribution:
        """A client's part: commit, prove, and get ready what goes into the sum.

        Args:
            round: number of the round.
            name: of the client.
            values: (size,) uint32, from a `Quantiser`.
            source: the operating system's randomness unless given.

        Raises:
            ProtocolError: of another length, or over the bound.
        """
        if values.shape != (self.size,):
            raise ProtocolError(f"({self.size},) values were agreed on, got {values.shape}")
        source = source or System()
        factor = pedersen.blinding(source)
        commitment = pedersen.commit(values, factor)
        proof = b""
        if self.bound:
            proof = norm_bound.prove(self.statement(round, name, commitment), values, factor, source)
        upload = np.concatenate([values.view(np.uint32), pedersen.limbs(factor)])
        return Contribution(Sent(commitment, proof), upload)

    def check(self, round: int, name: str, sent: Sent) -> None:
        """The server's (or anybody's) check of what a client said.

        Raises:
            ProofError: it does not hold.
        """
        try:
            pedersen.added([sent.commitment])
        except ProtocolError as error:
            raise ProofError(f"a commitment is refused: {error}") from None
        if self.bound:
            norm_bound.verify(self.statement(round, name, sent.commitment), sent.proof)
        elif sent.proof:
            raise ProofError("a proof was sent where none is asked for")

    def refused(self, round: int, sent: Mapping[str, Sent]) -> dict[str, str]:
        """Who is left out, and why."""
        out = {}
        for name, it in sent.items():
            try:
                self.check(round, name, it)
            except VerificationError as error:
                out[name] = str(error)
        return out

    def compare(self, sent: Mapping[str, Sent], opened: Opened) -> Array:
        """(size,) uint32: the opened sum without the blinding factors, which is that of the survivors' commitments.

        Raises:
            OpeningError: it is not.
        """
        total, factor = opened.total[: self.size], pedersen.factor_of(opened.total[self.size :])
        pedersen.check_opening([sent[name].commitment for name in opened.survivors], total, factor)
        return total

    def sum(
        self, round: int, contributions: Mapping[str, Contribution], drop: Mapping[str, str] | None = None
    ) -> ProvenTotal:
        """A whole round in this process.

        Args:
            round: its number.
            contributions: by client, from `contribute`.
            drop: client -> the stage of the secure sum from which on it answers no more.

        Raises:
            OpeningError: the opened sum is not that of the commitments (with several groups: in every group).
            SecureSumAborted: too few clients are left once others are excluded or gone; nothing was opened.
        """
        sent = {name: it.sent for name, it in contributions.items()}
        excluded = self.refused(round, sent)
        admitted = [name for name in contributions if name not in excluded]
        totals: list[Array] = []
        survivors: list[str] = []
        suspected: list[str] = []
        failure: OpeningError | None = None
        for group in partition(admitted, self.groups, self.run, self.rules.epoch(round)):
            if len(group) < self.rules.minimum:
                raise SecureSumAborted(
                    f"{len(group)} clients whose proofs hold are left in a sum of round {round}, the minimum is "
                    f"{self.rules.minimum}; excluded: {', '.join(sorted(excluded)) or 'nobody'}. Nothing was opened."
                )
            uploads = {name: contributions[name].upload for name in group}
            gone = {name: stage for name, stage in (drop or {}).items() if name in uploads}
            opened = Parties(self.rules, group, self.run).sum(round, uploads, self.size + pedersen.LIMBS, gone)
            try:
                totals.append(self.compare(sent, opened))
                survivors += opened.survivors
            except OpeningError as error:
                suspected += group
                failure = error
        if failure is not None and not totals:
            raise failure
        whole = np.stack([total.view(np.int32) for total in totals]).sum(axis=0, dtype=np.int64)
        if np.any(np.abs(whole) >= 2**31):
            raise OpeningError("the sums of the groups together go beyond 31 bits: fewer clients, or a lower bound")
        total = whole.astype(np.int32).view(np.uint32)
        dropped = tuple(sorted(set(admitted) - set(survivors) - set(suspected)))
        return ProvenTotal(total, tuple(sorted(survivors)), dropped, excluded, tuple(sorted(suspected)))


def proven_sum(
    rule: ProvenSum, round: int, vectors: Mapping[str, Array], drop: Mapping[str, str] | None = None
) -> ProvenTotal:
    """One round over the clients' quantised vectors; a client whose own code refuses to prove is excluded, too.

    Raises:
        OpeningError: see `ProvenSum.sum`.
        SecureSumAborted: too few clients are left.
    """
    contributions, silent = {}, {}
    for name, values in vectors.items():
        try:
            contributions[name] = rule.contribute(round, name, values)
        except ProtocolError as error:
            silent[name] = f"nothing was sent: {error}"
    found = rule.sum(round, contributions, drop)
    return replace(found, excluded={**found.excluded, **silent})
