"""The secure sum as a part of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tacit.core.values import Address
from tacit.privacy.secure_sum.client import Client
from tacit.privacy.secure_sum.entropy import RandomBytes
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.local import Parties
from tacit.privacy.secure_sum.rules import Rules
from tacit.privacy.secure_sum.server import Server


@dataclass(frozen=True, slots=True)
class SecAgg(Rules):
    """Pairwise masks with dropout recovery, exact mod 2^32; see `client` for the protocol and its sources.

    Guarantees (the sum mod 2^32 of the survivors' vectors is all that the server and the clients colluding with it
    learn), with a chance of failure of at most 2^-40 for every graph that is drawn (see `graph`), where the share
    `colluding` of the clients works with
    - a server that follows the protocol and keeps everything it sees, always;
    - a server that also forges, replays or withholds messages and tells clients different tales about who dropped out,
      where `resists_lying` says so: with the defaults up to 100 clients, beyond where `lying` is set. 2 t then exceeds
      the neighbours and the colluding ones among them, so that nobody can collect t shares of both secrets of anybody.

    Beyond 100 clients the ring is shuffled by a hash of the run's name: a server that may choose that name after it
    knows who colludes can try many. Let the name be fixed by somebody else, or before clients join.

    A round is exact while no more than the share `dropout` vanishes, whenever they do (a chance of failure of at most
    2^-30 per round), and often beyond; else it ends in `SecureSumAborted`. In a cohort of a handful, where not
    both can be had, the threshold is chosen for secrecy and a single dropout may end the round.

    Not guaranteed: that clients submit sensible vectors; that sums of many rounds with changing members reveal nothing
    (that is what noise is for); that a client colluding with the server cannot make a round fail.
    """

    def client(
        self,
        name: str,
        identity: Identity,
        run: bytes,
        trusted: Mapping[str, bytes],
        source: RandomBytes | None = None,
    ) -> Client:
        """A client for one run. `run` names the run, the same for all; `trusted` lists everybody's Ed25519 key."""
        return Client(self, name, identity, run, trusted, source)

    def server(self, run: bytes, trusted: Mapping[str, bytes]) -> Server:
        """The server for one run."""
        return Server(self, run, trusted)

    def parties(
        self, cohort: Sequence[Address], run: bytes = b"in process", source: RandomBytes | None = None
    ) -> Parties:
        """Clients with fresh identities and their server, in this process. A seeded `source` protects nobody."""
        return Parties(self, cohort, run, source)
