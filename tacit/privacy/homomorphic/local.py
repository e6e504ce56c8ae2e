"""All parties of a homomorphic sum in one process, exchanging the messages that would go over a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tacit.core.values import Array, Reply, Request
from tacit.privacy.homomorphic import wire
from tacit.privacy.homomorphic.client import Client
from tacit.privacy.homomorphic.rules import Rules
from tacit.privacy.homomorphic.server import Server
from tacit.privacy.secure_sum.entropy import RandomBytes, System
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.opened import Opened


class Party(Protocol):
    """A party of a sum."""

    def answer(self, request: Request, vector: Array | None = None) -> Reply:
        """Answer one message of the server."""


class Parties:
    """Parties with fresh identities and their server, kept over the rounds of a run."""

    __slots__ = ("clients", "server", "trusted")

    def __init__(self, rules: Rules, names: Sequence[str], run: bytes, source: RandomBytes | None = None) -> None:
        source = source or System()
        identities = {name: Identity.generate(source) for name in names}
        self.trusted = {name: identity.public for name, identity in identities.items()}
        self.clients = {
            name: Client(rules, name, identity, run, self.trusted, source) for name, identity in identities.items()
        }
        self.server = Server(rules, run, self.trusted)

    def sum(self, round: int, vectors: Mapping[str, Array], drop: Mapping[str, str] | None = None) -> Opened:
        """One round over the parties in `vectors`, (d,) uint32 each.

        Args:
            round: above every earlier one.
            vectors: by party.
            drop: party -> the stage (see `wire.STAGES`) from which on it answers no more.

        Raises:
            SecureSumAborted: too few parties were left, or one whose share is in the key; nothing was opened.
        """
        return run_round(self.server, self.clients, wire.STAGES, round, vectors, drop)


def run_round(
    server: Any,
    clients: Mapping[str, Party],
    stages: Sequence[str],
    round: int,
    vectors: Mapping[str, Array],
    drop: Mapping[str, str] | None = None,
) -> Opened:
    """Drive one round of any sum that goes by stages; see `Parties.sum`."""
    gone = {name: stages.index(stage) for name, stage in (drop or {}).items()}
    server.start(round, list(vectors), len(next(iter(vectors.values()))))
    for number, stage in enumerate(stages):
        for name, request in server.requests().items():
            if gone.get(name, len(stages)) > number:
                server.receive(name, clients[name].answer(request, vectors[name] if stage == "masked" else None))
        server.close()
    found: list[Opened] = server.finish()
    return found[0]
