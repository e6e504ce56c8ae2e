"""A party of a homomorphic sum: a state machine that opens one sum per key, and only one that it has checked.

The scheme is in `threshold`. Around it, against a server that lies and parties that help it:

- Shares of the public key are committed to and signed before any is shown: nobody can choose one that cancels others.
- Hashes of all ciphertexts are signed before any is sent: nobody can send one that cancels or multiplies another's.
- A party opens a sum only after a linear fingerprint, drawn when all of them were fixed, has shown that it is the sum
  of exactly those ciphertexts. A server that asks to open a single party's ciphertext, or any other sum, is refused.
  A party that helps such a server can lie about its own fingerprint; with `audit` everybody sees all masks instead.
- Keys live for one round. A ciphertext of another round is noise under them, and what a party did not open in its
  round nobody will ever open.

Differs from "Multiparty Homomorphic Encryption from Ring-Learning-With-Errors" (Mouchet et al., PETS 2021,
https://eprint.iacr.org/2020/304), where all parties follow the protocol and keys last: these steps are own additions.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError, Reply, Request
from tacit.privacy.homomorphic import threshold, wire
from tacit.privacy.homomorphic.fingerprint import ROWS, added, fingerprint
from tacit.privacy.homomorphic.ring import Ring
from tacit.privacy.homomorphic.rules import Rules
from tacit.privacy.randomness import Stream
from tacit.privacy.secure_sum.entropy import RandomBytes, System
from tacit.privacy.secure_sum.keys import Identity, check_listed
from tacit.privacy.secure_sum.wire import as_array, raw, taken


@dataclass(slots=True, repr=False)
class _Progress:
    """One round at one party; all of it, secrets included, is dropped with the round."""

    session: wire.Session
    secret: threshold.Secret
    share: Array
    stage: int = 0  # index of the last stage that was answered
    names: list[str] = field(default_factory=list)
    commitments: dict[str, bytes] = field(default_factory=dict)
    roster: bytes = b""
    bits: int = 0
    size: int = 0  # values
    sent: threshold.Ciphertext | None = None  # until it is sent
    mask: Array = field(default_factory=lambda: np.zeros(0, np.uint32))  # of what was sent, until its fingerprint is
    digest: bytes = b""
    digests: Array = field(default_factory=lambda: np.zeros((0, 32), np.uint8))
    total: bytes = b""
    statement: bytes = b""


class Client:
    """One party. Stages come in the order of `wire.STAGES`; a refused message leaves the state as it was."""

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
        self._rules, self._name, self._identity, self._run = rules, name, identity, run
        self._trusted, self._source = trusted, source or System()
        self._last = -1
        self._round: _Progress | None = None

    def __repr__(self) -> str:
        return f"Client({self._name!r})"

    def answer(self, request: Request, vector: Array | None = None) -> Reply:
        """Answer one message of the server; `vector` (d,) uint32 is needed in the stage "masked".

        Raises:
            ProtocolError: not a stage of a homomorphic sum, out of order, of another round, or anything that the stage
                refuses: too few parties, a stranger, a signature or commitment that does not hold, a ring too small, a
                sum that is not that of the committed ciphertexts.
        """
        stage, got = request.kind.removeprefix(wire.KIND), request.arrays
        if stage == "commit":
            return self._commit(request.round, taken(got, "ring", (2,), np.int64))
        state = self._round
        if state is None or state.session.round != request.round:
            raise ProtocolError(f"no round {request.round} is open at this party, so {stage!r} cannot be answered")
        if stage not in wire.STAGES or wire.STAGES.index(stage) != state.stage + 1:
            raise ProtocolError(f"{stage!r} came after {wire.STAGES[state.stage]!r} in round {request.round}: refused")
        if stage == "keys":
            reply = self._keys(state, raw(got, "names"), got)
        elif stage == "masked":
            reply = self._encrypt(state, raw(got, "names"), got, vector)
        elif stage == "upload":
            reply = self._upload(state, got)
        elif stage == "check":
            reply = self._check(state, taken(got, "total", (32,)).tobytes())
        else:
            reply = self._open(state, got)
            self._round = None
        state.stage += 1
        return reply

    def _commit(self, round: int, shape: Array) -> Reply:
        if not self._last < round < 2**63:
            raise ProtocolError(f"round {round} cannot begin: this party has begun round {self._last} already")
        try:
            ring = Ring(*shape.tolist())
        except PlanError as error:
            raise ProtocolError(f"round {round} is refused: {error}") from None
        session = wire.Session(self._run, round, ring)
        secret, share = threshold.generate(ring, session.seed, self._stream())
        self._last, self._round = round, _Progress(session, secret, share)
        commitment = session.commitment(self._name, share)
        signature = self._identity.sign(session.committed(self._name, commitment))
        return Reply({"commitment": as_array(commitment), "signature": as_array(signature)})

    def _stream(self) -> Stream:
        return Stream(self._source.bytes(32))

    def _keys(self, state: _Progress, joined: bytes, got: Mapping[str, Array]) -> Reply:
        names = wire.listed(joined, self._name, self._rules.least)
        commitments = taken(got, "commitments", (len(names), 32))
        signatures = taken(got, "signatures", (len(names), 64))
        session = state.session
        for name, commitment, signature in zip(names, commitments, signatures, strict=True):
            message = session.committed(name, commitment.tobytes())
            wire.signed(self._trusted.get(name), signature, message, name, "commitment to a key")
        mine = commitments[names.index(self._name)].tobytes()
        if not hmac.compare_digest(mine, session.commitment(self._name, state.share)):
            raise ProtocolError("the list of commitments holds another than the one that this party gave")
        state.commitments = {name: row.tobytes() for name, row in zip(names, commitments, strict=True)}
        return Reply({"key": state.share})

    def _encrypt(self, state: _Progress, joined: bytes, got: Mapping[str, Array], vector: Array | None) -> Reply:
        names, ring = wire.listed(joined, self._name, self._rules.least), state.session.ring
        if vector is None or vector.ndim != 1 or vector.dtype != np.uint32:
            raise ProtocolError("a vector (d,) of uint32 is needed to be summed")
        keys = taken(got, "keys", (len(names), ring.primes, ring.degree), np.uint32)
        for name, share in zip(names, keys, strict=True):
            promise = state.commitments.get(name, b"")
            if not hmac.compare_digest(promise, state.session.commitment(name, share)):
                raise ProtocolError(f"the share of the key from {name!r} is not the one that it committed to")
        bits = self._rules.noise(ring, len(names), len(vector))
        key = threshold.joint(ring, state.session.seed, list(keys))
        sent = threshold.encrypt(key, vector, self._stream())
        roster = state.session.roster(names, keys)
        digest = state.session.digest(self._name, roster, wire.hashed(sent.body), sent.mask)
        signature = self._identity.sign(state.session.promised(self._name, roster, digest))
        state.names, state.roster, state.bits, state.digest = names, roster, bits, digest
        state.sent, state.mask, state.size = sent, sent.mask, len(vector)
        return Reply({"digest": as_array(digest), "signature": as_array(signature)})

    def _upload(self, state: _Progress, got: Mapping[str, Array]) -> Reply:
        digests = taken(got, "digests", (len(state.names), 32))
        signatures = taken(got, "signatures", (len(state.names), 64))
        for name, digest, signature in zip(state.names, digests, signatures, strict=True):
            message = state.session.promised(name, state.roster, digest.tobytes())
            wire.signed(self._trusted.get(name), signature, message, name, "hash of a ciphertext")
        mine = digests[state.names.index(self._name)].tobytes()
        if not hmac.compare_digest(mine, state.digest):
            raise ProtocolError("the list of ciphertexts holds another than the one that this party made")
        state.digests = digests.copy()
        sent, state.sent = state.sent, None
        assert sent is not None
        return Reply({"body": sent.body, "mask": sent.mask})

    def _check(self, state: _Progress, total: bytes) -> Reply:
        session = state.session
        statement = session.statement(state.roster, state.digests, total)
        print = fingerprint(session.ring, state.mask, state.size, statement)
        state.total, state.statement, state.mask = total, statement, np.zeros(0, np.uint32)
        return Reply(
            {
                "print": print,
                "statement": as_array(self._identity.sign(statement)),
                "signature": as_array(self._identity.sign(session.printed(self._name, statement, print))),
            }
        )

    def _open(self, state: _Progress, got: Mapping[str, Array]) -> Reply:
        ring, n, size = state.session.ring, len(state.names), state.size
        mask = taken(got, "mask", (ring.words(size),), np.uint32)
        prints = taken(got, "prints", (n, ROWS, ring.primes), np.uint32)
        signatures = taken(got, "signatures", (n, 64))
        for name, print, signature in zip(state.names, prints, signatures, strict=True):
            message = state.session.printed(name, state.statement, print)
            wire.signed(self._trusted.get(name), signature, message, name, "fingerprint")
        if not hmac.compare_digest(wire.hashed(mask), state.total):
            raise ProtocolError("the sum to open is not the one that was announced")
        threshold.checked_mask(mask, ring, size)
        if not np.array_equal(fingerprint(ring, mask, size, state.statement), added(ring, prints)):
            raise ProtocolError("what is to be opened is not the sum of what the parties encrypted: refused")
        if self._rules.audit:
            self._audit(state, mask, got)
        return Reply({"part": threshold.partial(state.secret, mask, size, state.bits, self._stream())})

    def _audit(self, state: _Progress, mask: Array, got: Mapping[str, Array]) -> None:
        """Add up by oneself what the others had committed to."""
        session, n, size = state.session, len(state.names), state.size
        masks = taken(got, "masks", (n, session.ring.words(size)), np.uint32)
        bodies = taken(got, "bodies", (n, 32))
        total = threshold.zero(session.ring, size).mask
        for name, digest, body, one in zip(state.names, state.digests, bodies, masks, strict=True):
            if not hmac.compare_digest(session.digest(name, state.roster, body.tobytes(), one), digest.tobytes()):
                raise ProtocolError(f"the mask of {name!r} is not the one that it committed to")
            threshold.add_masks(total, threshold.checked_mask(one, session.ring, size), session.ring, size)
        if not np.array_equal(total, mask):
            raise ProtocolError("what is to be opened is not the sum of what the parties encrypted: refused")
