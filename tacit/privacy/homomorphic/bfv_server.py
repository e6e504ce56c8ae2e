"""The server of a sum by OpenFHE: relays keys, adds ciphertexts in a worker process, joins the parts that open them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tacit.core.values import Array, ProtocolError, Reply, Request
from tacit.privacy.homomorphic.bfv import Role
from tacit.privacy.homomorphic.bfv_wire import STAGES, Rules, packed, pieces, statement
from tacit.privacy.homomorphic.wire import KIND, signed
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted
from tacit.privacy.secure_sum.wire import as_array, raw, taken


class BFVServer:
    """Relays keys, adds ciphertexts as they come, joins the parts: `start`, stages, `finish`, as `server.Server`."""

    __slots__ = (
        *("_answered", "_cohort", "_context", "_keys", "_names", "_parts", "_role", "_round", "_rules", "_run"),
        *("_signatures", "_size", "_stage", "_total", "_trusted"),
    )

    def __init__(self, rules: Rules, run: bytes, trusted: Mapping[str, bytes]) -> None:
        self._rules, self._run, self._trusted = rules, run, trusted
        self._stage, self._round, self._names = len(STAGES), -1, list[str]()
        self._role = Role()

    @property
    def stage(self) -> str:
        """The stage whose replies are awaited; "finish" after the last, and before the first round."""
        return STAGES[self._stage] if self._stage < len(STAGES) else "finish"

    def start(self, round: int, cohort: Sequence[str], size: int) -> None:
        """Begin a round that sums (size,) vectors of this cohort; what was left of another round is forgotten.

        Raises:
            SecureSumAborted: the cohort is smaller than the minimum.
        """
        if len(cohort) < self._rules.least:
            raise SecureSumAborted(f"{len(cohort)} parties were asked, but the minimum is {self._rules.least}")
        self._round, self._cohort, self._size, self._stage = round, tuple(cohort), size, 0
        self._names, self._answered = sorted(cohort), set[str]()
        self._context, self._total = b"", np.zeros(0, np.uint8)
        self._keys: dict[str, bytes] = {}
        self._parts: dict[str, list[bytes]] = {}
        self._signatures: dict[str, bytes] = {}

    def requests(self) -> dict[str, Request]:
        """What to send, to whom, in this stage."""
        stage, names, arrays = self.stage, self._names, dict[str, Array]()
        if stage == "finish":
            raise ProtocolError("all stages of the homomorphic sum are closed: there is nothing to send")
        if stage == "lead":
            names = names[:1]
        elif stage == "join":
            arrays = {"context": as_array(self._context), "first": as_array(self._keys[names[0]])}
        elif stage == "masked":
            arrays = {"keys": packed([self._keys[name] for name in names])}
        else:
            arrays = {"total": self._total}
        return {name: Request(KIND + stage, self._round, arrays) for name in names}

    def receive(self, sender: str, reply: Reply) -> None:
        """Take one party's reply to the open stage. Ciphertexts are added at once and not kept.

        Raises:
            ProtocolError: from a party that was not asked or has answered, malformed, or refused by OpenFHE.
        """
        stage, got = self.stage, reply.arrays
        asked = self._names[:1] if stage == "lead" else self._names
        if stage == "finish" or sender not in asked or sender in self._answered:
            raise ProtocolError(f"{sender!r} was not asked in this stage ({stage}), or has answered already")
        if stage == "lead":
            context = raw(got, "context")
            self._role.call("load", context)
            self._context, self._keys[sender] = context, raw(got, "key")
        elif stage == "join":
            self._keys[sender] = raw(got, "key")
        elif stage == "masked":
            self._role.call("add", *pieces(raw(got, "sent"))[1:])
        else:
            part, signature = pieces(raw(got, "part"))[1:], taken(got, "signature", (64,))
            message = statement(self._run, self._round, self._total.tobytes())
            signed(self._trusted.get(sender), signature, message, sender, "statement")
            self._parts[sender], self._signatures[sender] = part, signature.tobytes()
        self._answered.add(sender)

    def close(self) -> None:
        """End the open stage with the replies that came; the next one begins.

        Raises:
            SecureSumAborted: too few are left, or one is missing without whom the sum cannot be opened.
        """
        stage, here = self.stage, self._answered
        needed = 1 if stage == "lead" else self._rules.least if stage == "join" else len(self._names)
        first_gone = stage in ("lead", "join") and self._names[0] not in here
        if first_gone or len(here) < needed:
            raise SecureSumAborted(
                f"{len(here)} of {len(self._names)} parties answered in the stage {stage!r} of round {self._round}; "
                "the sum cannot be opened without the others: nothing was opened"
            )
        if stage == "join":
            self._names = sorted(here)
        elif stage == "masked":
            self._total = packed([b"total", *self._role.call("sum")])
        self._answered, self._stage = set(), self._stage + 1

    def finish(self) -> list[Opened]:
        """The sum, opened by the parts of all parties: a list of one, as of a secure sum in one group.

        Raises:
            SecureSumAborted: the parts do not fit.
        """
        if self.stage != "finish" or not self._names:
            raise ProtocolError(f"the homomorphic sum cannot finish while the stage {self.stage!r} is open")
        frames = [piece for name in self._names for piece in self._parts[name]]
        try:
            found = self._role.call("fuse", str(self._size).encode(), str(len(self._names)).encode(), *frames)[0]
        except ProtocolError as error:
            raise SecureSumAborted(f"round {self._round}: {error}") from None
        total = np.frombuffer(found, "<i8").astype(np.uint32)
        message = statement(self._run, self._round, self._total.tobytes())
        survivors, dropped = tuple(self._names), tuple(sorted(set(self._cohort) - set(self._names)))
        self._names = []
        return [Opened(total, survivors, dropped, message, dict(self._signatures))]
