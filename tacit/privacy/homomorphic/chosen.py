"""A homomorphic sum of chosen parts of a contribution beside a secure sum by masks of the rest, in one conversation.

Both protocols run as they are, side by side: their stages are paired so that parties are asked no more often than by
the homomorphic sum alone, and each party answers for both. Names of parts are those of a contribution's parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tacit.core.values import Array, Params, PlanError, ProtocolError, Reply, Request
from tacit.privacy.homomorphic import client, server, wire
from tacit.privacy.homomorphic.rules import Rules
from tacit.privacy.secure_sum import client as masks_client
from tacit.privacy.secure_sum import server as masks_server
from tacit.privacy.secure_sum.entropy import RandomBytes
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted
from tacit.privacy.secure_sum.sum import SecAgg

PAIRS = dict(zip(wire.STAGES, ("advertise", "share", "masked", "sign", "unmask", ""), strict=True))
_ENCRYPTED, _MASKED = "encrypted.", "masked."  # before the names of arrays


def chosen(like: Params, parts: Sequence[str], size: int) -> Array:
    """(size,) bool: which values of a contribution, laid end to end in name order, are encrypted.

    Args:
        like: a contribution's parameters by name.
        parts: the names to encrypt.
        size: values that leave; as many as `like` has.

    Raises:
        PlanError: a name that is none, or a contribution whose length was changed on its way.
    """
    if unknown := sorted(set(parts) - like.keys()):
        raise PlanError(f"parts of a homomorphic sum must be among {sorted(like)}, got {unknown[0]!r}")
    out = np.concatenate([np.full(np.size(like[name]), name in parts) for name in sorted(like)])
    if len(out) != size:
        raise PlanError(
            f"a contribution of {len(out)} values leaves as {size}, so its parts cannot be told apart: encrypt all "
            "of it (no parts), or do not compress"
        )
    return out


def _masking(rules: Rules) -> SecAgg:
    return SecAgg(minimum=rules.least)


def _split(arrays: Params, prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _joined(encrypted: Params, masked: Params) -> dict[str, Array]:
    return {_ENCRYPTED + k: v for k, v in encrypted.items()} | {_MASKED + k: v for k, v in masked.items()}


class ChosenClient:
    """One party of both sums. `choose` before the stage "masked" says which values are encrypted."""

    __slots__ = ("_chosen", "_encrypted", "_masked")

    def __init__(
        self,
        rules: Rules,
        name: str,
        identity: Identity,
        run: bytes,
        trusted: Mapping[str, bytes],
        source: RandomBytes | None = None,
    ) -> None:
        self._encrypted = client.Client(rules, name, identity, run, trusted, source)
        self._masked = masks_client.Client(_masking(rules), name, identity, run, trusted, source)
        self._chosen = np.zeros(0, bool)

    def __repr__(self) -> str:
        return repr(self._encrypted)

    def choose(self, chosen: Array) -> None:
        """Encrypt these values, (d,) bool, and mask the others. The party's own plan says which."""
        self._chosen = chosen

    def answer(self, request: Request, vector: Array | None = None) -> Reply:
        """Answer one message of the server; `vector` (d,) uint32 is needed in the stage "masked".

        Raises:
            ProtocolError: whatever either sum refuses, or a vector of another length than was chosen from.
        """
        stage = request.kind.removeprefix(wire.KIND)
        mine = theirs = None
        if vector is not None:
            if vector.shape != self._chosen.shape:
                raise ProtocolError(f"a vector of {len(self._chosen)} values was chosen from, got {vector.shape}")
            mine, theirs = vector[self._chosen], vector[~self._chosen]
        arrays = _split(request.arrays, _MASKED)
        masked: Params = {}
        if PAIRS.get(stage):
            masked = self._masked.answer(replace(request, kind=wire.KIND + PAIRS[stage], arrays=arrays), theirs).arrays
        arrays = _split(request.arrays, _ENCRYPTED)
        return Reply(_joined(self._encrypted.answer(replace(request, arrays=arrays), mine).arrays, masked))


class ChosenServer:
    """The server of both sums, used as one. `choose` before `start` says which values are encrypted."""

    __slots__ = ("_chosen", "_encrypted", "_masked")

    def __init__(self, rules: Rules, run: bytes, trusted: Mapping[str, bytes]) -> None:
        self._encrypted = server.Server(rules, run, trusted)
        self._masked = masks_server.Server(_masking(rules), run, trusted)
        self._chosen = np.zeros(0, bool)

    @property
    def stage(self) -> str:
        """The stage whose replies are awaited; "finish" after the last."""
        return self._encrypted.stage

    def choose(self, chosen: Array) -> None:
        """These values, (d,) bool, come encrypted; the others masked."""
        self._chosen = chosen

    def start(self, round: int, cohort: Sequence[str], size: int) -> None:
        """Begin a round that sums (size,) vectors of this cohort.

        Raises:
            SecureSumAborted: the cohort is smaller than the minimum.
            PlanError: neither sum's rules can hold for so many parties and values.
            ProtocolError: nobody has chosen among so many values.
        """
        if self._chosen.shape != (size,):
            raise ProtocolError(f"parts were chosen among {len(self._chosen)} values, but {size} are summed")
        count = int(self._chosen.sum())
        self._encrypted.start(round, cohort, count)
        self._masked.start(round, cohort, size - count)

    def requests(self) -> dict[str, Request]:
        """What to send, to whom, in this stage."""
        masked = self._masked.requests() if PAIRS[self.stage] else {}
        return {
            name: replace(asked, arrays=_joined(asked.arrays, masked[name].arrays if masked else {}))
            for name, asked in self._encrypted.requests().items()
            if not masked or name in masked
        }

    def receive(self, sender: str, reply: Reply) -> None:
        """Take one party's reply to the open stage.

        Raises:
            ProtocolError: whatever either sum refuses.
        """
        if PAIRS.get(self.stage):
            self._masked.receive(sender, Reply(_split(reply.arrays, _MASKED)))
        self._encrypted.receive(sender, Reply(_split(reply.arrays, _ENCRYPTED)))

    def close(self) -> None:
        """End the open stage with the replies that came.

        Raises:
            SecureSumAborted: too few are left for either sum.
        """
        paired = PAIRS.get(self.stage)
        self._encrypted.close()
        if paired:
            self._masked.close()

    def finish(self) -> list[Opened]:
        """Both sums, each value in its place: a list of one.

        Raises:
            SecureSumAborted: one cannot be opened, or they are not of the same parties.
        """
        encrypted, masked = self._encrypted.finish()[0], self._masked.finish()
        if encrypted.survivors != tuple(sorted(masked.survivors)):
            raise SecureSumAborted("the encrypted and the masked part of the sum are not of the same parties")
        total = np.empty(len(self._chosen), np.uint32)
        total[self._chosen], total[~self._chosen] = encrypted.total, masked.total
        return [replace(encrypted, total=total)]
