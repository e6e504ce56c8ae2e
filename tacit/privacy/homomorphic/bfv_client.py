"""A party of a sum by OpenFHE: a state machine around a worker process; keys last for one round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tacit.core.values import Array, ProtocolError, Reply, Request
from tacit.privacy.homomorphic.bfv import Role
from tacit.privacy.homomorphic.bfv_wire import STAGES, Rules, Session
from tacit.privacy.homomorphic.pieces import Pieces, flat, hashed, pieces
from tacit.privacy.homomorphic.wire import KIND, listed, signed
from tacit.privacy.secure_sum.keys import Identity, check_listed
from tacit.privacy.secure_sum.wire import as_array, raw, taken


class BFVClient:
    """One party: a state machine around its worker process. A refused message leaves it where it was."""

    __slots__ = (
        *("_identity", "_key", "_name", "_rules", "_run", "_trusted"),
        *("_first", "_roster", "_role", "_round", "_slots", "_stage"),
    )

    def __init__(self, rules: Rules, name: str, identity: Identity, run: bytes, trusted: Mapping[str, bytes]) -> None:
        check_listed(identity, name, trusted)
        self._rules, self._name, self._identity, self._run = rules, name, identity, run
        self._trusted = trusted
        self._role = Role()
        self._round, self._stage, self._slots = -1, STAGES[-1], 0
        self._key, self._first, self._roster = b"", False, b""

    def __repr__(self) -> str:
        return f"BFVClient({self._name!r})"

    def answer(self, request: Request, vector: Array | None = None) -> Reply:
        """Answer one message of the server; `vector` (d,) uint32 is needed in the stage "masked".

        Raises:
            ProtocolError: out of order, of another round, too few parties, a stranger, a signature that does not hold,
                malformed, or refused by OpenFHE.
        """
        stage, got = request.kind.removeprefix(KIND), request.arrays
        if stage == STAGES[0]:
            if not self._round < request.round < 2**63:
                raise ProtocolError(f"round {request.round} cannot begin: this party has begun {self._round} already")
        elif request.round != self._round:
            raise ProtocolError(f"no round {request.round} is open at this party, so {stage!r} cannot be answered")
        elif stage not in STAGES or STAGES.index(stage) != STAGES.index(self._stage) + 1:
            raise ProtocolError(f"{stage!r} came after {self._stage!r} in round {request.round}: refused")
        session = Session(self._run, request.round)
        if stage == "lead":
            reply = self._lead(session, int(taken(got, "lead", (1,))[0]))
        elif stage == "join":
            reply = self._join(session, raw(got, "first"))
        elif stage == "masked":
            reply = self._encrypt(session, got, vector)
        else:
            reply = self._open(session, flat(got, "total"))
        self._round, self._stage = request.round, stage
        return reply

    def _lead(self, session: Session, first: int) -> Reply:
        if not self._role.alive:  # a key of another round went with it, and none of this round exists yet
            self._role = Role()
        self._first = bool(first)
        self._slots = int(self._role.call("open", b"1" if self._rules.flooding else b"0")[0])
        if not first:
            return Reply()
        self._key = self._role.call("lead")[0]
        signature = self._identity.sign(session.joined(self._name, hashed(self._key)))
        return Reply({"key": as_array(self._key), "signature": as_array(signature)})

    def _join(self, session: Session, first: bytes) -> Reply:
        if self._first:
            if first != self._key:
                raise ProtocolError("the first party's key is not the one that it made: refused")
        else:
            self._key = self._role.call("join", first)[0]
        signature = self._identity.sign(session.joined(self._name, hashed(self._key)))
        return Reply({"key": as_array(self._key), "signature": as_array(signature)})

    def _encrypt(self, session: Session, got: Mapping[str, Array], vector: Array | None) -> Reply:
        names = listed(raw(got, "names"), self._name, self._rules.least)
        keys = pieces(flat(got, "keys"))
        signatures = taken(got, "signatures", (len(names), 64))
        digests = [hashed(key) for key in keys]
        self._check(session, names, digests, signatures)
        if vector is None or vector.ndim != 1 or vector.dtype != np.uint32:
            raise ProtocolError("a vector (d,) of uint32 is needed to be summed")
        self._role.call("joint", *keys)
        self._roster = session.roster(names, digests)
        sent = Pieces()
        for ciphertext in self._role.encrypted(vector, self._slots, len(names)):
            sent.append(ciphertext)
        whole = sent.array()
        signature = self._identity.sign(session.sent(self._name, self._roster, hashed(whole)))
        return Reply({"sent": whole, "signature": as_array(signature)})

    def _check(self, session: Session, names: Sequence[str], keys: Sequence[bytes], signatures: Array) -> None:
        """Keys come `hashed`."""
        if len(keys) != len(names) or len(set(keys)) != len(keys):
            raise ProtocolError(f"{len(names)} different shares of the key were needed, one of each party")
        if keys[names.index(self._name)] != hashed(self._key):
            raise ProtocolError("the joint key would be without this party's share: refused")
        for name, key, signature in zip(names, keys, signatures, strict=True):
            signed(self._trusted.get(name), signature, session.joined(name, key), name, "share of the key")

    def _open(self, session: Session, total: Array) -> Reply:
        statement = session.statement(self._roster, hashed(total))
        parts = Pieces()
        for ciphertext in pieces(total):
            parts.append(self._role.call("partial", b"1" if self._first else b"0", ciphertext)[0])
        whole = parts.array()
        said = session.part(self._name, statement, hashed(whole))
        signatures = {"statement": self._identity.sign(statement), "signature": self._identity.sign(said)}
        return Reply({"part": whole, **{name: as_array(each) for name, each in signatures.items()}})
