"""The homomorphic sum as a part of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tacit.core.values import Address
from tacit.privacy.homomorphic import wire
from tacit.privacy.homomorphic.chosen import ChosenClient, ChosenServer
from tacit.privacy.homomorphic.client import Client
from tacit.privacy.homomorphic.local import Parties
from tacit.privacy.homomorphic.rules import Rules
from tacit.privacy.homomorphic.server import Server
from tacit.privacy.secure_sum.entropy import RandomBytes
from tacit.privacy.secure_sum.keys import Identity


@dataclass(frozen=True, slots=True)
class ThresholdRLWE(Rules):
    """Encryption from ring learning with errors under a key that all parties hold together; own code, unreviewed.

    For a few institutions that are always there: one that vanishes after keys were exchanged ends the round. Where
    parties come and go, or are many, take `SecAgg`: it is cheaper and survives dropouts.

    Guarantees:
        the sum opens to exactly the sum of all vectors mod 2^32
        without one share of the key what was encrypted is uniform noise
        the noise of honest parties stays within the budget for up to a thousand parties
        a key opens one sum and is forgotten
        only the sum of all committed ciphertexts is opened
        a share of the key that was not committed to is refused
        what was tampered with or has a wrong length or modulus is refused by name

    Holds against a server that lies, alone; and against a server and all parties but two that pool what they know, but
    keep to the protocol. With `audit` also against a lying server together with lying parties: every party then
    receives the masks of all others, 16 to 20 bytes a value from each. All of it as far as learning with errors over
    the ring is hard (128 bits; `ring` and `parameters` say why), SHA-256 behaves like a random function, and parties
    know each other's identities.

    With `parts` only these parameters are encrypted; the rest goes through `SecAgg` with the same parties at the same
    time. Nothing is ever sent in the clear.

    Not guaranteed: that parties encrypt sensible vectors; that the server announces the sum that it learned; that a
    party cannot end the round; constant time.
    """

    def client(
        self,
        name: str,
        identity: Identity,
        run: bytes,
        trusted: Mapping[str, bytes],
        source: RandomBytes | None = None,
    ) -> Client | ChosenClient:
        """A party for one run. `run` names the run, the same for all; `trusted` lists everybody's Ed25519 key."""
        mine = Client(self, name, identity, run, trusted, source)
        return ChosenClient(mine, wire.STAGES, self.least, name, identity, run, trusted, source) if self.parts else mine

    def server(self, run: bytes, trusted: Mapping[str, bytes]) -> Server | ChosenServer:
        """The server for one run."""
        mine = Server(self, run, trusted)
        return ChosenServer(mine, wire.STAGES, self.least, run, trusted) if self.parts else mine

    def parties(
        self, cohort: Sequence[Address], run: bytes = b"in process", source: RandomBytes | None = None
    ) -> Parties:
        """Parties with fresh identities and their server, in this process, who encrypt all of their vectors.

        A seeded `source` protects nobody.
        """
        return Parties(replace(self, parts=()), cohort, run, source)
