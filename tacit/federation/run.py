"""The loop: broadcast, gather what sums, decode, update, and hand over a record of the round."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Engine, Model, exchange
from tacit.core.trees import flatten, size, unflatten
from tacit.core.values import (
    Array,
    Event,
    Params,
    PlanError,
    ProtocolError,
    Request,
    Round,
    Scalar,
    Schema,
    State,
    Turn,
)
from tacit.federation.cohort import COHORT, by_node, draw
from tacit.federation.randomness import stream
from tacit.federation.secure import SecureServer, Summed
from tacit.learning.contribution import contribution_like
from tacit.privacy import messages, protection
from tacit.privacy.calibrate import sampling_of
from tacit.privacy.participation import blocks, expected
from tacit.privacy.unit import noisy_steps


def run(plan: Plan, engine: Engine, schema: Schema, after: Round | None = None) -> Iterator[Round]:
    """Train as the plan says and yield each finished round; stop early by `break`. `after` resumes behind that round.

    A round's record is yielded when every node has stored its side; the caller stores the record before asking for the
    next one. Then a crash loses at most the round in progress.

    Raises:
        PlanError: the cohort is larger than the number of clients, or noise was not calibrated.
        ProtocolError: a node answers nonsense, or too few clients are left to open the sum.
    """
    nodes = engine.nodes()
    clients = sum(nodes.values())
    if plan.cohort > clients:
        raise PlanError(f"the cohort is {plan.cohort} clients, but there are only {clients}: lower `cohort`")
    parties = len(nodes) if plan.secure_between == "nodes" else plan.cohort or clients
    fewest = parties if plan.secure_between == "nodes" else min(parties, clients // blocks(plan, clients))
    if plan.secure_sum is not None and fewest < plan.minimum * plan.groups:
        groups = f" in each of {plan.groups} groups" if plan.groups > 1 else ""
        raise PlanError(
            f"the secure sum opens no fewer than {plan.minimum} contributions together{groups}, but only {fewest} "
            f"{plan.secure_between} take part: lower `minimum`, or do without a secure sum"
        )
    state = plan.algorithm.init(plan.model, schema, plan.seed) if after is None else after.state
    digest = plan.digest()
    server = SecureServer(plan, engine) if plan.secure_sum is not None else None
    sampling, rate = sampling_of(plan, clients)
    told = protection.unpacked(plan, state.server)
    first = protection.turns(plan, 1, 0, clients, parties, told)
    if any(event.noise_multiplier == 0.0 for event in _events(plan, first, sampling, rate)):
        raise PlanError(f"{plan.noise!r} has no noise multiplier yet: calibrate() the plan first")
    if (steps := noisy_steps(plan)) is not None and steps.noise_multiplier == 0.0:
        raise PlanError(f"{steps!r} has no noise multiplier yet: calibrate() the plan first")
    for number in range(1 if after is None else after.number + 1, plan.rounds + 1):
        began = time.perf_counter()
        cohort = draw(plan, clients, number)
        shared = broadcast(plan.model, state.shared)
        like = contribution_like(plan, shared, schema, number)
        chosen = by_node(cohort, nodes)
        turns = protection.turns(plan, number, size(like), clients, parties, told)
        config: dict[str, Scalar] = {"plan": digest, "clients": clients, "parties": parties}
        request = Request("train", number, {**shared, **protection.packed(told)}, config)
        if server is not None:
            summed = server.sum(engine, chosen, request, like, plan.algorithm.work(plan.model, number), turns)
        else:
            summed = _gather(plan, engine, chosen, request, like, turns)
        source = stream(plan, "noise", number)
        heard = sum(int(value.nbytes) for value in protection.packed(told).values())
        vector, told, hidden = protection.decode(plan, summed.vector, turns, source, state.server)
        events = _events(plan, turns, sampling, rate)
        counted = _denominator(plan, clients, summed.clients, events)
        if counted:  # a sum of nobody teaches nothing; under noise nobody learns that it was one
            state = plan.algorithm.update(state, plan.model, unflatten(vector, like), counted, number)
        state = State(state.shared, {**state.server, **protection.packed(told), **hidden})
        for _ in exchange(engine, {name: Request("commit", number, {}, {"plan": digest}) for name in nodes}):
            pass
        yield Round(
            number=number,
            state=state,
            cohort=len(cohort),
            clients=summed.clients,
            dropped=len(cohort) - summed.clients,
            events=events,
            bytes_up=summed.bytes_up,
            bytes_down=4 * size(shared) + heard + summed.bytes_down,
            seconds=time.perf_counter() - began,
            sum_digest=summed.digest,
            notes=summed.notes,
            proofs=summed.proofs,
        )


def broadcast(model: Model, shared: Params) -> Params:
    """What every client of the cohort receives: all shared parameters, unless a model needs fewer to learn from."""
    fewer = getattr(model, "broadcast", None)
    return shared if fewer is None else dict(fewer(shared))


def _events(plan: Plan, turns: tuple[Turn, ...], sampling: str, rate: float) -> tuple[Event, ...]:
    """What this round costs."""
    found = (t.event(sampling, rate, turn) for t, turn in zip(plan.protect, turns, strict=True))
    return tuple(event for event in found if event is not None)


def _denominator(plan: Plan, clients: int, counted: int, events: tuple[Event, ...]) -> float:
    """Under noise the expected cohort, since a Poisson cohort's actual size is not public; else who was counted."""
    return float(expected(plan, clients) if events else counted)


