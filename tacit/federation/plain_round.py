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
    randomness is kept and sent again until the round is over. Another question in that round, or one in a round that
    was answered before or is none of the plan's, would be a release which nobody has accounted for: it is refused.

    Guarantees:
        a repeated request is answered with the same reply.
        private parameters are trained once in a round.
        clients that draw noise answer one question in a round.
    """

    def __init__(self, plan: Plan, private: PrivateStore) -> None:
        self._private = private
        self._draws = not plan.simulation and (plan.per_client or noisy_steps(plan) is not None)
        self._rounds = plan.rounds
        self._answered = 0  # the newest round that was answered with noise
        self._round = 0  # in progress; 0 = none
        self._before: tuple[Array, dict[str, Array]] | None = None  # clients, their private parameters as it began
        self._said: tuple[str, Reply] | None = None  # digest of the request, what was answered

    def said(self, request: Request) -> Reply | None:
        """What was answered to this very request, where it is to be sent again unchanged.

        Raises:
            ProtocolError: another request in this round, or this one in a round that is over, was answered with noise;
                or the plan has no such round.
        """
        if self._draws and request.round > self._rounds:
            raise ProtocolError(
                f"a plan that has {self._rounds} rounds was asked for round {request.round}: its noise is accounted "
                "for that many. Refused"
            )
        if not self._draws or request.round > self._answered:
            return None
        if self._said is None or self._said[0] != _digest(request):
            raise ProtocolError(
                f"round {request.round} was answered before, with noise of its own: another request in it would be a "
                "second release that nobody has accounted for. Refused"
            )
        return self._said[1]

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
        if self._draws:
            self._said, self._answered = (_digest(request), reply), request.round
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
