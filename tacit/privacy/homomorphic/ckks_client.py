"""A party of a sum by CKKS: agrees with the others on a key that the server relays but cannot read, opens one sum.

- Each round every party signs a fresh X25519 key; the leader makes a CKKS key and sends it to each of the others under
  the secret that it shares with that one. The server sees ciphertexts of keys only.
- A party signs one statement a round: who is in the sum, and a hash of it. It opens when more than half of all parties
  have signed the same one, so that no two sums of one round are ever opened.
- Tags inside the ciphertexts (`ckks_tags`) show whether what was opened is the sum of exactly these parties. A server
  that asks to open one party's ciphertext, or any other sum, is told nothing.
- What is said of the sum are its integers, never the approximate values that CKKS opens.

None of it holds once a single party works with the server: it has the key.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tacit.core.values import Array, ProtocolError, Reply, Request
from tacit.privacy.homomorphic import ckks
from tacit.privacy.homomorphic.ckks_tags import LENGTH, NO_SUM, tagged, untagged
from tacit.privacy.homomorphic.ckks_wire import PARTIES, STAGES, WRAP, Rules, Session, expanded
from tacit.privacy.homomorphic.pieces import Pieces, flat, hashed, pieces
from tacit.privacy.homomorphic.wire import KIND, listed, signed
from tacit.privacy.secure_sum.entropy import RandomBytes, System
from tacit.privacy.secure_sum.keys import KEY, Identity, check_key, check_listed, pair_secret, signed_key
from tacit.privacy.secure_sum.wire import as_array, as_rows, raw, taken

_NONCE = bytes(12)  # every AES key encrypts one message


@dataclass(slots=True, repr=False)
class _Progress:
    """One round at one party; all of it, secrets included, is dropped with the round."""

    session: Session
    private: X25519PrivateKey
    signed: bytes  # its public half
    stage: int = 0  # index of the last stage that was answered
    names: tuple[str, ...] = ()
    keys: tuple[bytes, ...] = ()  # of all parties, signed
    roster: bytes = b""
    secret: bytes = b""  # of all parties
    key: ckks.Key | None = None
    size: int = 0
    survivors: tuple[str, ...] = ()
    total: bytes = b""
    statement: bytes = b""


class SharedKeyClient:
    """One party. Stages come in the order of `ckks_wire.STAGES`; a refused message leaves the state as it was."""

    __slots__ = ("_identity", "_last", "_name", "_round", "_rules", "_run", "_source", "_trusted")

    def __init__(
        self,
        rules: Rules,
        name: str,
        identity: Identity,
        run: bytes,
        trusted: Mapping[str, bytes],  # name -> Ed25519 public key, from outside the server
        source: RandomBytes | None = None,
    ) -> None:
        check_listed(identity, name, trusted)
        ckks.needed()
        self._rules, self._name, self._identity, self._run = rules, name, identity, run
        self._trusted, self._source = trusted, source or System()
        self._last = -1
        self._round: _Progress | None = None

    def __repr__(self) -> str:
        return f"SharedKeyClient({self._name!r})"

    def answer(self, request: Request, vector: Array | None = None) -> Reply:
        """Answer one message of the server; `vector` (d,) uint32 is needed in the stage "masked".

        Raises:
            ProtocolError: not a stage of this sum, out of order, of another round, or anything that the stage refuses:
                too few parties, a stranger, a signature that does not hold, a key that was not made for this party, a
                sum that is not that of the parties who are said to be in it.
        """
        stage, got = request.kind.removeprefix(KIND), request.arrays
        if stage == STAGES[0]:
            return self._advertise(request.round)
        state = self._round
        if state is None or state.session.round != request.round:
            raise ProtocolError(f"no round {request.round} is open at this party, so {stage!r} cannot be answered")
        if stage not in STAGES or STAGES.index(stage) != state.stage + 1:
            raise ProtocolError(f"{stage!r} came after {STAGES[state.stage]!r} in round {request.round}: refused")
        if stage == "lead":
            reply = self._lead(state, got)
        elif stage == "masked":
            reply = self._encrypt(state, got, vector)
        elif stage == "check":
            reply = self._check(state, raw(got, "survivors"), taken(got, "total", (32,)).tobytes())
        else:
            reply = self._open(state, got)
            self._round = None
        state.stage += 1
        return reply

    def _advertise(self, round: int) -> Reply:
        if not self._last < round < 2**63:
            raise ProtocolError(f"round {round} cannot begin: this party has begun round {self._last} already")
        private = X25519PrivateKey.from_private_bytes(self._source.bytes(32))
        signed = signed_key(self._identity, private, self._name, self._run, round)
        self._last, self._round = round, _Progress(Session(self._run, round), private, signed)
        return Reply({"key": as_array(signed)})

    def _lead(self, state: _Progress, got: Mapping[str, Array]) -> Reply:
        names = listed(raw(got, "names"), self._name, self._rules.least)
        if len(names) > PARTIES:
            raise ProtocolError(f"a sum by CKKS of {len(names)} parties is refused: at most {PARTIES}")
        rows = taken(got, "keys", (len(names), KEY))
        keys = tuple(row.tobytes() for row in rows)
        round = state.session.round
        for name, key in zip(names, keys, strict=True):
            check_key(key, name, self._trusted.get(name), self._run, round)
        if keys[names.index(self._name)] != state.signed:
            raise ProtocolError("the list of keys holds another than the one that this party gave")
        roster = state.session.roster(names, hashed(rows))
        reply = Reply()
        if state.session.leader(names) == self._name:
            state.secret, state.key = self._source.bytes(32), ckks.Key()
            sealer = AESGCM(expanded(state.secret, "key", roster))
            wraps = [
                self._pair(state, name, key, roster).encrypt(_NONCE, state.secret, roster)
                for name, key in zip(names, keys, strict=True)
                if name != self._name
            ]
            wraps.insert(names.index(self._name), bytes(WRAP))  # none to itself
            sealed = sealer.encrypt(_NONCE, state.key.secret(), roster)
            reply = Reply({"sealed": as_array(sealed), "wraps": as_rows(wraps, WRAP)})
        state.names, state.keys, state.roster = tuple(names), keys, roster
        return reply

    def _pair(self, state: _Progress, peer: str, key: bytes, roster: bytes) -> AESGCM:
        """The cipher for what the leader sends to one party."""
        secret = pair_secret(state.private, self._name, peer, key, self._run, state.session.round)
        return AESGCM(expanded(secret, "wrap", roster))

    def _encrypt(self, state: _Progress, got: Mapping[str, Array], vector: Array | None) -> Reply:
        if vector is None or vector.ndim != 1 or vector.dtype != np.uint32:
            raise ProtocolError("a vector (d,) of uint32 is needed to be summed")
        secret, key = state.secret, state.key
        if key is None:
            secret, key = self._received(state, taken(got, "wrap", (WRAP,)).tobytes(), raw(got, "sealed"))
        sent = Pieces()
        for ciphertext in key.encrypt_integers(tagged(secret, self._name, vector)):
            sent.append(ciphertext)
        whole = sent.array()
        signature = self._identity.sign(state.session.sent(self._name, state.roster, hashed(whole)))
        state.secret, state.key, state.size = secret, key, len(vector)
        return Reply({"sent": whole, "signature": as_array(signature)})

    def _received(self, state: _Progress, wrap: bytes, sealed: bytes) -> tuple[bytes, ckks.Key]:
        leader = state.session.leader(state.names)
        pair = self._pair(state, leader, state.keys[state.names.index(leader)], state.roster)
        try:
            secret = pair.decrypt(_NONCE, wrap, state.roster)
            written = AESGCM(expanded(secret, "key", state.roster)).decrypt(_NONCE, sealed, state.roster)
        except InvalidTag:
            raise ProtocolError(f"the key of this round was not made by {leader!r} for this party: refused") from None
        return secret, ckks.Key(written)

    def _check(self, state: _Progress, joined: bytes, total: bytes) -> Reply:
        survivors = listed(joined, self._name, self._rules.least)
        if not set(survivors) <= set(state.names):
            raise ProtocolError("the sum is said to hold a party that is not in this round")
        statement = state.session.statement(state.roster, survivors, total)
        state.survivors, state.total, state.statement = tuple(survivors), total, statement
        return Reply({"signature": as_array(self._identity.sign(statement))})

    def _open(self, state: _Progress, got: Mapping[str, Array]) -> Reply:
        signers = listed(raw(got, "signers"), self._name, self._rules.least)
        if not set(signers) <= set(state.survivors) or 2 * len(signers) <= len(state.names):
            raise ProtocolError(f"{len(signers)} signatures of {len(state.names)} parties are too few to open a sum")
        for name, signature in zip(signers, taken(got, "signatures", (len(signers), 64)), strict=True):
            signed(self._trusted.get(name), signature, state.statement, name, "statement")
        total = flat(got, "total")
        if not hmac.compare_digest(hashed(total), state.total):
            raise ProtocolError("the sum to open is not the one that was announced")
        values = self._opened(state, pieces(total))
        said = state.session.opened(self._name, state.statement, hashed(values))
        return Reply({"opened": values, "signature": as_array(self._identity.sign(said))})

    def _opened(self, state: _Progress, total: Sequence[memoryview]) -> Array:
        """(d,) uint32. All of it is opened before anything is said, and every refusal reads the same.

        The server hears the reason. Whether a sum overflowed, is no integer or fits no tags would tell it a bit of what
        it made up, say of one party's ciphertext times a number of its choice.
        """
        assert state.key is not None
        out = np.zeros(state.size + LENGTH, np.int64)
        fits = len(total) == -(-len(out) // ckks.SLOTS)
        for place, ciphertext in enumerate(total):
            part = out[place * ckks.SLOTS : (place + 1) * ckks.SLOTS]
            try:
                found = state.key.open_integers(ciphertext)
            except ProtocolError:
                found = np.zeros(0, np.int64)
            if found.shape == part.shape:
                part[:] = found
            else:
                fits = False
        values = untagged(state.secret, state.survivors, out)
        if not fits:
            raise ProtocolError(NO_SUM)
        return values.astype(np.uint32)
