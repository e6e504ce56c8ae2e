"""A homomorphic sum inside rounds: it trains bit for bit what the secure sum by masks trains."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from tacit.core.values import PlanError, ProtocolError, Reply, Request
from tacit.federation.engines.ray_pool import RayPool
from tacit.federation.run import run
from tacit.federation.vocabulary import parse_plan
from tacit.federation.worker import Worker
from tacit.learning.contribution import contribution_like
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.implicit_als import ImplicitALS
from tacit.models.popularity import Popularity
from tacit.privacy.homomorphic import bfv, ckks
from tacit.privacy.homomorphic import wire as homomorphic
from tacit.privacy.homomorphic.bfv_sum import ThresholdBFV
from tacit.privacy.homomorphic.ckks_sum import SharedKeyCKKS
from tacit.privacy.homomorphic.sum import ThresholdRLWE
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.gaussian import Gaussian

EVERY = pytest.mark.parametrize("kind", ["RLWE", "BFV", "CKKS"])


def component(kind: str) -> Any:
    """A sum of this kind, or the test is skipped by the name of what is absent."""
    try:
        if kind == "BFV":
            bfv.find()
        elif kind == "CKKS":
            ckks.needed()
    except PlanError as why:
        pytest.skip(f"a library is absent: {why}")
    return {"RLWE": ThresholdRLWE(), "BFV": ThresholdBFV(flooding=False), "CKKS": SharedKeyCKKS()}[kind]


def rounds(plan, engine, population):
    return list(run(plan, engine, population.schema))


@pytest.mark.parametrize("protect", [(), (Gaussian(0.05, 0.1),)], ids=["bare", "noisy"])
@pytest.mark.parametrize("audit", [False, True])
def test_institutions_train_the_same_model_under_either_sum(
    shop, make_plan, in_process, same_arrays, protect, audit
) -> None:
    plan = make_plan(protect=protect, secure_between="nodes", secure_sum=ThresholdRLWE(audit=audit))
    masked = replace(plan, secure_sum=SecAgg(minimum=3))
    ours, theirs = (rounds(p, in_process(p, shop, 4), shop) for p in (plan, masked))
    for one, other in zip(ours, theirs, strict=True):
        assert one.sum_digest == other.sum_digest != ""
        assert same_arrays(one.state.shared, other.state.shared)
        assert (one.clients, one.dropped, one.events) == (other.clients, other.dropped, other.events)
        assert one.bytes_up > other.bytes_up


def test_a_plan_names_it_in_its_file_and_counts_come_out_exactly(shop, make_plan, in_process, same_arrays) -> None:
    plan = make_plan(
        model=Popularity(), algorithm=SumOfStatistics(), rounds=1, secure_between="nodes", secure_sum=ThresholdRLWE()
    )
    assert 'kind = "ThresholdRLWE"' in plan.toml() and parse_plan(plan.toml()) == plan
    plain = replace(plan, secure_sum=None)
    secure, bare = (rounds(p, in_process(p, shop, 3), shop)[0] for p in (plan, plain))
    assert same_arrays(secure.state.shared, bare.state.shared)
    with pytest.raises(PlanError, match="no fewer than 3"):
        rounds(plan, in_process(plan, shop, 2), shop)


def test_a_round_without_one_institution_is_skipped_and_said_so(shop, make_plan, in_process, wire) -> None:
    """Node 2 falls silent in round 1 after its key is in use; the second round, with everybody, trains again."""

    def silent(address: str, request: Request, reply: Reply) -> Reply | None:
        gone = address == "node-2" and request.round == 1 and request.kind == homomorphic.KIND + "upload"
        return None if gone else reply

    plan = make_plan(secure_between="nodes", secure_sum=ThresholdRLWE(), rounds=2)
    engine = wire(in_process(plan, shop, 4), silent)
    first, second = rounds(plan, engine, shop)
    assert first.clients == 0 and second.clients == len(shop)


def test_a_node_answers_no_stage_of_another_protocol(shop, make_plan, in_process) -> None:
    plan = make_plan(secure_between="nodes", secure_sum=ThresholdRLWE())
    engine = in_process(plan, shop, 3)
    rounds(plan, engine, shop)
    request = Request(homomorphic.KIND + "unmask", 1, {}, {"plan": plan.digest()})
    with pytest.raises(ProtocolError, match="no such stage"):
        engine.send({"node-0": request})
        list(engine.receive())


@EVERY
def test_chosen_parts_are_encrypted_and_the_rest_masked_in_the_same_round(
    shop, make_plan, in_process, same_arrays, wire, kind
) -> None:
    """Every subset of parts by RLWE, one by the libraries; a flipped choice would be seen in the lengths."""
    made = component(kind)
    plan = make_plan(model=ImplicitALS(dim=4), algorithm=SumOfStatistics(), secure_between="nodes", rounds=2)
    plan = replace(plan, secure_sum=SecAgg(minimum=3))
    shared = plan.algorithm.init(plan.model, shop.schema, plan.seed).shared
    like = contribution_like(plan, shared, shop.schema, 1)
    assert len(like) > 1
    theirs = rounds(plan, in_process(plan, shop, 4), shop)
    for number in range(1, len(like) if kind == "RLWE" else 2):
        names = tuple(sorted(like)[:number])
        chosen = replace(plan, secure_sum=replace(made, parts=names))
        assert parse_plan(chosen.toml()) == chosen
        engine = wire(in_process(chosen, shop, 4))
        for one, other in zip(rounds(chosen, engine, shop), theirs, strict=True):
            assert one.sum_digest == other.sum_digest != "" and same_arrays(one.state.shared, other.state.shared)
        sent = {name: array for _, _, reply in engine.heard for name, array in reply.arrays.items()}
        encrypted = sum(int(np.size(like[name])) for name in names)
        assert sent["masked.masked"].shape == (sum(map(np.size, like.values())) - encrypted,)
        if kind == "RLWE":
            assert sent["encrypted.body"].shape == (encrypted,)
        else:
            assert len(sent["encrypted.sent"]) > 8 * encrypted


def test_a_head_alone_is_encrypted_by_a_plan_of_gradients(shop, make_plan, in_process, same_arrays) -> None:
    plan = make_plan(secure_between="nodes", secure_sum=SecAgg(minimum=3))
    names = sorted(contribution_like(plan, plan.algorithm.init(plan.model, shop.schema, 0).shared, shop.schema, 1))
    head = replace(plan, secure_sum=ThresholdRLWE(parts=(names[-1],)))
    ours, theirs = (rounds(p, in_process(p, shop, 3), shop) for p in (head, plan))
    for one, other in zip(ours, theirs, strict=True):
        assert one.sum_digest == other.sum_digest != "" and same_arrays(one.state.shared, other.state.shared)


def test_parts_that_are_none_are_refused(shop, make_plan, in_process) -> None:
    plan = make_plan(secure_between="nodes", secure_sum=ThresholdRLWE(parts=("nothing",)))
    with pytest.raises(PlanError, match="must be among"):
        rounds(plan, in_process(plan, shop, 3), shop)


@EVERY
@pytest.mark.parametrize("protect", [(), (Gaussian(0.05, 0.1),)], ids=["bare", "noisy"])
def test_institutions_train_the_same_model_under_every_sum_of_ciphertexts(
    shop, make_plan, in_process, same_arrays, kind, protect
) -> None:
    plan = make_plan(secure_between="nodes", secure_sum=component(kind), protect=protect)
    assert parse_plan(plan.toml()) == plan
    masked = replace(plan, secure_sum=SecAgg(minimum=3))
    ours, theirs = (rounds(p, in_process(p, shop, 3), shop) for p in (plan, masked))
    for one, other in zip(ours, theirs, strict=True):
        assert one.sum_digest == other.sum_digest != "" and same_arrays(one.state.shared, other.state.shared)


@EVERY
@pytest.mark.parametrize("stage", [0, 1, 2, -1], ids=["first", "second", "upload", "last"])
def test_an_institution_that_falls_silent_is_left_out_or_the_round_is_skipped_as_documented(
    shop, make_plan, in_process, wire, kind, stage
) -> None:
    """Node 3 falls silent in round 1: before keys are in use it is left out, and with CKKS later too."""
    made = component(kind)

    def silent(address: str, request: Request, reply: Reply) -> Reply | None:
        gone = address == "node-3" and request.round == 1 and request.kind.endswith("/" + made.stages[stage])
        return None if gone else reply

    plan = make_plan(secure_between="nodes", secure_sum=made, rounds=2)
    first, second = rounds(plan, wire(in_process(plan, shop, 4), silent), shop)
    survives = stage in (0, 1) or kind == "CKKS"
    everybody = len(shop) if kind == "CKKS" and stage in (1, -1) else 30  # its key reaches it all the same
    assert first.clients == (everybody if survives else 0) and second.clients == len(shop)
    assert survives or any("nothing was opened" in note for note in first.notes)


@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.slow
@EVERY
def test_ray_trains_the_same_model_with_a_chosen_part_encrypted(
    shop, make_plan, in_process, cut, same_arrays, kind
) -> None:
    """On another engine, in other processes, beside masks."""
    made = component(kind)
    plan = make_plan(model=ImplicitALS(dim=4), algorithm=SumOfStatistics(), secure_between="nodes", rounds=1)
    plan = replace(plan, secure_sum=SecAgg(minimum=3))
    shared = plan.algorithm.init(plan.model, shop.schema, plan.seed).shared
    part = (min(contribution_like(plan, shared, shop.schema, 1)),)
    chosen = replace(plan, secure_sum=replace(made, parts=part))
    here = rounds(plan, in_process(plan, shop, 3), shop)[-1]
    with RayPool({n: partial(Worker, chosen, rows) for n, rows in cut(shop, 3).items()}) as pool:
        there = rounds(chosen, pool, shop)[-1]
    assert there.sum_digest == here.sum_digest and same_arrays(there.state.shared, here.state.shared)
