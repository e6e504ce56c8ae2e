"""The server of a homomorphic sum: relays, adds ciphertexts as they come, and joins the parts that open the sum.

The protocol is described in `client`. The server keeps one summed ciphertext, 24 to 28 bytes a value, and no key; to
audit, every mask.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

import numpy as np

from tacit.core.values import Array, ProtocolError, Reply, Request
from tacit.privacy.homomorphic import threshold, wire
from tacit.privacy.homomorphic.fingerprint import ROWS
from tacit.privacy.homomorphic.rules import Rules
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted
from tacit.privacy.secure_sum.roster import join
from tacit.privacy.secure_sum.wire import as_array, as_rows, check_awaited, taken


class Server:
    """One party, for a whole run: `start`; for each of `wire.STAGES` `requests`, `receive`, `close`; then `finish`.

    A message that is refused (ProtocolError) leaves everything as it was: its sender counts as vanished unless it sends
    a good one before the stage closes. Whoever vanishes before its share of the key is shown is left out; afterwards
    the round cannot be opened without it, and aborts.
    """

    __slots__ = (
        *(
            "_answered",
            "_asked",
            "_audited",
            "_cohort",
            "_names",
            "_rules",
            "_run",
            "_session",
            "_size",
            "_stage",
            "_trusted",
        ),
        *(
            "_commitments",
            "_digests",
            "_endorsed",
            "_keys",
            "_opening",
            "_prints",
            "_roster",
            "_said",
            "_signatures",
            "_total",
        ),
    )

    def __init__(self, rules: Rules, run: bytes, trusted: Mapping[str, bytes]) -> None:
        self._rules, self._run, self._trusted = rules, run, trusted
        self._stage = len(wire.STAGES)
        self._session: wire.Session | None = None

    @property
    def stage(self) -> str:
        """The stage whose replies are awaited; "finish" after the last, and before the first round."""
        return wire.STAGES[self._stage] if self._stage < len(wire.STAGES) else "finish"

    def start(self, round: int, cohort: Sequence[str], size: int) -> None:
        """Begin a round that sums (size,) vectors of this cohort; what was left of another round is forgotten.

        Raises:
            SecureSumAborted: the cohort is smaller than the minimum.
            PlanError: no ring holds for so many parties and values.
            ProtocolError: a name twice, empty, or with a line break.
        """
        wire.check_cohort(cohort, self._rules.least)
        self._session = wire.Session(self._run, round, self._rules.ring(len(cohort), size))
        self._cohort, self._size, self._stage = tuple(cohort), size, 0
        self._names = sorted(cohort)
        self._asked, self._answered = frozenset(cohort), set[str]()
        self._commitments: dict[str, bytes] = {}
        self._signatures: dict[str, bytes] = {}
        self._keys: dict[str, Array] = {}
        self._digests: dict[str, bytes] = {}
        self._prints: dict[str, Array] = {}
        self._endorsed: dict[str, bytes] = {}
        self._audited: dict[str, tuple[bytes, Array]] = {}
        self._roster, self._said, self._opening = b"", b"", np.zeros(0, np.uint64)

    def requests(self) -> dict[str, Request]:
        """What to send, to whom, in this stage: the same to everybody."""
        session, names, stage = self._open(), self._names, self.stage
        if stage == "finish":
            raise ProtocolError("all stages of the homomorphic sum are closed: there is nothing to send")
        ring = session.ring
        signatures = as_rows([self._signatures[name] for name in names], 64) if self._stage else np.zeros(0)
        arrays: dict[str, Array] = {}
        if stage == "commit":
            arrays = {"ring": np.array([ring.degree, ring.primes], np.int64)}
        elif stage == "keys":
            commitments = as_rows([self._commitments[name] for name in names], 32)
            arrays = {"names": as_array(join(names)), "commitments": commitments, "signatures": signatures}
        elif stage == "masked":
            arrays = {"names": as_array(join(names)), "keys": np.stack([self._keys[name] for name in names])}
        elif stage == "upload":
            arrays = {"digests": as_rows([self._digests[name] for name in names], 32), "signatures": signatures}
        elif stage == "check":
            arrays = {"total": as_array(wire.hashed(self._total.mask))}
        else:
            prints = np.stack([self._prints[name] for name in names])
            arrays = {"mask": self._total.mask, "prints": prints, "signatures": signatures}
            if self._rules.audit:
                arrays["bodies"] = as_rows([self._audited[name][0] for name in names], 32)
                arrays["masks"] = np.stack([self._audited[name][1] for name in names])
        return {name: Request(wire.KIND + stage, session.round, arrays) for name in names}

    def _open(self) -> wire.Session:
        if self._session is None:
            raise ProtocolError("no round of the homomorphic sum is open")
        return self._session

    def receive(self, sender: str, reply: Reply) -> None:
        """Take one party's reply to the open stage. A ciphertext is added at once and not kept.

        Raises:
            ProtocolError: from a party that was not asked or has answered, or malformed, unsigned, or not what it
                committed to.
        """
        session, stage, got = self._open(), self.stage, reply.arrays
        check_awaited(sender, () if stage == "finish" else self._asked, self._answered, stage)
        ring, public = session.ring, self._trusted.get(sender)
        if stage == "keys":
            key = threshold.checked_key(ring, taken(got, "key", (ring.primes, ring.degree), np.uint32))
            if not hmac.compare_digest(session.commitment(sender, key), self._commitments[sender]):
                raise ProtocolError(f"the share of the key from {sender!r} is not the one that it committed to")
            self._keys[sender] = key
        elif stage == "upload":
            self._add(session, sender, got)
        elif stage == "open":
            np.add(self._opening, taken(got, "part", (self._size,), np.uint64), out=self._opening)
        else:
            signature = taken(got, "signature", (64,))
            if stage == "commit":
                commitment = taken(got, "commitment", (32,)).tobytes()
                wire.signed(public, signature, session.committed(sender, commitment), sender, "commitment to a key")
                self._commitments[sender] = commitment
            elif stage == "masked":
                digest = taken(got, "digest", (32,)).tobytes()
                message = session.promised(sender, self._roster, digest)
                wire.signed(public, signature, message, sender, "hash of a ciphertext")
                self._digests[sender] = digest
            else:
                print = taken(got, "print", (ROWS, ring.primes), np.uint32)
                statement = taken(got, "statement", (64,))
                wire.signed(public, statement, self._statement(session), sender, "statement")
                message = session.printed(sender, self._statement(session), print)
                wire.signed(public, signature, message, sender, "fingerprint")
                self._prints[sender], self._endorsed[sender] = print, statement.tobytes()
            self._signatures[sender] = signature.tobytes()
        self._answered.add(sender)

    def _add(self, session: wire.Session, sender: str, got: Mapping[str, Array]) -> None:
        body = taken(got, "body", (self._size,), np.uint64)
        mask = taken(got, "mask", (session.ring.words(self._size),), np.uint32)
        sent, hashed = threshold.Ciphertext(session.ring, body, mask), wire.hashed(body)
        if not hmac.compare_digest(session.digest(sender, self._roster, hashed, mask), self._digests[sender]):
            raise ProtocolError(f"the ciphertext from {sender!r} is not the one that it committed to")
        threshold.add(self._total, sent)
        if self._rules.audit:
            self._audited[sender] = hashed, mask

    def _statement(self, session: wire.Session) -> bytes:
        digests = as_rows([self._digests[name] for name in self._names], 32)
        return session.statement(self._roster, digests, wire.hashed(self._total.mask))

    def close(self) -> None:
        """End the open stage with the replies that came; the next one begins.

        Raises:
            SecureSumAborted: fewer than the minimum are left, or one is missing whose share is in the key.
        """
        session, stage, here = self._open(), self.stage, self._answered
        if stage == "finish":
            raise ProtocolError("no stage of the homomorphic sum is open")
        if len(here) < self._rules.least:
            raise SecureSumAborted(
                f"{len(here)} parties answered in the stage {stage!r} of round {session.round}, at least "
                f"{self._rules.least} are needed: nothing was opened"
            )
        if self._stage >= wire.STAGES.index("masked") and len(here) < len(self._names):
            missing = sorted(set(self._names) - here)
            raise SecureSumAborted(
                f"{missing[0]!r} ({len(missing)} in all) fell silent in the stage {stage!r} of round {session.round}, "
                "and the sum cannot be opened without its share of the key: nothing was opened"
            )
        self._names = sorted(here)
        if stage == "keys":
            self._roster = session.roster(self._names, np.stack([self._keys[name] for name in self._names]))
        elif stage == "masked":
            self._total = threshold.zero(session.ring, self._size)
        elif stage == "check":
            self._said, self._opening = self._statement(session), self._total.body
        elif stage == "open":
            self._total = threshold.zero(session.ring, 0)
        self._asked, self._answered, self._stage = frozenset(here), set(), self._stage + 1

    def finish(self) -> list[Opened]:
        """The sum, opened by the parts of all parties: a list of one, as of a secure sum in one group.

        Raises:
            ProtocolError: stages are still open.
            SecureSumAborted: the parts do not fit: some party sent a wrong one.
        """
        session = self._open()
        if self.stage != "finish":
            raise ProtocolError(f"the homomorphic sum cannot finish while the stage {self.stage!r} is open")
        try:
            total = threshold.rounded(self._opening)
        except threshold.NotOpened as error:
            raise SecureSumAborted(f"round {session.round}: {error}") from None
        self._session = None
        survivors = tuple(self._names)
        dropped = tuple(sorted(set(self._cohort) - set(survivors)))
        return [Opened(total, survivors, dropped, self._said, dict(self._endorsed))]
