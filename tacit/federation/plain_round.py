"""What a node has answered without a secure sum in the round in progress, so that to be asked again changes nothing."""

from __future__ import annotations

import hashlib

import numpy as np

from tacit.core.plan import Plan
from tacit.core.values import Array, ProtocolError, Reply, Request
from tacit.federation.private_store import PrivateStore
from tacit.privacy.unit import noisy_steps


class PlainRound:
    """A repeated request gets the same reply, and trains private parameters from where the round began.

    What is computed without chance is computed once more; what holds noise or rounding by the operating system's
    randomness is kept and sent again. Another question in the same round would then be a second release, which nobody
    has accounted for: it is refused.

    Guarantees:
        a repeated request is answered with the same reply.
        private parameters are trained once in a round.
        clients that draw noise answer one question in a round.
    """

    def __init__(self, plan: Plan, private: PrivateStore) -> None:
        self._private = private
        self._draws = not plan.simulation and (plan.per_client or noisy_steps(plan) is not None)
        self._round = 0  # in progress; 0 = none
        self._before: tuple[Array, dict[str, Array]] | None = None  # clients, their private parameters as it began
        self._said: tuple[str, Reply] | None = None  # digest of the request, what was answered

    def said(self, request: Request) -> Reply | None:
        """What was answered to this very request, where it is to be sent again unchanged.

        Raises:
            ProtocolError: another request in this round was answered with noise.
        """
        if self._said is None or self._round != request.round:
            return None
        digest, reply = self._said
        if digest != _digest(request):
            raise ProtocolError(
                f"round {request.round} was answered before, with noise of its own: another request in it would be a "
                "second release that nobody has accounted for. Refused"
            )
        return reply

    def begin(self, round: int, cohort: Array) -> None:
        """Have these clients' private parameters as they were when the round began."""
        if self._round == round and self._before is not None:
            for name, values in self._before[1].items():
                self._private.own[name][self._before[0]] = values
        if len(cohort):
            self._private.begin(round)
        self._round = round
        self._before = (cohort, {name: values[cohort].copy() for name, values in self._private.own.items()})

    def answered(self, request: Request, reply: Reply) -> Reply:
        """The reply, kept where it could not be given once more."""
        self._said = (_digest(request), reply) if self._draws else None
        return reply

    def end(self) -> None:
        """The round is over."""
        self._round, self._before, self._said = 0, None, None


def _digest(request: Request) -> str:
    """SHA-256 over everything in a request."""
    found = hashlib.sha256(repr((request.kind, request.round, sorted(request.config.items()))).encode())
    for name in sorted(request.arrays):
        value = np.asarray(request.arrays[name], order="C")
        found.update(f"{name} {value.dtype.str} {value.shape} ".encode() + value.tobytes())
    return found.hexdigest()
