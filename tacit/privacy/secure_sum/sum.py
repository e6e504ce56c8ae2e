"""The secure sum as a part of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tacit.core.values import Address
from tacit.privacy.secure_sum.client import Client
from tacit.privacy.secure_sum.entropy import RandomBytes
from tacit.privacy.secure_sum.groups import Groups
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.local import Parties
from tacit.privacy.secure_sum.rules import Rules


@dataclass(frozen=True, slots=True)
class SecAgg(Rules):
    """Pairwise masks with dropout recovery, exact mod 2^32; see `client` for the protocol and its sources.

    Guarantees (the sum mod 2^32 of the survivors' vectors is all that the server and the clients colluding with it
    learn), with a chance of failure of at most 2^-secrecy for every graph that is drawn (see `graph`), where the share
    `colluding` of the clients works with
    - a server that follows the protocol and keeps everything it sees, always. With `against = "semi-honest"` this is
      all, and the message in which clients endorse who survived is left out;
    - a server that also forges, replays or withholds messages and tells clients different tales about who dropped out,
      with `against = "malicious"`, and with "auto" where `resists_lying` says so: up to 100 clients. 2 t then exceeds
      the neighbours and the colluding ones among them, so that nobody can collect t shares of both secrets of anybody.

    With `groups` the same holds for each group: each group's sum is opened, of `minimum` contributions or more.

    Beyond 100 clients the ring is shuffled by a hash of the run's name: a server that may choose that name after it
    knows who colludes can try many. Let the name be fixed by somebody else, or before clients join.

    A round is exact while no more than the share `dropout` vanishes, whenever they do (a chance of failure of at most
    2^-correctness per round), and often beyond; else it ends in `SecureSumAborted`. In a cohort of a handful, where not
    both can be had, the threshold is chosen for secrecy and a single dropout may end the round.

    Guarantees:
        the sum is exact or the round ends by name, at whatever message a client stops
        a round that ended opens nobody
        clients and neighbours get the numbers that the bounds ask for, in every mode
        a malicious server cannot have two tales endorsed
        a group is opened only with the minimum of contributions

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

    def server(self, run: bytes, trusted: Mapping[str, bytes]) -> Groups:
        """The server for one run, over `groups` groups of clients."""
        return Groups(self, run, trusted)

    def parties(
        self, cohort: Sequence[Address], run: bytes = b"in process", source: RandomBytes | None = None
    ) -> Parties:
        """Clients with fresh identities and their server, in this process. A seeded `source` protects nobody."""
        return Parties(self, cohort, run, source)
