"""The server of the secure sum: relays, adds uploads as they come, and opens the sum without those that vanished.

The protocol and its sources are described in `client`. The server keeps one vector of the sum's length and, per client
and neighbour, some 300 bytes; it never sees a client's vector without a mask that it cannot open.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError, Reply, Request
from tacit.privacy.secure_sum import keys, masks, shamir, wire
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted
from tacit.privacy.secure_sum.roster import Roster, join
from tacit.privacy.secure_sum.rules import Rules


class Server:
    """One party, for a whole run: `start`; for each of `wire.STAGES` `requests`, `receive`, `close`; then `finish`.

    A message that is refused (ProtocolError) leaves everything as it was: its sender counts as vanished unless it sends
    a good one before the stage closes.
    """

    __slots__ = (
        *("_known", "_rules", "_run", "_stages", "_trusted"),
        *("_asked", "_cohort", "_answered", "_number", "_roster", "_size", "_stage", "_total"),
        *("_adverts", "_around", "_sealed", "_wrapped", "_commitments", "_tags", "_signatures", "_reveals"),
        *("_shared", "_uploaded", "_endorsed", "_revealed"),
    )

    def __init__(self, rules: Rules, run: bytes, trusted: Mapping[str, bytes]) -> None:
        self._rules, self._run, self._trusted = rules, run, trusted
        self._known: dict[str, tuple[int, bytes]] = {}  # name -> epoch and signed key that were checked already
        self._stages = rules.stages
        self._stage = len(self._stages)
        self._roster: Roster | None = None

    @property
    def stage(self) -> str:
        """The stage whose replies are awaited; "finish" after the last, and before the first round."""
        return self._stages[self._stage] if self._stage < len(self._stages) else "finish"

    def start(self, round: int, cohort: Sequence[str], size: int) -> None:
        """Begin a round that sums (size,) vectors of this cohort; what was left of another round is forgotten.

        Raises:
            SecureSumAborted: the cohort is smaller than the minimum.
            PlanError: the rules cannot hold for so many clients.
        """
        if len(cohort) < self._rules.least:
            raise SecureSumAborted(f"{len(cohort)} clients were asked, but the minimum is {self._rules.least}")
        self._rules.roster(self._run, round, join(cohort))  # refuses what cannot hold, before anybody works
        self._number, self._cohort, self._size = round, tuple(cohort), size
        self._roster, self._total = None, np.zeros(size, np.uint32)
        self._adverts: dict[str, bytes] = {}
        self._signatures: dict[str, bytes] = {}
        self._stage, self._answered, self._asked = 0, set[str](), frozenset(cohort)

    @property
    def asked(self) -> frozenset[str]:
        """The clients whose replies are awaited in this stage."""
        return self._asked if self._stage < len(self._stages) else frozenset()

    def requests(self) -> dict[str, Request]:
        """What to send, to whom, in this stage."""
        kind, number = wire.KIND + self.stage, self._number
        if self.stage == "advertise":
            return {name: Request(kind, number) for name in self._cohort}
        roster = self._seated()
        names, k = roster.ring.names, roster.neighbours
        theirs = k - 1 - np.arange(k)  # the slot in which a neighbour lists this client
        everyone = wire.as_array(join(names))
        bits = {}
        if self._stage > 2:
            bits = {"survivors": np.packbits(self._uploaded), "dropped": np.packbits(self._shared & ~self._uploaded)}
        out = {}
        for name in self._asked:
            near = self._around[roster.ring.place[name]]
            if self.stage == "share":
                advert = wire.as_rows([self._adverts[names[place]] for place in near], keys.ADVERT)
                arrays = {"names": everyone, "adverts": advert}
            elif self.stage == "masked":
                arrays = {"shared": self._shared[near].astype(np.uint8), "sealed": self._sealed[near, theirs]}
            elif self.stage == "sign":
                arrays = bits
            elif self.stage == "unmask":
                endorsed = self._endorsed[near].astype(np.uint8)
                arrays = {**bits, "endorsed": endorsed, "tags": self._tags[near, theirs]}
                arrays = arrays if "sign" in self._stages else bits
            else:
                raise ProtocolError("all stages of the secure sum are closed: there is nothing to send")
            out[name] = Request(kind, number, arrays)
        return out

    def receive(self, sender: str, reply: Reply) -> None:
        """Take one client's reply to the open stage. An upload is added at once and not kept.

        Raises:
            ProtocolError: from a client that was not asked or has answered, or malformed.
        """
        stage, got = self.stage, reply.arrays
        wire.check_awaited(sender, self.asked, self._answered, stage)
        if stage == "advertise":
            self._advert(sender, wire.taken(got, "advert", (keys.ADVERT,)).tobytes())
        elif stage == "masked":
            self.add(sender, wire.taken(got, "masked", (self._size,), np.uint32))
            return
        else:
            self._rows(stage, sender, got)
        self._answered.add(sender)

    def add(self, sender: str, masked: Array) -> None:
        """Add one upload (size,) uint32 to the sum: `receive` for the stage "masked", without a Reply around it.

        Raises:
            ProtocolError: out of order, twice, from a client that was not asked, or not of the right length and dtype.
        """
        if self.stage != "masked" or sender not in self.asked or sender in self._answered:
            raise ProtocolError(f"an upload of {sender!r} is not awaited: not asked, twice, or in the wrong stage")
        upload = wire.taken({"masked": masked}, "masked", (self._size,), np.uint32)
        np.add(self._total, upload, out=self._total)
        self._answered.add(sender)

    def _seated(self) -> Roster:
        if self._roster is None:
            raise ProtocolError("no round of the secure sum is open, or nobody has advertised in it yet")
        return self._roster

    def _advert(self, sender: str, advert: bytes) -> None:
        signed, epoch = advert[: keys.KEY], self._rules.epoch(self._number)
        if self._known.get(sender) != (epoch, signed):
            keys.check_key(signed, sender, self._trusted.get(sender), self._run, epoch)
            self._known[sender] = (epoch, signed)
        self._adverts[sender] = advert

    def _rows(self, stage: str, sender: str, got: Mapping[str, Array]) -> None:
        roster = self._seated()
        place, k = roster.ring.place[sender], roster.neighbours
        if stage == "share":
            sealed = wire.taken(got, "sealed", (k, wire.SEALED))
            wrapped = wire.taken(got, "wrapped", (k, 32))
            promises = wire.taken(got, "commitments", (2, 32))
            self._sealed[place], self._wrapped[place], self._commitments[place] = sealed, wrapped, promises
        elif stage == "sign":
            signature = wire.taken(got, "signature", (64,)).tobytes()
            self._tags[place] = wire.taken(got, "tags", (k, keys.TAG))
            self._signatures[sender] = signature
        else:
            self._reveals[place] = wire.taken(got, "shares", (k, shamir.SHARE))

    def close(self) -> None:
        """End the open stage with the replies that came; the next one begins.

        Raises:
            SecureSumAborted: too few are left to go on, or to hide those that are left.
        """
        stage = self.stage
        # once the minimum has uploaded, whoever vanishes is in the sum: then only the threshold counts
        minimum = self._rules.least if stage in ("advertise", "share", "masked") else 1
        if len(self._answered) < minimum:
            raise SecureSumAborted(
                f"{len(self._answered)} clients answered in the stage {stage!r} of round {self._number}, at least "
                f"{minimum} are needed: nothing was opened"
            )
        if stage == "advertise":
            self._enroll()
            self._stage, self._answered = 1, set()
            return
        roster = self._seated()
        here = np.array([name in self._answered for name in roster.ring.names])
        if stage == "share":
            self._shared = here = self._core(here)
        elif stage == "masked":
            self._uploaded = here
            self._need(here, "kept their connection until the upload")
        elif stage == "sign":
            self._endorsed = here  # whoever has too few endorsements would refuse to open anything
            here = here & (here[self._around].sum(1) >= roster.threshold)
            self._need(here, "endorsed the survivors")
        elif stage == "unmask":
            self._revealed = here
            self._need(here, "sent their shares")
        else:
            raise ProtocolError("no stage of the secure sum is open")
        if int(here.sum()) < minimum:
            left = int(here.sum())
            raise SecureSumAborted(
                f"{left} clients are left after {stage!r}, the minimum is {minimum}: nothing was opened"
            )
        self._asked = frozenset(name for name, stays in zip(roster.ring.names, here, strict=True) if stays)
        self._stage, self._answered = self._stage + 1, set()

    def _enroll(self) -> None:
        """Fix the roster to those that advertised, and make room for what they will send."""
        try:
            roster = self._rules.roster(self._run, self._number, join(sorted(self._answered)))
        except PlanError as error:
            raise SecureSumAborted(f"too many clients vanished before round {self._number}: {error}") from None
        n, k = len(roster), roster.neighbours
        self._roster, self._around, self._asked = roster, roster.all_around(), frozenset(self._answered)
        self._sealed = np.zeros((n, k, wire.SEALED), np.uint8)
        self._wrapped = np.zeros((n, k, 32), np.uint8)
        self._commitments = np.zeros((n, 2, 32), np.uint8)
        self._tags = np.zeros((n, k, keys.TAG), np.uint8)
        self._reveals = np.zeros((n, k, shamir.SHARE), np.uint8)
        self._shared = self._uploaded = self._endorsed = self._revealed = np.zeros(n, bool)

    def _core(self, here: Array) -> Array:
        """The largest set in which everybody has the threshold of neighbours: others would refuse to upload."""
        while True:
            kept: Array = here & (here[self._around].sum(1) >= self._seated().threshold)
            if np.array_equal(kept, here):
                return kept
            here = kept

    def _need(self, here: Array, what: str) -> None:
        """Abort unless every client that shared still has the threshold of neighbours that can open its secret."""
        least, threshold = int(here[self._around].sum(1)[self._shared].min()), self._seated().threshold
        if least < threshold:
            raise SecureSumAborted(
                f"only {least} neighbours of some client {what} in round {self._number}, the threshold is {threshold}: "
                "nothing was opened"
            )

    def keep(self, names: Iterable[str]) -> None:
        """Before anybody uploads, go on with these clients only: the others are as if they had sent no shares.

        Raises:
            ProtocolError: in another stage, or after an upload.
            SecureSumAborted: too few are left.
        """
        if self.stage != "masked" or self._answered:
            raise ProtocolError("clients can be left out only before the first upload")
        ring, kept = self._seated().ring.names, frozenset(names)
        self._shared = self._core(self._shared & np.array([name in kept for name in ring]))
        if (left := int(self._shared.sum())) < self._rules.least:
            raise SecureSumAborted(
                f"{left} clients may upload in round {self._number}, the minimum is {self._rules.least}: nothing was "
                "opened"
            )
        self._asked = frozenset(name for name, stays in zip(ring, self._shared, strict=True) if stays)

    def finish(self) -> Opened:
        """Take all masks off the sum.

        Raises:
            ProtocolError: stages are still open.
            SecureSumAborted: some client's shares do not open what it committed to.
        """
        if self.stage != "finish":
            raise ProtocolError(f"the secure sum cannot finish while the stage {self.stage!r} is open")
        roster = self._seated()
        plus: list[bytes] = []
        minus: list[bytes] = []
        for place in np.flatnonzero(self._shared).tolist():
            secret = self._open(roster, place)
            if self._uploaded[place]:
                minus.append(secret)
                continue
            seeds = masks.stream(secret).update(self._wrapped[place].tobytes())
            for slot, peer in enumerate(self._around[place].tolist()):
                if self._uploaded[peer]:  # the lower place had added this pair's mask, the higher one subtracted it
                    (minus if peer < place else plus).append(seeds[32 * slot : 32 * slot + 32])
        masks.add(self._total, plus, minus)
        names = roster.ring.names
        survivors = tuple(names[place] for place in np.flatnonzero(self._uploaded).tolist())
        dropped = tuple(sorted(set(self._cohort) - set(survivors)))
        statement = roster.statement(self._uploaded, self._shared & ~self._uploaded)
        total, self._roster = self._total, None
        return Opened(total, survivors, dropped, statement, dict(self._signatures))

    def _open(self, roster: Roster, place: int) -> bytes:
        """The secret of the client at this place: b if it uploaded, else R."""
        near, k, t = self._around[place], roster.neighbours, roster.threshold
        slots = np.flatnonzero(self._revealed[near])
        shares = self._reveals[near[slots], k - 1 - slots]
        survived = bool(self._uploaded[place])
        promise = self._commitments[place, 0 if survived else 1].tobytes()
        count = len(slots)
        for first in range(count if count > t else 1):  # one broken share is avoided by one of these windows
            chosen = np.sort((first + np.arange(t)) % count)
            secret = shamir.combine((slots[chosen] + 1).tolist(), [shares[row].tobytes() for row in chosen])
            if secret is None:
                continue
            found = keys.commitment("self" if survived else "pairs", roster.digest, roster.ring.names[place], secret)
            if hmac.compare_digest(found, promise):
                return secret
        raise SecureSumAborted(
            f"the shares of {roster.ring.names[place]!r} do not open what it committed to in round {self._number}: "
            "nothing was opened"
        )
