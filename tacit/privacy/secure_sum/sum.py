"""The secure sum as a part of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tacit.core.protocols import Shared, Transform
from tacit.core.values import Address
from tacit.privacy.proofs.client import ProvenClient
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

    With a `proof` clients commit to their integers before any masked vector is taken, and with "norm" prove that these
    keep the plan's L2 bound; see `proofs.server.ProvenServer`, experimental.

    Not guaranteed: that clients submit sensible vectors (but for their norm, where it is proven); that sums of many
    rounds with changing members reveal nothing (that is what noise is for); that a client colluding with the server
    cannot make a round fail.
    """

    def client(
        self,
        name: str,
        identity: Identity,
        run: bytes,
        trusted: Mapping[str, bytes],
        source: RandomBytes | None = None,
    ) -> Client | ProvenClient:
        """A client for one run. `run` names the run, the same for all; `trusted` lists everybody's Ed25519 key."""
        return (ProvenClient if self.proof else Client)(self, name, identity, run, trusted, source)

    def refuses(self, protect: Sequence[Transform]) -> str | None:
        """Why contributions that go through these transforms cannot be proven as `proof` asks; or None."""
        if not self.proof:
            return None
        for transform in protect:
            if hasattr(getattr(transform, "compress", transform), "grid"):
                return (
                    f"{transform!r} packs several numbers into one word, which is no vector that anything could be "
                    "proven of: take another compression, or no proof"
                )
        if self.proof == "norm" and protect and isinstance(protect[-1], Shared):
            return (
                f"{protect[-1]!r} has each party add its share of the noise to what is summed, and noise has no bound "
                'that could be proven: a proof of the norm would have to let through as much. Take proof = "opening", '
                "or a Gaussian that the server adds"
            )
        if self.proof == "norm" and all(transform.bound is None for transform in protect):
            return 'proof = "norm" proves that a contribution keeps its bound: put a Clip or a Gaussian into `protect`'
        return None

    def server(self, run: bytes, trusted: Mapping[str, bytes]) -> Groups:
        """The server for one run, over `groups` groups of clients."""
        return Groups(self, run, trusted)

    def parties(
        self, cohort: Sequence[Address], run: bytes = b"in process", source: RandomBytes | None = None
    ) -> Parties:
        """Clients with fresh identities and their server, in this process. A seeded `source` protects nobody."""
        return Parties(self, cohort, run, source)
