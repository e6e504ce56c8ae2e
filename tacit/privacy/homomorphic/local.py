"""All parties of a homomorphic sum in one process, exchanging the messages that would go over a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tacit.core.values import Array
from tacit.privacy.secure_sum.entropy import RandomBytes, System
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.opened import Opened


class Parties:
    """Parties with fresh identities and their server, kept over the rounds of a run."""

    __slots__ = ("clients", "server", "stages", "trusted")

    def __init__(self, rules: Any, names: Sequence[str], run: bytes, source: RandomBytes | None = None) -> None:
        """Of any sum that a plan may name: `rules` makes clients and the server, and says the stages."""
        identities = {name: Identity.generate(source or System()) for name in names}
        self.trusted = {name: identity.public for name, identity in identities.items()}
        self.clients: dict[str, Any] = {
            name: rules.client(name, identity, run, self.trusted, source) for name, identity in identities.items()
        }
        self.server = rules.server(run, self.trusted)
        self.stages: tuple[str, ...] = rules.stages

    def sum(self, round: int, vectors: Mapping[str, Array], drop: Mapping[str, str] | None = None) -> Opened:
        """One round over the parties in `vectors`, (d,) uint32 each.

        Args:
            round: above every earlier one.
            vectors: by party.
            drop: party -> the stage from which on it answers no more.

        Raises:
            SecureSumAborted: too few parties were left, or one without whom nothing opens; nothing was opened.
        """
        gone = {name: self.stages.index(stage) for name, stage in (drop or {}).items()}
        self.server.start(round, list(vectors), len(next(iter(vectors.values()))))
        for number, stage in enumerate(self.stages):
            for name, request in self.server.requests().items():
                if gone.get(name, len(self.stages)) > number:
                    vector = vectors[name] if stage == "masked" else None
                    self.server.receive(name, self.clients[name].answer(request, vector))
            self.server.close()
        found: list[Opened] = self.server.finish()
        return found[0]