def _gather(
    plan: Plan, engine: Engine, chosen: dict[str, Array], request: Request, like: Params, turns: tuple[Turn, ...]
) -> Summed:
    """Without a secure sum: every node adds up its clients, or sends each update where the aggregator sees each."""
    each, needed = plan.aggregator is not None, protection.length(plan, turns, size(like))
    kind = "train/each" if each else "train"
    requests = {
        name: Request(kind, request.round, {**request.arrays, COHORT: mine}, request.config)
        for name, mine in chosen.items()
    }
    shapes = {"sum": (needed,)} if plan.per_client else {key: np.shape(value) for key, value in like.items()}
    total, counted, sent = np.zeros(needed), 0, 0
    rows: list[Array] = []
    for name, reply in exchange(engine, requests):
        clients = reply.config.get("clients")
        if not isinstance(clients, int) or not 0 <= clients <= len(chosen[name]):
            raise ProtocolError(f"{name} claims {clients!r} clients, asked were {len(chosen[name])}")
        counted += clients
        said = reply.config.get("bytes", 4 * needed * clients)
        sent += said if isinstance(said, int) and said >= 0 else 0
        if each and clients:
            rows.append(_checked(reply.arrays, {"updates": (clients, needed)}, name)["updates"])
        elif clients:
            total += flatten(_checked(reply.arrays, shapes, name))
    if rows:
        assert plan.aggregator is not None
        total = plan.aggregator(np.concatenate(rows))
    if not counted and plan.noise is not None:  # as if there had been one: nobody may learn that it was nobody
        silence = messages.message(plan.protect, turns, np.zeros(needed)) if plan.per_client else {}
        sent = messages.size(silence) if plan.per_client else 4 * needed
    return Summed(total, counted, sent // max(counted, 1), 0)


def _checked(arrays: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], name: str) -> Params:
    """The arrays of a reply: finite real numbers of these names and shapes.

    Raises:
        ProtocolError: they are not; names the node.
    """
    found = {key: np.asarray(value) for key, value in arrays.items()}
    if {key: value.shape for key, value in found.items()} != shapes or not all(
        value.dtype.kind in "fiu" and np.all(np.isfinite(value)) for value in found.values()
    ):
        raise ProtocolError(f"{name} sent no finite numbers of the shapes that were needed: {dict(shapes)}")
    return found
