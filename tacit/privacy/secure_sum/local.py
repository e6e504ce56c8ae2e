"""All parties of a secure sum in one process, exchanging the messages that would go over a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from tacit.core.values import Array
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

    __slots__ = ("clients", "server", "trusted")

    def __init__(self, rules: Rules, names: Sequence[str], run: bytes, source: RandomBytes | None = None) -> None:
        source = source or System()
        identities = {name: Identity.generate(source) for name in names}
        self.trusted = {name: identity.public for name, identity in identities.items()}
        self.clients = {
            name: Client(rules, name, identity, run, self.trusted, source) for name, identity in identities.items()
        }
        self.server = Server(rules, run, self.trusted)

    def sum(self, round: int, vectors: Mapping[str, Lazy], size: int, drop: Mapping[str, str] | None = None) -> Opened:
        """One round over the clients in `vectors`; each is asked for its (size,) uint32 when its turn comes, once.

        Args:
            round: above every earlier one.
            vectors: by client, values or what computes them; only one computed vector exists at a time.
            size: length of every vector.
            drop: client -> the stage (see `wire.STAGES`) from which on it answers no more.

        Raises:
            SecureSumAborted: too few clients were left; nothing was opened.
        """
        gone = {name: wire.STAGES.index(stage) for name, stage in (drop or {}).items()}
        self.server.start(round, list(vectors), size)
        while (stage := self.server.stage) != "finish":
            for name, request in self.server.requests().items():
                if gone.get(name, len(wire.STAGES)) <= wire.STAGES.index(stage):
                    continue
                vector = None
                if stage == "masked":
                    lazy = vectors[name]
                    vector = lazy() if callable(lazy) else lazy
                self.server.receive(name, self.clients[name].answer(request, vector))
            self.server.close()
        return self.server.finish()


def run_in_process(
    rules: Rules, vectors: Mapping[str, Lazy], size: int, drop: Mapping[str, str] | None = None
) -> Opened:
    """One round among parties made for it; see `Parties.sum`."""
    return Parties(rules, list(vectors), b"in process", None).sum(0, vectors, size, drop)
