"""A party of a sum by OpenFHE: a state machine around a worker process; keys last for one round."""

from __future__ import annotations

import numpy as np

from tacit.core.values import Array, ProtocolError, Reply, Request
from tacit.privacy.homomorphic.bfv import Role
from tacit.privacy.homomorphic.bfv_wire import STAGES, Rules, packed, pieces, statement
from tacit.privacy.homomorphic.wire import KIND
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.wire import as_array, raw


class BFVClient:
    """One party: a state machine around its worker process."""

    __slots__ = ("_identity", "_key", "_name", "_role", "_round", "_rules", "_run", "_stage")

    def __init__(self, rules: Rules, name: str, identity: Identity, run: bytes) -> None:
        self._rules, self._name, self._identity, self._run = rules, name, identity, run
        self._role = Role()
        self._round, self._stage, self._key = -1, "open", b""

    def __repr__(self) -> str:
        return f"BFVClient({self._name!r})"

    def answer(self, request: Request, vector: Array | None = None) -> Reply:
        """Answer one message of the server; `vector` (d,) uint32 is needed in the stage "masked".

        Raises:
            ProtocolError: out of order, too few parties, malformed, or refused by OpenFHE.
        """
        stage, got = request.kind.removeprefix(KIND), request.arrays
        begins = stage == "lead" or (stage == "join" and self._round < request.round)
        after = stage in STAGES and not begins and STAGES.index(stage) == STAGES.index(self._stage) + 1
        if not (request.round > self._round if begins else after and request.round == self._round):
            raise ProtocolError(
                f"{stage!r} of round {request.round} came after {self._stage!r} of {self._round}: refused"
            )
        if stage == "lead":
            context = self._role.call("open", b"1" if self._rules.flooding else b"0")[0]
            self._key = self._role.call("lead")[0]
            reply = Reply({"context": as_array(context), "key": as_array(self._key)})
        elif stage == "join":
            if begins:
                self._role.call("load", raw(got, "context"))
                self._key = self._role.call("join", raw(got, "first"))[0]
            reply = Reply({"key": as_array(self._key)})
        elif stage == "masked":
            reply = self._encrypt(pieces(raw(got, "keys")), vector)
        else:
            reply = self._open(request.round, raw(got, "total"))
        self._round, self._stage = request.round, stage
        return reply

    def _encrypt(self, keys: list[bytes], vector: Array | None) -> Reply:
        if len(set(keys)) < self._rules.least:
            raise ProtocolError(f"a sum of {len(set(keys))} parties is refused: the minimum is {self._rules.least}")
        if self._key not in keys:
            raise ProtocolError("the joint key would be without this party's share: refused")
        if vector is None or vector.ndim != 1 or vector.dtype != np.uint32:
            raise ProtocolError("a vector (d,) of uint32 is needed to be summed")
        self._role.call("joint", *keys)
        lead = b"1" if keys[0] == self._key else b"0"
        self._key = lead  # its share of the public key has served
        return Reply({"sent": packed([b"sent", *self._role.call("encrypt", vector.astype("<u4").tobytes())])})

    def _open(self, round: int, total: bytes) -> Reply:
        part = self._role.call("partial", self._key, *pieces(total)[1:])
        signature = self._identity.sign(statement(self._run, round, total))
        return Reply({"part": packed([b"part", *part]), "signature": as_array(signature)})
