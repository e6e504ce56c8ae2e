"""What a curious server, or a reader of the model, gets to see of each round: recorded on the real path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Engine
from tacit.core.trees import flatten, size
from tacit.core.values import Address, Array, Params, Population, Reply, Request, Scalar, State, Turn, Vector
from tacit.evaluation.attacks.protections import Protection
from tacit.evaluation.attacks.watched import Watched, seen
from tacit.federation.cohort import COHORT
from tacit.federation.engines.in_process import InProcess
from tacit.federation.run import broadcast, run
from tacit.federation.worker import Worker
from tacit.learning.contribution import contribution_like
from tacit.privacy import protection as layers
from tacit.privacy.randomness import simulated


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class View:
    """Messages of one round. Personal data: it never enters a report."""

    each: Array | None  # (clients, d) float64 what every client sent, where the server can read it; else None
    released: Vector  # (d,) float64 the sum that the algorithm was given: noise included, where there is any
    like: Params  # names and shapes of a contribution
    clients: int
    shared: Params  # what was broadcast before the round

    def of(self, client: int) -> Vector:
        """(d,) float64 all that this attacker has on one client: its message, or the sum."""
        return self.released if self.each is None else self.each[client]


class Tap:
    """An engine that remembers what the server received; requests and replies pass unchanged."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.heard: dict[Address, Reply] = {}

    def nodes(self) -> Mapping[str, int]:
        """The engine's."""
        return self._engine.nodes()

    def send(self, requests: Mapping[Address, Request]) -> None:
        """The engine's."""
        self._engine.send(requests)

    def receive(self, deadline: float | None = None) -> Iterator[tuple[Address, Reply]]:
        """The engine's; replies with a client's numbers are kept."""
        for address, reply in self._engine.receive(deadline):
            if "clients" in reply.config:
                self.heard[address] = reply
            yield address, reply


def observe(plan: Plan, clients: Population, protection: Protection, numbers: Array | None = None) -> View:
    """One round over these clients, each a node of its own, under a protection instead of the plan's own.

    `numbers` are their places among all clients, which the public seeds of batches and negatives follow.
    """
    return next(watch(plan, clients, protection, 1, numbers))


def watch(
    plan: Plan, clients: Population, protection: Protection, rounds: int = 1, numbers: Array | None = None
) -> Iterator[View]:
    """As `observe`, of round after round; all of these clients are in each."""
    ready = protection.on(replace(plan, algorithm=Watched(plan.algorithm), rounds=rounds), len(clients))
    nodes = _nodes(ready, clients, numbers)
    tap = Tap(InProcess(nodes))
    told = layers.start(ready)
    shared = broadcast(plan.model, ready.algorithm.init(plan.model, clients.schema, plan.seed).shared)
    for done in run(ready, tap, clients.schema):
        like = contribution_like(ready, shared, clients.schema, done.number)
        turns = layers.turns(ready, done.number, size(like), len(clients), len(clients), told)
        each = None
        if protection.reads == "each":
            each = np.stack([_undone(ready, flatten(tap.heard[name].arrays), turns) for name in nodes])
        yield View(each, seen(done.state), like, len(clients), shared)
        shared, told = broadcast(plan.model, done.state.shared), layers.unpacked(ready, done.state.server)


def _undone(plan: Plan, message: Vector, turns: tuple[Turn, ...]) -> Vector:
    """(d,) what a client's message says of its contribution: every layer is public but noise that the server adds."""
    if plan.per_client:
        for transform, turn in zip(reversed(plan.protect), reversed(turns), strict=True):
            if not transform.noisy or transform.bound is None:
                message = transform.decode(message, turn, simulated("undone"))
    return message


class Puppets:
    """Clients whose rows the attacker knows: what each would send, unprotected, in answer to a round's broadcast."""

    def __init__(self, plan: Plan, clients: Population, rounds: int = 1, numbers: Array | None = None) -> None:
        self._plan = Protection().on(replace(plan, rounds=rounds), len(clients))
        self._nodes = _nodes(self._plan, clients, numbers)
        self._round = 0

    def answers(self, shared: Params) -> Array:
        """(clients, d) float64: their contributions to the next round."""
        self._round += 1
        config: dict[str, Scalar] = {"plan": self._plan.digest(), "clients": len(self._nodes), "parties": 1}
        asked = Request("train", self._round, {**shared, COHORT: np.zeros(1, np.int64)}, config)
        commit = Request("commit", self._round, {}, {"plan": self._plan.digest()})
        out = []
        for name, node in self._nodes.items():
            reply = node(name, asked)
            assert reply is not None
            out.append(flatten(reply.arrays))
            node(name, commit)
        return np.stack(out)


def _nodes(plan: Plan, clients: Population, numbers: Array | None) -> dict[str, Worker]:
    """A node of its own for each client."""
    nodes = {}
    for number, place in enumerate(range(len(clients)) if numbers is None else numbers.tolist()):
        part = clients.take([number])
        nodes[f"c{number}"] = Worker(plan, Population(part.schema, part.offsets, part.fields, place))
    return nodes


def released(plan: Plan, clients: Population, protection: Protection) -> State:
    """The state after all rounds of the plan over these clients, under a protection: what a reader of the model has.

    Clients stand on one node and a secure sum is left out, so that a whole training is quick: its model is the same.
    """
    ready = protection.on(plan, len(clients), cheap=True)
    state = None
    for done in run(ready, InProcess({"all": Worker(ready, clients)}), clients.schema):
        state = done.state
    assert state is not None
    return state
