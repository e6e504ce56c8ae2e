"""The server's end of a secure sum inside a round: enrol, drive the stages, read the sum of integers back as floats."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Engine, LocalWork, Statistics, exchange
from tacit.core.values import Address, Array, Params, ProtocolError, Reply, Request, Scalar, Vector
from tacit.federation.cohort import COHORT
from tacit.federation.randomness import stream
from tacit.learning.integers import quantiser

MODEL = "#model/"  # before the names of broadcast parameters, in requests of the stage "masked"


@dataclass(frozen=True, slots=True, eq=False)
class Summed:
    """What a round gathered."""

    vector: Vector  # (d,) float64
    clients: int  # whose contributions are in it
    bytes_up: int  # per contributing party
    bytes_down: int  # beside the broadcast parameters
    digest: str = ""  # SHA-256 of the opened integers, in hex; empty without a secure sum


class SecureServer:
    """One run's server: keeps identities' public keys and checked key adverts over the rounds, never a contribution."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        """Enrol every party: collect public identity keys and hand them round.

        In simulation the server is trusted to do that honestly; between real parties the keys must reach clients on a
        way that the server cannot bend.
        """
        self._plan = plan
        self._run = stream(plan, "secure run").bytes(16)
        nodes = engine.nodes()
        self._clients = sum(nodes.values())
        config: dict[str, Scalar] = {"plan": plan.digest(), "run": self._run, "clients": self._clients}
        enrol = {name: Request("enrol", 0, {}, config) for name in nodes}
        keys = {name: _keys(plan, name, nodes[name], reply) for name, reply in exchange(engine, enrol)}
        self._trusted = {address: key for name, part in keys.items() for address, key in _addressed(plan, name, part)}
        everyone = {name: Request("trust", 0, keys, config) for name in nodes}
        for _ in exchange(engine, everyone):
            pass
        rules: Any = plan.secure_sum
        self._server = rules.server(self._run, self._trusted)

    def sum(
        self, engine: Engine, chosen: dict[str, Array], request: Request, like: Params, work: LocalWork | Statistics
    ) -> Summed:
        """Drive one round; parties that fall silent or break the protocol are left out.

        Raises:
            ProtocolError: too few parties are left; nothing was opened.
        """
        plan = self._plan
        parties = _parties(plan, chosen)
        codec = quantiser(plan, work, like, self._clients, len(self._trusted))
        size = sum(codec.lengths)
        self._server.start(request.round, list(parties), size)
        model = {MODEL + name: value for name, value in request.arrays.items()}
        up = down = 0
        hosted: dict[Address, int] = {}  # party -> clients whose contributions its upload adds
        while self._server.stage != "finish":
            masked = self._server.stage == "masked"
            requests = {}
            for party, asked in self._server.requests().items():
                down += sum(value.nbytes for value in asked.arrays.values())
                arrays = {**asked.arrays, **model, **parties[party]} if masked else asked.arrays
                requests[party] = replace(asked, arrays=arrays, config=request.config)
            for party, reply in exchange(engine, requests):
                if masked:
                    asked_of = len(parties[party].get(COHORT, [0]))
                    hosted[party] = _claimed(plan, reply, asked_of)
                    if hosted[party] < 0:
                        continue
                up += self._received(party, reply)
            self._server.close()
        opened = self._server.finish()
        count = sum(hosted[party] for party in opened.survivors)
        number = max(len(opened.survivors), 1)
        digest = hashlib.sha256(np.ascontiguousarray(opened.total).tobytes()).hexdigest()
        vector = codec.decode(opened.total, len(opened.survivors))
        return Summed(vector, count, up // number, down // max(len(parties), 1), digest)

    def _received(self, party: Address, reply: Reply) -> int:
        try:
            self._server.receive(party, reply)
        except ProtocolError:  # a party that speaks nonsense is as good as silent
            return 0
        return sum(value.nbytes for value in reply.arrays.values())


def _parties(plan: Plan, chosen: dict[str, Array]) -> dict[Address, dict[str, Array]]:
    """Party -> what only it is told: clients one by one, or nodes with their part of the cohort."""
    if plan.secure_between == "nodes":
        return {name: {COHORT: mine} for name, mine in chosen.items()}
    return {f"{name}/{client}": {} for name, mine in chosen.items() for client in mine.tolist()}


def _claimed(plan: Plan, reply: Reply, asked: int) -> int:
    """How many clients an upload adds: one, or what a node says, if it can be true; else -1."""
    if plan.secure_between == "clients":
        return 1
    said = reply.config.get("clients")
    return said if isinstance(said, int) and 0 <= said <= asked else -1


def _keys(plan: Plan, node: str, clients: int, reply: Reply) -> Array:
    """(parties, 32) uint8 public keys of a node's parties.

    Raises:
        ProtocolError: other shapes or types.
    """
    needed = (1 if plan.secure_between == "nodes" else clients, 32)
    keys = np.asarray(reply.arrays.get("keys"))
    if keys.shape != needed or keys.dtype != np.uint8:
        raise ProtocolError(f"{node} enrolled with keys of shape {keys.shape}; {needed} bytes were needed")
    return keys


def _addressed(plan: Plan, node: str, keys: Array) -> list[tuple[Address, bytes]]:
    """(address, public key) of each party on a node."""
    if plan.secure_between == "nodes":
        return [(node, keys[0].tobytes())]
    return [(f"{node}/{number}", key.tobytes()) for number, key in enumerate(keys)]
