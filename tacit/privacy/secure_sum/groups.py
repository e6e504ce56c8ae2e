"""A round cut into groups, each with a secure sum of its own, so that a robust rule can compare the groups.

R. Velicheti, D. Xia, O. Koyejo: "Secure Byzantine-Robust Distributed Learning via Clustering", 2021,
https://arxiv.org/abs/2110.02940. Differs from the paper: groups change with the epoch's keys and not in every round,
since sums of changing groups tell more of their members.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError, Reply, Request
from tacit.privacy.proofs.errors import OpeningError
from tacit.privacy.proofs.server import ProvenServer
from tacit.privacy.proofs.terms import Terms
from tacit.privacy.secure_sum.keys import pack
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted
from tacit.privacy.secure_sum.rules import Rules
from tacit.privacy.secure_sum.server import Server


def partition(names: Sequence[str], groups: int, run: bytes, epoch: int) -> list[list[str]]:
    """The names in `groups` groups whose sizes differ by one at most, by the order of a hash of run, epoch and name."""
    seed = hashlib.sha256(pack("groups", run, epoch)).digest()
    order = sorted(names, key=lambda name: (hashlib.blake2b(name.encode(), key=seed, digest_size=16).digest(), name))
    return [[order[place] for place in part.tolist()] for part in np.array_split(np.arange(len(order)), groups)]


class Groups:
    """The server of a round in groups: used as a `Server`, but `finish` gives a sum for each group that came through.

    A group that has too few clients left, or whose sum is not what was committed to, is given up, in words in `lost`;
    the others go on.
    """

    __slots__ = ("_clients", "_group", "_rules", "_run", "_servers", "_terms", "_trusted", "lost")

    def __init__(self, rules: Rules, run: bytes, trusted: Mapping[str, bytes]) -> None:
        self._rules, self._run, self._trusted = rules, run, trusted
        self._terms, self._clients = Terms(), dict[str, int]()
        self._servers = {number: self._server() for number in range(rules.groups)}
        self._group: dict[str, int] = {}
        self.lost: list[str] = []  # why groups were given up in this round

    def _server(self) -> Server | ProvenServer:
        if not self._rules.proof:
            return Server(self._rules, self._run, self._trusted)
        proven = ProvenServer(self._rules, self._run, self._trusted)
        proven.agree(self._terms, self._clients)
        return proven

    def agree(self, terms: Terms, clients: Mapping[str, int]) -> None:
        """What is proven in the rounds that start from now on; see `ProvenServer.agree`."""
        self._terms, self._clients = terms, dict(clients)

    @property
    def excluded(self) -> dict[str, str]:
        """Client -> why its commitment or proof is refused, in this round; of the groups that are not lost."""
        proven = [server for server in self._servers.values() if isinstance(server, ProvenServer)]
        return {name: why for server in proven for name, why in server.excluded.items()}

    @property
    def checked(self) -> int:
        """How many clients' commitments and proofs were checked in this round, in the groups that are not lost."""
        return sum(server.checked for server in self._servers.values() if isinstance(server, ProvenServer))

    @property
    def stage(self) -> str:
        """The stage whose replies are awaited; "finish" after the last."""
        return next(iter(self._servers.values())).stage

    def start(self, round: int, cohort: Sequence[str], size: int) -> None:
        """Begin a round that sums (size,) vectors of this cohort, in groups.

        Raises:
            SecureSumAborted: no group has the minimum of clients.
            PlanError: the rules cannot hold for so many clients in a group.
        """
        parts = partition(cohort, self._rules.groups, self._run, self._rules.epoch(round))
        self._servers = {number: self._server() for number in range(len(parts))}
        self._group = {name: number for number, part in enumerate(parts) for name in part}
        self.lost = []
        self._each(lambda number, server: server.start(round, parts[number], size))

    def _each(self, act: Callable[[int, Server | ProvenServer], None]) -> None:
        """Do the same in every group; give up those that it ends.

        Raises:
            SecureSumAborted: it ended the last one.
            OpeningError: so, by a sum that is not what was committed to.
        """
        for number, server in list(self._servers.items()):
            try:
                act(number, server)
            except (SecureSumAborted, OpeningError) as why:
                self.lost.append(str(why))
                if len(self._servers) == 1:
                    raise type(why)("; ".join(dict.fromkeys(self.lost))) from None
                del self._servers[number]

    def requests(self) -> dict[str, Request]:
        """What to send, to whom, in this stage."""
        return {name: asked for server in self._servers.values() for name, asked in server.requests().items()}

    def receive(self, sender: str, reply: Reply) -> None:
        """Take one client's reply to the open stage.

        Raises:
            ProtocolError: from a client that was not asked or has answered, or malformed.
        """
        server = self._servers.get(self._group.get(sender, -1))
        if server is None:
            raise ProtocolError(f"{sender!r} was not asked in this stage ({self.stage}), or answers too late")
        server.receive(sender, reply)

    def close(self) -> None:
        """End the open stage with the replies that came.

        Raises:
            SecureSumAborted: no group has enough clients left.
        """
        self._each(lambda number, server: server.close())

    def finish(self) -> list[Opened]:
        """The sums of the groups that came through, masks off.

        Raises:
            SecureSumAborted: none did.
            OpeningError: none did, the last since it is not the sum of what was committed to.
        """
        opened: list[Opened] = []
        self._each(lambda number, server: opened.append(server.finish()))
        return opened


def robust(rule: Callable[[Array], Array], sums: Array, counts: Array) -> Array:
    """(d,) what a rule over updates (n, d) -> (d,) makes of the groups' means, on the scale of the sum of all.

    Args:
        rule: an aggregator, whose result is on the scale of the sum of its n rows.
        sums: (groups, d) float64.
        counts: (groups,) contributions in each, above 0.

    Raises:
        PlanError: no groups.
    """
    if len(sums) == 0:
        raise PlanError("a robust rule needs at least one group")
    return np.asarray(rule(sums / counts[:, None]) * (counts.sum() / len(sums)))
