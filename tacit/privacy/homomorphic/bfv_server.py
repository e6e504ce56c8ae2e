"""The server of a sum by OpenFHE: relays keys, adds ciphertexts in a worker process, joins the parts that open them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np

from tacit.core.values import Array, ProtocolError, Reply, Request
from tacit.privacy.homomorphic.bfv import Role, WorkerEnded
from tacit.privacy.homomorphic.bfv_wire import STAGES, Rules, Session
from tacit.privacy.homomorphic.pieces import Pieces, flat, hashed, packed, pieces
from tacit.privacy.homomorphic.slots import count
from tacit.privacy.homomorphic.wire import KIND, check_cohort, signed
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted
from tacit.privacy.secure_sum.roster import join
from tacit.privacy.secure_sum.wire import as_array, as_rows, check_awaited, raw, taken


class BFVServer:
    """Relays keys, adds ciphertexts as they come, joins the parts: `start`, stages, `finish`, as `server.Server`.

    A message that is refused (ProtocolError) leaves everything as it was, but for one that OpenFHE breaks off on: the
    sum is spoilt, and the round ends when its stage closes.
    """

    __slots__ = (
        *(
            "_answered",
            "_batches",
            "_cohort",
            "_digests",
            "_joined",
            "_keys",
            "_names",
            "_role",
            "_roster",
            "_round",
        ),
        *("_rules", "_run", "_signatures", "_size", "_slots", "_spoilt", "_stage", "_statement", "_total", "_trusted"),
    )

    def __init__(self, rules: Rules, run: bytes, trusted: Mapping[str, bytes]) -> None:
        self._rules, self._run, self._trusted = rules, run, trusted
        self._stage, self._round, self._names = len(STAGES), -1, list[str]()
        self._role = Role()

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
        self._roster, self._statement, self._spoilt = b"", b"", ""
        self._slots, self._batches = self._begun(), 0
        self._total = np.zeros(0, np.uint8)
        self._keys: dict[str, bytes] = {}
        self._digests: dict[str, bytes] = {}
        self._joined: dict[str, bytes] = {}
        self._signatures: dict[str, bytes] = {}

    def _begun(self) -> int:
        """How many slots a ciphertext has, in a worker process that forgot every other round, or a new one."""
        flooding = b"1" if self._rules.flooding else b"0"
        with contextlib.suppress(WorkerEnded):
            return int(self._role.call("open", flooding)[0])
        self._role = Role()
        return int(self._role.call("open", flooding)[0])

    def requests(self) -> dict[str, Request]:
        """What to send, to whom, in this stage."""
        stage, names, arrays = self.stage, self._names, dict[str, Array]()
        if stage == "finish":
            raise ProtocolError("all stages of the homomorphic sum are closed: there is nothing to send")
        if stage == "lead":
            leads = [np.array([name == names[0]], np.uint8) for name in names]
            return {n: Request(KIND + stage, self._round, {"lead": it}) for n, it in zip(names, leads, strict=True)}
        if stage == "join":
            arrays = {"first": as_array(self._keys[names[0]])}
        elif stage == "masked":
            arrays = {"names": as_array(join(names)), "keys": packed([self._keys[name] for name in names])}
            arrays["signatures"] = as_rows([self._joined[name] for name in names], 64)
        else:
            arrays = {"total": self._total}
        return {name: Request(KIND + stage, self._round, arrays) for name in names}

    def receive(self, sender: str, reply: Reply) -> None:
        """Take one party's reply to the open stage. Ciphertexts and parts are added at once and not kept.

        Raises:
            ProtocolError: from a party that was not asked or has answered, malformed, unsigned, another's key, or
                refused by OpenFHE.
        """
        stage, got, session = self.stage, reply.arrays, self._session
        check_awaited(sender, () if stage == "finish" else self._names, self._answered, stage)
        if stage in ("lead", "join"):
            if stage == "join" or sender == self._names[0]:
                self._key(session, sender, got, stage)
        else:
            whole = flat(got, "sent" if stage == "masked" else "part")
            digest = hashed(whole)
            if stage == "masked":
                said = session.sent(sender, self._roster, digest)
            else:
                said = session.part(sender, self._statement, digest)
            what = "ciphertext" if stage == "masked" else "part in opening"
            signed(self._trusted.get(sender), taken(got, "signature", (64,)), said, sender, what)
            if stage == "open":
                statement = taken(got, "statement", (64,))
                signed(self._trusted.get(sender), statement, self._statement, sender, "statement")
                self._signatures[sender] = statement.tobytes()
            self._add(sender, pieces(whole))
        self._answered.add(sender)

    def _key(self, session: Session, sender: str, got: Mapping[str, Array], stage: str) -> None:
        key, signature = raw(got, "key"), taken(got, "signature", (64,))
        digest = hashed(key)
        signed(self._trusted.get(sender), signature, session.joined(sender, digest), sender, "share of the key")
        if any(digest == other for name, other in self._digests.items() if name != sender):
            raise ProtocolError(f"{sender!r} sent the share of the key of another party")
        if stage == "join" and sender == self._names[0] and digest != self._digests[sender]:
            raise ProtocolError(f"{sender!r} sent two different shares of the key in one round")
        self._keys[sender], self._digests[sender], self._joined[sender] = key, digest, signature.tobytes()

    def _add(self, sender: str, sent: list[memoryview]) -> None:
        if len(sent) != self._batches:
            raise ProtocolError(f"{self._batches} ciphertexts of {sender!r} were needed, got {len(sent)}")
        for place, piece in enumerate(sent):
            try:
                self._role.call("add", b"%d" % place, piece)
            except ProtocolError as why:
                if place or isinstance(why, WorkerEnded):
                    self._spoilt = f"what {sender!r} sent broke off the sum"
                raise

    def close(self) -> None:
        """End the open stage with the replies that came.

        Raises:
            SecureSumAborted: too few are left, or one is missing without whom the sum cannot be opened.
        """
        stage, here = self.stage, self._answered
        if self._spoilt:
            raise SecureSumAborted(f"{self._spoilt} in round {self._round}: nothing was opened")
        needed = self._rules.least if stage in ("lead", "join") else len(self._names)
        first_gone = stage in ("lead", "join") and self._names[0] not in here
        if first_gone or len(here) < needed:
            raise SecureSumAborted(
                f"{len(here)} of {len(self._names)} parties answered in the stage {stage!r} of round {self._round}; "
                "the sum cannot be opened without the others: nothing was opened"
            )
        if stage in ("lead", "join"):
            self._names = sorted(here)
        if stage == "join":
            self._roster = self._session.roster(self._names, [self._digests[name] for name in self._names])
            self._batches = -(-count(self._size, len(self._names)) // self._slots)
        elif stage == "masked":
            try:
                self._total = self._sum()
            except ProtocolError as error:
                raise SecureSumAborted(f"round {self._round}: {error}: nothing was opened") from None
            self._statement = self._session.statement(self._roster, hashed(self._total))
        elif stage == "open":
            self._total = np.zeros(0, np.uint8)
        self._answered, self._stage = set(), self._stage + 1

    def _sum(self) -> Array:
        total = Pieces()
        for place in range(self._batches):
            total.append(self._role.call("sum", b"%d" % place)[0])
        return total.array()

    def finish(self) -> list[Opened]:
        """The sum, opened by the parts of all parties: a list of one, as of a secure sum in one group.

        Raises:
            ProtocolError: stages are still open.
            SecureSumAborted: the parts do not fit.
        """
        if self.stage != "finish" or not self._names:
            raise ProtocolError(f"the homomorphic sum cannot finish while the stage {self.stage!r} is open")
        names, self._names = self._names, []
        try:
            total = self._role.opened(self._size, self._slots, len(names))
        except ProtocolError as error:
            raise SecureSumAborted(f"round {self._round}: {error}") from None
        survivors, dropped = tuple(names), tuple(sorted(set(self._cohort) - set(names)))
        return [Opened(total, survivors, dropped, self._statement, dict(self._signatures))]
