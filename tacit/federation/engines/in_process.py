"""All nodes in this process: a request is a function call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tacit.core.values import Address, Reply, Request


class InProcess:
    """Calls each node's worker in turn, when its reply is asked for: only one reply exists at a time."""

    def __init__(self, workers: Mapping[str, Any]) -> None:
        self._workers = dict(workers)
        self._pending: dict[Address, Request] = {}

    def nodes(self) -> Mapping[str, int]:
        """Node -> number of clients it hosts."""
        return {name: worker.clients for name, worker in self._workers.items()}

    def send(self, requests: Mapping[Address, Request]) -> None:
        """Queue requests; those of an earlier call that were not answered are dropped."""
        self._pending = dict(requests)

    def receive(self, deadline: float | None = None) -> Iterator[tuple[Address, Reply]]:
        """Answers in the order of the requests; a silent party is missing. A function call needs no deadline."""
        pending, self._pending = self._pending, {}
        for address, request in pending.items():
            reply = self._workers[address.split("/", 1)[0]](address, request)
            if reply is not None:
                yield address, reply

    def private(self, round: int) -> dict[str, Mapping[str, Any]]:
        """Simulation only: all private parameters as after a round, to measure with; nothing in the protocol asks."""
        return {name: worker.private.after(round) for name, worker in self._workers.items()}

    def witness(self, round: int) -> list[Any]:
        """Simulation only: the plain sums of what nodes masked in a round, to check the secure sum with."""
        return [worker.sessions.witness(round) for worker in self._workers.values()]
