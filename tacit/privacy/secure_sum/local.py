"""All parties of a secure sum in one process, exchanging the messages that would go over a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from tacit.core.values import Array, ProtocolError, VerificationError
from tacit.privacy.proofs.client import ProvenClient
from tacit.privacy.proofs.server import ProvenServer
from tacit.privacy.proofs.terms import Terms
from tacit.privacy.secure_sum import wire
from tacit.privacy.secure_sum.client import Client
from tacit.privacy.secure_sum.entropy import RandomBytes, System
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.opened import Opened
from tacit.privacy.secure_sum.rules import Rules
from tacit.privacy.secure_sum.server import Server

Lazy: TypeAlias = Array | Callable[[], Array]  # (d,) uint32, or what computes it when it is needed


class Parties:
    """Clients with fresh identities and their server, kept over the rounds of a run."""

    __slots__ = ("_rules", "_run", "clients", "refused", "server", "trusted")

    def __init__(self, rules: Rules, names: Sequence[str], run: bytes, source: RandomBytes | None = None) -> None:
        source = source or System()
        identities = {name: Identity.generate(source) for name in names}
        self.trusted = {name: identity.public for name, identity in identities.items()}
        made: Any = ProvenClient if rules.proof else Client
        self.clients: dict[str, Any] = {
            name: made(rules, name, identity, run, self.trusted, source) for name, identity in identities.items()
        }
        self._rules, self._run = rules, run
        self.server: Any = (ProvenServer if rules.proof else Server)(rules, run, self.trusted)
        self.refused: dict[str, str] = {}  # client -> why it committed to nothing, or nothing that holds, in this round

    def sum(
        self,
        round: int,
        vectors: Mapping[str, Lazy],
        size: int,
        drop: Mapping[str, str] | None = None,
        bound: int = 1,
    ) -> Opened:
        """One round over the clients in `vectors`; each is asked for its (size,) uint32 when its turn comes, once.

        Args:
            round: above every earlier one.
            vectors: by client, values or what computes them; only one computed vector exists at a time.
            size: length of every vector.
            drop: client -> the stage (see `wire`) from which on it answers no more.
            bound: L2 norm that is proven of each vector, in whole steps, where the rules have a proof of the norm.

        Raises:
            SecureSumAborted: too few clients were left; nothing was opened.
            OpeningError: a client committed to one vector and sent another (rules with a proof).
        """
        rules, order = self._rules, [*wire.STAGES[:2], wire.COMMIT, *wire.STAGES[2:]]
        gone = {name: order.index(stage) for name, stage in (drop or {}).items()}
        self.refused = {}
        if rules.proof:
            terms = Terms(rules.proof, size, bound, run=self._run)
            for party in (self.server, *(self.clients[name] for name in vectors)):
                party.agree(terms)
        self.server.start(round, list(vectors), size)
        while (stage := self.server.stage) != "finish":
            for name, request in self.server.requests().items():
                if gone.get(name, len(order)) <= order.index(stage):
                    continue
                lazy = vectors[name] if stage == rules.working else None
                try:
                    self.server.receive(name, self.clients[name].answer(request, lazy() if callable(lazy) else lazy))
                except (ProtocolError, VerificationError) as why:
                    if stage != wire.COMMIT:
                        raise
                    self.refused[name] = str(why)
            self.server.close()
        found: Opened = self.server.finish()
        return found


def run_in_process(
    rules: Rules, vectors: Mapping[str, Lazy], size: int, drop: Mapping[str, str] | None = None
) -> Opened:
    """One round among parties made for it; see `Parties.sum`."""
    return Parties(rules, list(vectors), b"in process", None).sum(0, vectors, size, drop)
