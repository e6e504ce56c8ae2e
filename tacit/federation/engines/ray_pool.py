"""Nodes in other processes or on other machines, by Ray: the same protocol, the same result. Extra `[ray]`.

P. Moritz et al.: "Ray: A Distributed Framework for Emerging AI Applications", OSDI 2018,
https://arxiv.org/abs/1712.05889. Ray moves messages between machines that trust each other (it pickles them); for
parties that do not, use a deployed engine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tacit.core.protocols import Answer
from tacit.core.values import Address, PlanError, Reply, Request, TacitError


class RayPool:
    """One Ray actor for each node. Use as a context manager: leaving it ends the actors, and Ray if it was started."""

    def __init__(self, build: Mapping[str, Callable[[], Answer]], threads: int = 1) -> None:
        """`build` makes each node's worker inside its own process.

        Raises:
            PlanError: Ray is not installed.
        """
        try:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            import ray
        except ImportError:
            raise PlanError("the Ray engine needs the extra `ray`: pip install 'tacit[ray]'") from None
        self._ray: Any = ray
        self._started = not ray.is_initialized()
        if self._started:
            ray.init(num_cpus=max(len(build), 1), include_dashboard=False, log_to_driver=False, configure_logging=False)
        remote: Any = ray.remote(num_cpus=1)(Host)
        self._hosts = {name: remote.remote(make, threads) for name, make in build.items()}
        self._pending: dict[Any, Address] = {}
        try:
            self._counts: dict[str, int] = {n: ray.get(host.clients.remote()) for n, host in self._hosts.items()}
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *error: object) -> None:
        for host in self._hosts.values():
            self._ray.kill(host)
        if self._started:
            self._ray.shutdown()

    def nodes(self) -> Mapping[str, int]:
        """Node -> number of clients it hosts."""
        return dict(self._counts)

    def send(self, requests: Mapping[Address, Request]) -> None:
        """Hand each request to its node's actor; those of an earlier call that were not answered are dropped."""
        put: dict[int, Any] = {}  # a broadcast is stored once, not once for each address
        self._pending = {}
        for address, request in requests.items():
            if id(request) not in put:
                put[id(request)] = self._ray.put(request)
            host = self._hosts[address.split("/", 1)[0]]
            self._pending[host.answer.remote(address, put[id(request)])] = address

    def receive(self, deadline: float | None = None) -> Iterator[tuple[Address, Reply]]:
        """Answers as they come, until none is pending or `deadline` seconds have passed."""
        end = None if deadline is None else time.monotonic() + deadline
        while self._pending:
            left = None if end is None else max(0.0, end - time.monotonic())
            ready, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=left)
            if not ready:
                break
            for reference in ready:
                address = self._pending.pop(reference)
                reply = self._heard(reference)
                if reply is not None:
                    yield address, reply
        self._pending = {}

    def _heard(self, reference: Any) -> Reply | None:
        """A reply, or silence where the actor is gone."""
        try:
            reply: Reply | None = self._get(reference)
        except self._ray.exceptions.RayActorError:
            return None
        return reply

    def _get(self, reference: Any) -> Any:
        """What a worker gave back; its own error where it refused, without Ray's account of it."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, TacitError):
                raise error.cause from None
            raise

    def private(self, round: int) -> dict[str, Mapping[str, Any]]:
        """Simulation only: all private parameters as after a round, to measure with; nothing in the protocol asks."""
        return {name: self._get(host.private.remote(round)) for name, host in self._hosts.items()}

    def witness(self, round: int) -> list[Any]:
        """Simulation only: the plain sums of what nodes masked in a round, to check the secure sum with."""
        return [self._get(host.witness.remote(round)) for host in self._hosts.values()]


class Host:
    """What runs inside an actor: one node's worker."""

    def __init__(self, make: Callable[[], Any], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._worker = make()

    def clients(self) -> int:
        """How many clients the node hosts."""
        return int(self._worker.clients)

    def answer(self, address: Address, request: Request) -> Reply | None:
        """The worker's answer."""
        reply: Reply | None = self._worker(address, request)
        return reply

    def private(self, round: int) -> dict[str, Any]:
        """The private parameters of the node's clients, as after a round."""
        return dict(self._worker.private.after(round))

    def witness(self, round: int) -> Any:
        """The plain sum of what the node's parties masked in a round."""
        return self._worker.sessions.witness(round)
