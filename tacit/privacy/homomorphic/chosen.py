"""A homomorphic sum of chosen parts of a contribution beside a secure sum by masks of the rest, in one conversation.

Both protocols run as they are, side by side: their stages are paired around "masked", where both upload, so that
parties are asked hardly more often than by one of them, and each party answers for both. Names of parts are those of a
contribution's parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from tacit.core.trees import marked
from tacit.core.values import Array, Params, PlanError, ProtocolError, Reply, Request
from tacit.privacy.secure_sum import client as masks_client
from tacit.privacy.secure_sum import server as masks_server
from tacit.privacy.secure_sum import wire
from tacit.privacy.secure_sum.entropy import RandomBytes
from tacit.privacy.secure_sum.keys import Identity
from tacit.privacy.secure_sum.opened import Opened, SecureSumAborted
from tacit.privacy.secure_sum.sum import SecAgg

_ENCRYPTED, _MASKED = "encrypted.", "masked."  # before the names of arrays


class Party(Protocol):
    """A party of any sum that goes by stages."""

    def answer(self, request: Request, vector: Array | None = None) -> Reply:
        """Answer one message of the server."""


class Server(Protocol):
    """The server of a homomorphic sum."""

    @property
    def stage(self) -> str:
        """The stage whose replies are awaited; "finish" after the last."""

    def start(self, round: int, cohort: Sequence[str], size: int) -> None:
        """Begin a round."""

    def requests(self) -> dict[str, Request]:
        """What to send, to whom."""

    def receive(self, sender: str, reply: Reply) -> None:
        """Take a reply."""

    def close(self) -> None:
        """End the stage."""

    def finish(self) -> list[Opened]:
        """The sum."""


def paired(stages: Sequence[str]) -> list[tuple[str, str]]:
    """The stages of a homomorphic sum beside those of the masks, "" where one of them has none left."""
    ours, theirs = stages.index("masked"), wire.STAGES.index("masked")
    before, after = max(ours, theirs), max(len(stages) - ours, len(wire.STAGES) - theirs)
    padded = [("",) * (before - at) + tuple(each) for at, each in ((ours, stages), (theirs, wire.STAGES))]
    one, other = ([*each, *("",) * (before + after - len(each))] for each in padded)
    return list(zip(one, other, strict=True))


def beside_masks(stages: Sequence[str]) -> tuple[str, ...]:
    """The messages of a round of both sums: each has the name of the homomorphic sum's stage, if that has one left."""
    return tuple(one or other for one, other in paired(stages))


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
    out = marked(like, parts)
    if len(out) != size:
        raise PlanError(
            f"a contribution of {len(out)} values leaves as {size}, so its parts cannot be told apart: encrypt all "
            "of it (no parts), or do not compress"
        )
    return out


def _split(arrays: Params, prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _joined(encrypted: Params, masked: Params) -> dict[str, Array]:
    return {_ENCRYPTED + k: v for k, v in encrypted.items()} | {_MASKED + k: v for k, v in masked.items()}


class ChosenClient:
    """One party of both sums. `choose` before the stage "masked" says which values are encrypted."""

    __slots__ = ("_chosen", "_encrypted", "_masked", "_pairs")

    def __init__(
        self,
        encrypted: Party,
        stages: Sequence[str],
        least: int,
        name: str,
        identity: Identity,
        run: bytes,
        trusted: Mapping[str, bytes],
        source: RandomBytes | None = None,
    ) -> None:
        """Beside a party of the homomorphic sum with these stages; `least` parties are summed at least."""
        self._encrypted, self._pairs = encrypted, {one or other: (one, other) for one, other in paired(stages)}
        self._masked = masks_client.Client(SecAgg(minimum=least), name, identity, run, trusted, source)
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
        ours, theirs = self._pairs.get(stage, (stage, ""))
        mine = rest = None
        if vector is not None:
            if vector.shape != self._chosen.shape:
                raise ProtocolError(f"a vector of {len(self._chosen)} values was chosen from, got {vector.shape}")
            mine, rest = vector[self._chosen], vector[~self._chosen]
        encrypted: Params = {}
        masked: Params = {}
        if theirs:
            arrays = _split(request.arrays, _MASKED)
            masked = self._masked.answer(replace(request, kind=wire.KIND + theirs, arrays=arrays), rest).arrays
        if ours:
            arrays = _split(request.arrays, _ENCRYPTED)
            encrypted = self._encrypted.answer(replace(request, arrays=arrays), mine).arrays
        return Reply(_joined(encrypted, masked))


class ChosenServer:
    """The server of both sums, used as one. `choose` before `start` says which values are encrypted."""

    __slots__ = ("_chosen", "_encrypted", "_masked", "_pairs", "_stage")

    def __init__(
        self, encrypted: Server, stages: Sequence[str], least: int, run: bytes, trusted: Mapping[str, bytes]
    ) -> None:
        """Beside the server of the homomorphic sum with these stages; `least` parties are summed at least."""
        self._encrypted, self._pairs = encrypted, paired(stages)
        self._masked = masks_server.Server(SecAgg(minimum=least), run, trusted)
        self._chosen, self._stage = np.zeros(0, bool), len(self._pairs)

    @property
    def stage(self) -> str:
        """The stage whose replies are awaited; "finish" after the last."""
        ours, theirs = self._pair
        return ours or theirs or "finish"

    @property
    def _pair(self) -> tuple[str, str]:
        return self._pairs[self._stage] if self._stage < len(self._pairs) else ("", "")

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
        self._stage = 0

    def requests(self) -> dict[str, Request]:
        """What to send, to whom, in this stage: to those whom both sums ask."""
        ours, theirs = self._pair
        if not (ours or theirs):
            raise ProtocolError("all stages of the homomorphic sum are closed: there is nothing to send")
        encrypted = self._encrypted.requests() if ours else {}
        masked = self._masked.requests() if theirs else {}
        out = {}
        for name, asked in (encrypted or masked).items():
            if (not ours or name in encrypted) and (not theirs or name in masked):
                both = _joined(encrypted[name].arrays if ours else {}, masked[name].arrays if theirs else {})
                out[name] = replace(asked, kind=wire.KIND + self.stage, arrays=both)
        return out

    def receive(self, sender: str, reply: Reply) -> None:
        """Take one party's reply to the open stage.

        Raises:
            ProtocolError: whatever either sum refuses.
        """
        ours, theirs = self._pair
        if theirs:
            self._masked.receive(sender, Reply(_split(reply.arrays, _MASKED)))
        if ours or not theirs:
            self._encrypted.receive(sender, Reply(_split(reply.arrays, _ENCRYPTED)))

    def close(self) -> None:
        """End the open stage with the replies that came.

        Raises:
            SecureSumAborted: too few are left for either sum.
        """
        ours, theirs = self._pair
        if ours or not theirs:
            self._encrypted.close()
        if theirs:
            self._masked.close()
        self._stage += 1

    def finish(self) -> list[Opened]:
        """Both sums, each value in its place: a list of one.

        Raises:
            SecureSumAborted: one cannot be opened, or they are not of the same parties.
        """
        encrypted, masked = self._encrypted.finish()[0], self._masked.finish()
        if tuple(sorted(encrypted.survivors)) != tuple(sorted(masked.survivors)):
            raise SecureSumAborted("the encrypted and the masked part of the sum are not of the same parties")
        total = np.empty(len(self._chosen), np.uint32)
        total[self._chosen], total[~self._chosen] = encrypted.total, masked.total
        return [replace(encrypted, total=total)]
