"""The server of a proven sum: takes commitments, leaves out whose proof fails, sums the others, compares the sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tacit.core.values import ProtocolError, Reply, Request, VerificationError
from tacit.privacy.proofs import pedersen
from tacit.privacy.proofs.errors import OpeningError
from tacit.privacy.proofs.group import POINT
from tacit.privacy.proofs.terms import Terms
from tacit.privacy.secure_sum import wire
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted
from tacit.privacy.secure_sum.rules import Rules
from tacit.privacy.secure_sum.server import Server


class ProvenServer:
    """One party, for a whole run, used as `Server`; `agree` before `start` says what is proven.

    Guarantees:
        the honest sum comes out when nobody lies.
        a party over the bound is left out and named and the honest sum still comes out.
        a party that commits to one vector and sends another is caught.
        a malformed commitment or proof is refused by name and the round survives.
        who is left out has sent no masked vector.

    Not guaranteed: who lied, when the opened sum does not fit (so one party can spoil a sum, in `groups` that of its
    group only); that a committed vector is an honest update, beyond its norm.
    """

    __slots__ = ("_clients", "_committing", "_round", "_rules", "_sent", "_sum", "_terms", "excluded")

    def __init__(self, rules: Rules, run: bytes, trusted: Mapping[str, bytes]) -> None:
        self._rules = rules
        self._sum = Server(replace(rules, proof="", proof_of=()), run, trusted)
        self._terms, self._clients = Terms(), dict[str, int]()
        self._committing, self._round = False, 0
        self._sent: dict[str, bytes] = {}  # party -> its commitment, which holds
        self.excluded: dict[str, str] = {}  # party -> why its commitment or proof is refused, in this round

    @property
    def checked(self) -> int:
        """How many parties' commitments and proofs were checked in this round."""
        return len(self._sent) + len(self.excluded)

    @property
    def stage(self) -> str:
        """The stage whose replies are awaited; "finish" after the last."""
        return wire.COMMIT if self._committing else self._sum.stage

    def agree(self, terms: Terms, clients: Mapping[str, int] | None = None) -> None:
        """Check by these terms; `clients` says how many clients each party speaks for, one if it is not listed."""
        self._terms, self._clients = terms, dict(clients or {})

    def start(self, round: int, cohort: Sequence[str], size: int) -> None:
        """Begin a round that sums (size,) vectors of this cohort.

        Raises:
            SecureSumAborted: the cohort is smaller than the minimum.
            PlanError: the rules cannot hold for so many parties.
            ProtocolError: other terms than for so many values were agreed on.
        """
        if size != self._terms.length:
            raise ProtocolError(f"terms are for {self._terms.length} values, but {size} are summed: agree on others")
        self._sum.start(round, cohort, size + pedersen.LIMBS)
        self._committing, self._round, self._sent, self.excluded = False, round, {}, {}

    def requests(self) -> dict[str, Request]:
        """What to send, to whom, in this stage."""
        if self._committing:
            return {name: Request(wire.KIND + wire.COMMIT, self._round) for name in sorted(self._sum.asked)}
        return self._sum.requests()

    def receive(self, sender: str, reply: Reply) -> None:
        """Take one party's reply to the open stage; in "commit" its proof is checked at once.

        Raises:
            ProtocolError: from a party that was not asked or has answered, or malformed.
            ProofError: the commitment or proof does not hold; the party is left out unless it sends a good one.
        """
        if not self._committing:
            self._sum.receive(sender, reply)
            return
        if sender not in self._sum.asked or sender in self._sent:
            raise ProtocolError(f"a commitment of {sender!r} is not awaited: not asked, or sent already")
        try:
            commitment = wire.taken(reply.arrays, "commitment", (POINT,)).tobytes()
            proof = wire.raw(reply.arrays, "proof")
            self._terms.check(self._round, sender, commitment, proof, self._clients.get(sender, 1))
        except (ProtocolError, VerificationError) as why:
            self.excluded[sender] = str(why)
            raise
        self.excluded.pop(sender, None)
        self._sent[sender] = commitment

    def close(self) -> None:
        """End the open stage with the replies that came; whoever has not committed well by now is left out.

        Raises:
            SecureSumAborted: too few are left to go on, or to hide those that are left.
        """
        if not self._committing:
            before = self._sum.stage
            self._sum.close()
            self._committing = before == "share"
            return
        self._committing = False
        try:
            self._sum.keep(self._sent)
        except SecureSumAborted as why:
            names = f"; left out: {', '.join(sorted(self.excluded))}" if self.excluded else ""
            raise SecureSumAborted(f"{why}{names}") from None

    def finish(self) -> Opened:
        """The sum of the survivors' vectors, which are those that they had committed to.

        Raises:
            OpeningError: it is not: one of them committed to one vector and sent another.
            SecureSumAborted: masks cannot be taken off.
        """
        opened = self._sum.finish()
        size = self._terms.length
        total, factor = opened.total[:size], pedersen.factor_of(opened.total[size:])
        try:
            pedersen.check_opening([self._sent[name] for name in opened.survivors], self._terms.pick(total), factor)
        except OpeningError as why:
            among = f" The sum was that of {', '.join(opened.survivors)}." if self._rules.groups > 1 else ""
            raise OpeningError(f"{why}{among}") from None
        return replace(opened, total=total)
