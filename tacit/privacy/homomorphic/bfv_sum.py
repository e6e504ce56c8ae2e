"""Threshold BFV by OpenFHE as a part of a plan: every role has a worker process of its own (see `bfv`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tacit.core.values import Address
from tacit.privacy.homomorphic.bfv_client import BFVClient
from tacit.privacy.homomorphic.bfv_server import BFVServer
from tacit.privacy.homomorphic.bfv_wire import STAGES, Rules
from tacit.privacy.homomorphic.chosen import ChosenClient, ChosenServer
from tacit.privacy.homomorphic.local import Parties
from tacit.privacy.secure_sum.entropy import RandomBytes
from tacit.privacy.secure_sum.keys import Identity


@dataclass(frozen=True, slots=True)
class ThresholdBFV(Rules):
    """BFV under a key that all parties hold together, by OpenFHE in worker processes (Python 3.10; see docs).

    Guarantees:
        a round of threshold bfv opens the exact sum and is signed for
        fewer than all parties of threshold bfv open nothing

    For parties and a server that keep to the protocol: no party, and not the server, can open anything alone. Messages
    are signed, so what was changed, replayed or invented on its way is refused. A server that lies, or a first party
    that does, is not held off: there are no commitments and no checks of what is opened (`ThresholdRLWE` has them). A
    party that vanishes after keys were exchanged ends the round.

    With `parts` only these parameters are encrypted; the rest goes through `SecAgg` with the same parties at the same
    time.
    """

    def client(
        self,
        name: str,
        identity: Identity,
        run: bytes,
        trusted: Mapping[str, bytes],
        source: RandomBytes | None = None,
    ) -> BFVClient | ChosenClient:
        """A party for one run, with a worker process. OpenFHE draws its own randomness, whatever `source` is."""
        mine = BFVClient(self, name, identity, run, trusted)
        return ChosenClient(mine, STAGES, self.least, name, identity, run, trusted, source) if self.parts else mine

    def server(self, run: bytes, trusted: Mapping[str, bytes]) -> BFVServer | ChosenServer:
        """The server for one run, with a worker process that has no key."""
        mine = BFVServer(self, run, trusted)
        return ChosenServer(mine, STAGES, self.least, run, trusted) if self.parts else mine

    def parties(
        self, cohort: Sequence[Address], run: bytes = b"in process", source: RandomBytes | None = None
    ) -> Parties:
        """Parties with fresh identities and their server, who encrypt all; each has a worker process."""
        return Parties(replace(self, parts=()), cohort, run, source)
