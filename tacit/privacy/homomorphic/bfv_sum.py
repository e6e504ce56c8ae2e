"""Threshold BFV by OpenFHE as a part of a plan: every role has a worker process of its own (see `bfv`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tacit.core.values import Address, Array
from tacit.privacy.homomorphic.bfv_client import BFVClient
from tacit.privacy.homomorphic.bfv_server import BFVServer
from tacit.privacy.homomorphic.bfv_wire import STAGES, Rules
from tacit.privacy.homomorphic.local import Party, run_round
from tacit.privacy.secure_sum.entropy import RandomBytes, System
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.opened import Opened


@dataclass(frozen=True, slots=True)
class ThresholdBFV(Rules):
    """BFV under a key that all parties hold together, by OpenFHE in worker processes (Python 3.10; see docs).

    Guarantees:
        a round of threshold bfv opens the exact sum and is signed for
        fewer than all parties of threshold bfv open nothing

    For parties and a server that keep to the protocol: no party, and not the server, can open anything alone. A server
    that lies, or a first party that does, is not held off: there are no commitments and no checks of what is opened
    (`ThresholdRLWE` has them). Sums are exact as long as, read as signed, they stay within 32 bits, which the quantiser
    sees to. A party that vanishes after keys were exchanged ends the round.
    """

    def client(
        self,
        name: str,
        identity: Identity,
        run: bytes,
        trusted: Mapping[str, bytes],
        source: RandomBytes | None = None,
    ) -> BFVClient:
        """A party for one run, with a worker process. Randomness is OpenFHE's own, whatever `source` is."""
        return BFVClient(self, name, identity, run)

    def server(self, run: bytes, trusted: Mapping[str, bytes]) -> BFVServer:
        """The server for one run, with a worker process that has no key."""
        return BFVServer(self, run, trusted)

    def parties(
        self, cohort: Sequence[Address], run: bytes = b"in process", source: RandomBytes | None = None
    ) -> BFVParties:
        """Parties with fresh identities and their server; each has a worker process."""
        return BFVParties(self, cohort, run, source)


class BFVParties:
    """Parties with fresh identities and their server, kept over the rounds of a run."""

    __slots__ = ("clients", "server", "trusted")

    def __init__(self, rules: ThresholdBFV, names: Sequence[str], run: bytes, source: RandomBytes | None) -> None:
        identities = {name: Identity.generate(source or System()) for name in names}
        self.trusted = {name: identity.public for name, identity in identities.items()}
        self.clients: dict[str, Party] = {
            name: BFVClient(rules, name, identity, run) for name, identity in identities.items()
        }
        self.server = BFVServer(rules, run, self.trusted)

    def sum(self, round: int, vectors: Mapping[str, Array], drop: Mapping[str, str] | None = None) -> Opened:
        """One round over the parties in `vectors`, (d,) uint32 each; see `local.Parties.sum`."""
        return run_round(self.server, self.clients, STAGES, round, vectors, drop)
