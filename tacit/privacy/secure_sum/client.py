"""A client of the secure sum: a state machine that checks every message and never tells both secrets of a neighbour.

K. Bonawitz et al.: "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017,
https://eprint.iacr.org/2017/281; J. H. Bell et al., CCS 2020, https://eprint.iacr.org/2020/704 (neighbours in place of
everybody). A client uploads x + PRG(b) + sum of +-PRG(s_ij) over its neighbours j; b is opened if it survives, the s_ij
if it drops out, never both.

Differs from the papers:
- No mask key pair. There, each round brings a fresh X25519 key pair whose private half is shared with the neighbours.
  Here the seeds s_ij come by HKDF from the pair's secret of the epoch, the round's roster and a fresh nonce of each of
  the two; the client hands the server its k seeds encrypted under a fresh one-time key R, and it is R that is shared.
  Opening R opens s_ij of that round and, HKDF being one-way, of no other: what opening the fresh private key does
  there. It saves a key generation, k key agreements and k signature checks per client and round (40 + 120 us each).
- A survivor statement is endorsed by an HMAC tag to each neighbour, under the round's pair key, beside one Ed25519
  signature for the record: neighbours are the only ones who need convincing, and a tag is 50 times cheaper to check.
- Shares are opened on arrival, so that a client notices a broken one before it uploads. They are bound to run, round,
  roster, both ends and both nonces.
- Keys last for an epoch (`Rules.renew`): whoever steals a client's memory together with the server's transcripts of the
  epoch can open that client's uploads of the epoch, not of earlier ones.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tacit.core.values import Array, PlanError, ProtocolError, Reply, Request
from tacit.privacy.secure_sum import keys, masks, shamir, wire
from tacit.privacy.secure_sum.entropy import RandomBytes, System
from tacit.privacy.secure_sum.progress import Progress
from tacit.privacy.secure_sum.roster import Roster
from tacit.privacy.secure_sum.rules import Rules


class Client:
    """One party. Methods are called in the order of `wire.STAGES`; a refused message leaves the state as it was."""

    __slots__ = (
        *("_identity", "_name", "_rules", "_run", "_source", "_trusted"),
        *("_epoch", "_key", "_pairs", "_round", "_signed", "_uploaded"),
    )

    def __init__(
        self,
        rules: Rules,
        name: str,
        identity: keys.Identity,
        run: bytes,
        trusted: Mapping[str, bytes],  # name -> Ed25519 public key, from outside the server
        source: RandomBytes | None = None,
    ) -> None:
        keys.check_listed(identity, name, trusted)
        self._rules, self._name, self._identity, self._run = rules, name, identity, run
        self._trusted, self._source = trusted, source or System()
        self._epoch, self._uploaded = -1, -1
        self._key = X25519PrivateKey.from_private_bytes(bytes(32))  # until the first epoch
        self._signed = b""
        self._pairs: dict[str, tuple[bytes, bytes]] = {}  # peer -> (its signed key, the secret of the epoch)
        self._round: Progress | None = None

    def __repr__(self) -> str:
        return f"Client({self._name!r})"

    def advertise(self, round: int) -> Array:
        """(ADVERT,) uint8: this epoch's signed key and a fresh nonce. Starts the round; an unfinished one is forgotten.

        Raises:
            ProtocolError: this client has already uploaded in this round or a later one.
        """
        if not 0 <= round < 2**63 or round <= self._uploaded:
            raise ProtocolError(f"round {round} cannot begin: the last upload was in round {self._uploaded}")
        epoch = self._rules.epoch(round)
        if epoch != self._epoch:  # the old key goes for good
            self._epoch, self._pairs = epoch, {}
            self._key = X25519PrivateKey.from_private_bytes(self._source.bytes(32))
            self._signed = keys.signed_key(self._identity, self._key, self._name, self._run, epoch)
        self._round = Progress(round, self._source.bytes(keys.NONCE), self._rules.stages)
        return wire.as_array(self._signed + self._round.nonce)

    def share(self, names: bytes, adverts: Array) -> wire.Shared:
        """Agree on secrets with the neighbours, and share this round's two secrets among them.

        Args:
            names: all clients of the round, as `roster.join` writes them.
            adverts: (k, ADVERT) uint8, of the neighbours by slot.

        Raises:
            ProtocolError: too few clients, a stranger among them, this client missing, or a key its owner did not sign.
        """
        state = self._at("share")
        try:
            roster = self._rules.roster(self._run, state.number, names)
        except PlanError as error:
            raise ProtocolError(f"round {state.number} is refused: {error}") from None
        if len(roster) < self._rules.least:
            raise ProtocolError(f"a round of {len(roster)} clients is refused: the minimum is {self._rules.least}")
        if not self._trusted.keys() >= roster.ring.members:
            raise ProtocolError("the round lists a client whose identity is not known here")
        if self._name not in roster.ring.place:
            raise ProtocolError("the round does not list this client")
        wire.taken({"adverts": adverts}, "adverts", (roster.neighbours, keys.ADVERT))
        place = roster.ring.place[self._name]
        around = roster.around(place)
        pairs, nonces = [], []
        for slot, peer_place in enumerate(around.tolist()):
            advert = adverts[slot].tobytes()
            secret = self._pair(roster.ring.names[peer_place], advert[: keys.KEY])
            nonce = advert[keys.KEY :]
            low, high = (state.nonce, nonce) if place < peer_place else (nonce, state.nonce)
            pairs.append(keys.round_keys(secret, roster.digest, low, high))
            nonces.append(nonce)
        state.roster, state.place, state.around, state.pairs, state.nonces = roster, place, around, pairs, nonces
        state.stage = 1
        return self._shares(state, roster)

    def _pair(self, peer: str, signed: bytes) -> bytes:
        known = self._pairs.get(peer)
        if known is not None and known[0] == signed:
            return known[1]
        keys.check_key(signed, peer, self._trusted.get(peer), self._run, self._epoch)
        secret = keys.pair_secret(self._key, self._name, peer, signed, self._run, self._epoch)
        self._pairs[peer] = (signed, secret)
        return secret

    def _shares(self, state: Progress, roster: Roster) -> wire.Shared:
        own, wrap = self._source.bytes(32), self._source.bytes(32)
        state.self_seed = own
        k, t = roster.neighbours, roster.threshold
        both = zip(shamir.split(own, t, k, self._source), shamir.split(wrap, t, k, self._source), strict=True)
        initial = self._source.bytes(12 * k)
        sealed = []
        for slot, (own_share, wrap_share) in enumerate(both):
            peer = roster.ring.names[state.around[slot]]
            bound = keys.sealing(roster.digest, self._name, peer, state.nonce, state.nonces[slot])
            vector = initial[12 * slot : 12 * slot + 12]
            sealed.append(vector + AESGCM(state.pairs[slot][1]).encrypt(vector, own_share + wrap_share, bound))
        wrapped = masks.stream(wrap).update(b"".join(seed for seed, _, _ in state.pairs))
        promises = [
            keys.commitment(kind, roster.digest, self._name, it) for kind, it in (("self", own), ("pairs", wrap))
        ]
        return wire.Shared(
            wire.as_rows(sealed, wire.SEALED), wire.as_array(wrapped).reshape(k, 32), wire.as_rows(promises, 32)
        )

    def masked(self, vector: Array, shared: Array, sealed: Array) -> Array:
        """This client's vector under its masks; afterwards the round cannot be repeated.

        Args:
            vector: (d,) uint32, left as it is.
            shared: (k,) bool, which neighbours sent shares.
            sealed: (k, SEALED) uint8, what they sent to this client, by slot; anything where they sent nothing.

        Raises:
            ProtocolError: fewer neighbours than the threshold, a share that is not for this client and round or was
                changed on the way, or a vector that is not (d,) uint32.
        """
        state, roster = self._seated("masked")
        k = roster.neighbours
        wire.taken({"sealed": sealed}, "sealed", (k, wire.SEALED))
        wire.taken({"shared": shared}, "shared", (k,), bool)
        if int(shared.sum()) < roster.threshold:
            raise ProtocolError(f"{int(shared.sum())} neighbours sent shares, at least {roster.threshold} are needed")
        if vector.dtype != np.uint32 or vector.ndim != 1:
            raise ProtocolError(f"a vector of uint32 is needed, got {vector.dtype} of {vector.ndim} dimensions")
        held = [b""] * k
        for slot in np.flatnonzero(shared).tolist():
            peer, row = roster.ring.names[state.around[slot]], sealed[slot].tobytes()
            bound = keys.sealing(roster.digest, peer, self._name, state.nonces[slot], state.nonce)
            try:
                held[slot] = AESGCM(state.pairs[slot][1]).decrypt(row[:12], row[12:], bound)
            except InvalidTag:
                raise ProtocolError(
                    f"the share from {peer!r} was changed, or is not for this client and round"
                ) from None
        seeds = [(state.pairs[slot][0], state.place < state.around[slot]) for slot in np.flatnonzero(shared).tolist()]
        out = np.array(vector, np.uint32, order="C")
        masks.add(out, [state.self_seed, *(s for s, first in seeds if first)], [s for s, first in seeds if not first])
        state.held, state.self_seed, state.stage, self._uploaded = held, b"", 2, state.number
        return out

    def sign(self, survivors: Array, dropped: Array) -> wire.Endorsement:
        """Endorse who uploaded and who shared but did not, after checking that the two cannot be played off.

        Args:
            survivors: (n,) bool by place on the ring: whose upload is in the sum.
            dropped: (n,) bool: who sent shares but no upload.

        Raises:
            ProtocolError: what `Progress.check` refuses.
        """
        state, roster = self._seated("sign")
        state.check(survivors, dropped, self._rules.least)
        state.statement, state.stage = roster.statement(survivors, dropped), 3
        tags = [keys.survivor_tag(key, self._name, state.statement) for _, _, key in state.pairs]
        signature = self._identity.sign(state.statement)
        return wire.Endorsement(wire.as_array(signature), wire.as_rows(tags, keys.TAG))

    def unmask(
        self, survivors: Array, dropped: Array, endorsed: Array | None = None, tags: Array | None = None
    ) -> Array:
        """(k, SHARE) uint8 by slot: of each surviving neighbour the share of b, of each dropped one the share of R.

        Ends the round: what the client held is forgotten. Rows are zero for neighbours that never shared.

        Args:
            survivors: (n,) bool, as it was signed; where nobody signs, whose upload is in the sum.
            dropped: (n,) bool, as it was signed; where nobody signs, who sent shares but no upload.
            endorsed: (k,) bool, which neighbours endorsed the same; where nobody signs, None.
            tags: (k, TAG) uint8, their tags to this client, by slot; where nobody signs, None.

        Raises:
            ProtocolError: other lists than those that were signed, fewer endorsements than the threshold, one from a
                neighbour that dropped out, or a tag that does not hold; where nobody signs, what `Progress.check`
                refuses.
        """
        state = self._at("unmask")
        if "sign" in state.stages:
            self._check_endorsed(state, survivors, dropped, endorsed, tags)
        else:
            state.check(survivors, dropped, self._rules.least)
        nothing, shares = bytes(shamir.SHARE), []
        for both, survived in zip(state.held, survivors[state.around].tolist(), strict=True):
            opened = both[: shamir.SHARE] if survived else both[shamir.SHARE :]
            shares.append(opened or nothing)
        self._round = None
        return wire.as_rows(shares, shamir.SHARE)

    def _check_endorsed(
        self, state: Progress, survivors: Array, dropped: Array, endorsed: Array | None, tags: Array | None
    ) -> None:
        roster = state.seated()
        if endorsed is None or tags is None:
            raise ProtocolError("nobody is said to have endorsed the survivors: their endorsements are needed")
        for name, listed in (("survivors", survivors), ("dropped", dropped)):
            wire.taken({name: listed}, name, (len(roster),), bool)
        wire.taken({"endorsed": endorsed}, "endorsed", (roster.neighbours,), bool)
        wire.taken({"tags": tags}, "tags", (roster.neighbours, keys.TAG))
        if not hmac.compare_digest(roster.statement(survivors, dropped), state.statement):
            raise ProtocolError("survivors and dropped are not those that this client signed")
        if np.any(endorsed & ~survivors[state.around]):
            raise ProtocolError("a client that is not a survivor is said to have endorsed the survivors")
        if int(endorsed.sum()) < roster.threshold:
            raise ProtocolError(f"{int(endorsed.sum())} neighbours endorsed the survivors, {roster.threshold} must")
        for slot in np.flatnonzero(endorsed).tolist():
            peer = roster.ring.names[state.around[slot]]
            expected = keys.survivor_tag(state.pairs[slot][2], peer, state.statement)
            if not hmac.compare_digest(expected, tags[slot].tobytes()):
                raise ProtocolError(f"{peer!r} did not endorse these survivors to this client")

    def answer(self, request: Request, vector: Array | None = None) -> Reply:
        """Answer one message of the server; `vector` (d,) uint32 is needed in the stage "masked".

        Raises:
            ProtocolError: not a stage of a secure sum, of another round, or anything that the stage refuses.
        """
        if not isinstance(request.kind, str) or type(request.round) is not int:
            raise ProtocolError("a message of the secure sum names its stage and the number of its round")
        stage, got = request.kind.removeprefix(wire.KIND), request.arrays
        if stage == "advertise":
            return Reply({"advert": self.advertise(request.round)})
        state = self._at(stage)
        if request.round != state.number:
            raise ProtocolError(f"a message of round {request.round} came in round {state.number}")
        if stage == "share":
            adverts = got.get("adverts", np.zeros(0, np.uint8))
            out = self.share(wire.raw(got, "names"), adverts)
            return Reply({"sealed": out.sealed, "wrapped": out.wrapped, "commitments": out.commitments})
        state, roster = self._seated(stage)
        n, k = len(roster), roster.neighbours
        if stage == "masked":
            if vector is None:
                raise ProtocolError("no vector is at hand to be summed")
            shared = wire.flags(wire.taken(got, "shared", (k,)))
            return Reply({"masked": self.masked(vector, shared, wire.taken(got, "sealed", (k, wire.SEALED)))})
        survivors, dropped = wire.unpacked(got, "survivors", n), wire.unpacked(got, "dropped", n)
        if stage == "sign":
            word = self.sign(survivors, dropped)
            return Reply({"signature": word.signature, "tags": word.tags})
        if "sign" not in state.stages:
            return Reply({"shares": self.unmask(survivors, dropped)})
        endorsed = wire.flags(wire.taken(got, "endorsed", (k,)))
        tags = wire.taken(got, "tags", (k, keys.TAG))
        return Reply({"shares": self.unmask(survivors, dropped, endorsed, tags)})

    def _at(self, stage: str) -> Progress:
        if self._round is None:
            raise ProtocolError(f"no round is open at this client, so {stage!r} cannot be answered")
        self._round.expect(stage)
        return self._round

    def _seated(self, stage: str) -> tuple[Progress, Roster]:
        state = self._at(stage)
        return state, state.seated()
