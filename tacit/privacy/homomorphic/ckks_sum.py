"""CKKS under a key that all parties share, as a part of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tacit.core.values import Address
from tacit.privacy.homomorphic.chosen import ChosenClient, ChosenServer
from tacit.privacy.homomorphic.ckks_client import SharedKeyClient
from tacit.privacy.homomorphic.ckks_server import SharedKeyServer
from tacit.privacy.homomorphic.ckks_wire import STAGES, Rules
from tacit.privacy.homomorphic.local import Parties
from tacit.privacy.secure_sum.entropy import RandomBytes
from tacit.privacy.secure_sum.keys import Identity


@dataclass(frozen=True, slots=True)
class SharedKeyCKKS(Rules):
    """CKKS by TenSEAL under one key that all parties share and the server never holds. Never a default.

    **Any one party that works with the server opens every party's vector**: for institutions that trust each other and
    not the server. Where nobody may open anything alone take `ThresholdRLWE` or `ThresholdBFV`.

    Guarantees:
        a sum by ckks opens to the exact integers and is signed for
        the server of ckks relays the key and cannot read it
        a server of ckks that asks for another sum is told nothing
        whoever vanishes from a sum by ckks is left out while more than half remain

    Integers of 32 bits come out as they went in: the error of CKKS is a thousandth of a unit, it is rounded away before
    anybody says what was opened, and so tells nothing of the key. With `parts` only these parameters are encrypted; the
    rest goes through `SecAgg` with the same parties at the same time.

    Not guaranteed: anything against a party that works with the server; that parties encrypt sensible vectors; that a
    lying server cannot have a guess confirmed: what it adds to the true sum goes unnoticed where it is zero. Counting
    2,048 values of one party twice opens if all of them are 0, and is refused otherwise: a yes or no in a round.
    """

    def client(
        self,
        name: str,
        identity: Identity,
        run: bytes,
        trusted: Mapping[str, bytes],
        source: RandomBytes | None = None,
    ) -> SharedKeyClient | ChosenClient:
        """A party for one run. The key's randomness is TenSEAL's own, whatever `source` is."""
        mine = SharedKeyClient(self, name, identity, run, trusted, source)
        return ChosenClient(mine, STAGES, self.least, name, identity, run, trusted, source) if self.parts else mine

    def server(self, run: bytes, trusted: Mapping[str, bytes]) -> SharedKeyServer | ChosenServer:
        """The server for one run."""
        mine = SharedKeyServer(self, run, trusted)
        return ChosenServer(mine, STAGES, self.least, run, trusted) if self.parts else mine

    def parties(
        self, cohort: Sequence[Address], run: bytes = b"in process", source: RandomBytes | None = None
    ) -> Parties:
        """Parties with fresh identities and their server, in this process, who encrypt all of their vectors."""
        return Parties(replace(self, parts=()), cohort, run, source)
