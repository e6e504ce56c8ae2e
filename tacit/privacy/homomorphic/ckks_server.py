"""The server of a sum by CKKS: relays sealed keys, adds ciphertexts, asks the parties to open. It holds no key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tacit.core.values import Array, ProtocolError, Reply, Request
from tacit.privacy.homomorphic import ckks
from tacit.privacy.homomorphic.ckks_tags import LENGTH
from tacit.privacy.homomorphic.ckks_wire import STAGES, WRAP, Rules, Session
from tacit.privacy.homomorphic.pieces import flat, hashed, pieces
from tacit.privacy.homomorphic.wire import KIND, check_cohort, signed
from tacit.privacy.secure_sum.keys import KEY, check_key
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted
from tacit.privacy.secure_sum.roster import join
from tacit.privacy.secure_sum.wire import as_array, as_rows, check_awaited, raw, taken


class SharedKeyServer:
    """One party, for a whole run: `start`; for each of `ckks_wire.STAGES` `requests`, `receive`, `close`; `finish`.

    A message that is refused (ProtocolError) leaves everything as it was, but for ciphertexts that break off within:
    the round then ends when its stage closes. Whoever vanishes is left out; once more than half of all parties have
    signed for the sum, a single one opens it.
    """

    __slots__ = (
        *("_adder", "_answered", "_cohort", "_names", "_round", "_roster", "_rules", "_run", "_size", "_spoilt"),
        *("_keys", "_opened", "_sealed", "_signatures", "_stage", "_statement", "_total", "_trusted", "_wraps"),
        "_survivors",
    )

    def __init__(self, rules: Rules, run: bytes, trusted: Mapping[str, bytes]) -> None:
        ckks.needed()
        self._rules, self._run, self._trusted = rules, run, trusted
        self._stage, self._round, self._names = len(STAGES), -1, list[str]()

    @property
    def stage(self) -> str:
        """The stage whose replies are awaited; "finish" after the last, and before the first round."""
        return STAGES[self._stage] if self._stage < len(STAGES) else "finish"

    @property
    def _session(self) -> Session:
        return Session(self._run, self._round)

    def start(self, round: int, cohort: Sequence[str], size: int) -> None:
        """Begin a round that sums (size,) vectors of this cohort; what was left of another round is forgotten.

        Raises:
            SecureSumAborted: the cohort is smaller than the minimum.
            ProtocolError: a name twice, empty, or with a line break.
        """
        check_cohort(cohort, self._rules.least)
        self._round, self._cohort, self._size, self._stage = round, tuple(cohort), size, 0
        self._names, self._answered = sorted(cohort), set[str]()
        self._sealed = self._roster = self._statement = b""
        self._spoilt = ""
        self._survivors: list[str] = []
        self._keys: dict[str, bytes] = {}
        self._wraps = self._total = np.zeros(0, np.uint8)
        self._signatures: dict[str, bytes] = {}
        self._opened: Array | None = None

    def requests(self) -> dict[str, Request]:
        """What to send, to whom, in this stage."""
        stage, names, round = self.stage, self._names, self._round
        if stage == "finish":
            raise ProtocolError("all stages of the homomorphic sum are closed: there is nothing to send")
        arrays: dict[str, Array] = {}
        if stage == "lead":
            arrays = {"names": as_array(join(names)), "keys": self._rows()}
        elif stage == "masked":
            sealed = as_array(self._sealed)
            rows = zip(names, self._wraps, strict=True)
            return {
                name: Request(KIND + stage, round, {"sealed": sealed, "wrap": np.asarray(wrap)}) for name, wrap in rows
            }
        elif stage == "check":
            arrays = {"survivors": as_array(join(self._survivors)), "total": as_array(hashed(self._total))}
            names = self._survivors
        elif stage == "open":
            names = sorted(self._signatures)
            signatures = as_rows([self._signatures[name] for name in names], 64)
            arrays = {"total": self._total, "signers": as_array(join(names)), "signatures": signatures}
        return {name: Request(KIND + stage, round, arrays) for name in names}

    def _rows(self) -> Array:
        return as_rows([self._keys[name] for name in self._names], KEY)

    def _asked(self) -> Sequence[str]:
        if self.stage == "finish":
            return ()
        return {"check": self._survivors, "open": sorted(self._signatures)}.get(self.stage, self._names)

    def receive(self, sender: str, reply: Reply) -> None:
        """Take one party's reply to the open stage. Ciphertexts are added at once and not kept.

        Raises:
            ProtocolError: from a party that was not asked or has answered, malformed, unsigned, no ciphertexts, or
                another sum than another party opened.
        """
        stage, got, session = self.stage, reply.arrays, self._session
        check_awaited(sender, self._asked(), self._answered, stage)
        public = self._trusted.get(sender)
        if stage == "advertise":
            key = taken(got, "key", (KEY,)).tobytes()
            check_key(key, sender, public, self._run, self._round)
            self._keys[sender] = key
        elif stage == "lead":
            if sender == session.leader(self._names):
                self._wraps = taken(got, "wraps", (len(self._names), WRAP))
                self._sealed = raw(got, "sealed")
        elif stage == "masked":
            sent = flat(got, "sent")
            said = session.sent(sender, self._roster, hashed(sent))
            signed(public, taken(got, "signature", (64,)), said, sender, "ciphertext")
            self._add(sender, pieces(sent))
        elif stage == "check":
            signature = taken(got, "signature", (64,))
            signed(public, signature, self._statement, sender, "statement")
            self._signatures[sender] = signature.tobytes()
        else:
            values = taken(got, "opened", (self._size,), np.uint32)
            said = session.opened(sender, self._statement, hashed(values))
            signed(public, taken(got, "signature", (64,)), said, sender, "opened sum")
            self._agree(sender, values)
        self._answered.add(sender)

    def _add(self, sender: str, sent: list[memoryview]) -> None:
        chunks = -(-(self._size + LENGTH) // ckks.SLOTS)
        if len(sent) != chunks:
            raise ProtocolError(f"{chunks} ciphertexts of {sender!r} were needed, got {len(sent)}")
        for place, piece in enumerate(sent):
            try:
                self._adder.add(place, piece)
            except ProtocolError:
                if place:
                    self._spoilt = f"what {sender!r} sent broke off the sum"
                raise

    def _agree(self, sender: str, values: Array) -> None:
        if self._opened is None:
            self._opened = values
        elif not np.array_equal(self._opened, values):
            self._spoilt = f"{sender!r} opened another sum than a party before it"
            raise ProtocolError(self._spoilt)

    def close(self) -> None:
        """End the open stage with the replies that came; the next one begins.

        Raises:
            SecureSumAborted: too few parties are left, the leader is silent, or parties disagree.
        """
        stage, here, names = self.stage, sorted(self._answered), self._names
        if stage == "finish":
            raise ProtocolError("no stage of the homomorphic sum is open")
        where = f"in the stage {stage!r} of round {self._round}"
        if self._spoilt:
            raise SecureSumAborted(f"{self._spoilt} {where}: nothing is told")
        needed = 1 if stage == "open" else max(self._rules.least, len(names) // 2 + 1 if stage == "check" else 0)
        if len(here) < needed:
            raise SecureSumAborted(
                f"{len(here)} parties answered {where}, at least {needed} are needed: nothing was opened"
            )
        if stage == "advertise":
            self._names = here
        elif stage == "lead":
            if (leader := self._session.leader(names)) not in here:
                raise SecureSumAborted(f"{leader!r}, who makes the key, fell silent {where}: nothing was sent")
            self._roster = self._session.roster(names, hashed(self._rows()))
            self._adder = ckks.Adder()
        elif stage == "masked":
            self._survivors, self._total = here, self._adder.all()
            self._statement = self._session.statement(self._roster, here, hashed(self._total))
        elif stage == "open":
            self._total = np.zeros(0, np.uint8)
        self._answered, self._stage = set(), self._stage + 1

    def finish(self) -> list[Opened]:
        """The sum that the parties opened: a list of one, as of a secure sum in one group.

        Raises:
            ProtocolError: stages are still open.
        """
        if self.stage != "finish" or self._opened is None:
            raise ProtocolError(f"the homomorphic sum cannot finish while the stage {self.stage!r} is open")
        total, self._opened = self._opened, None
        dropped = tuple(sorted(set(self._cohort) - set(self._survivors)))
        return [Opened(total, tuple(self._survivors), dropped, self._statement, dict(self._signatures))]
