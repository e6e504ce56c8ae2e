"""Plans that ask for proofs: liars about the norm are left out, liars about the vector cost the round, nobody else."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tacit.aggregation.median import Median
from tacit.core.trees import flatten, size
from tacit.core.values import PlanError, Population, ProtocolError, Reply, Schema
from tacit.data.adult import Adult
from tacit.data.clients import Uniform
from tacit.federation.engines.ray_pool import RayPool
from tacit.federation.randomness import stream
from tacit.federation.run import run
from tacit.federation.worker import Worker
from tacit.learning.contribution import contribution_like
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.multilayer_perceptron import MultilayerPerceptron
from tacit.models.popularity import Popularity
from tacit.privacy.proofs import group, pedersen
from tacit.privacy.proofs.errors import OpeningError
from tacit.privacy.proofs.norm_bound import argue
from tacit.privacy.proofs.terms import MOST, Terms, added_bytes
from tacit.privacy.secure_sum.entropy import System
from tacit.privacy.secure_sum.groups import partition
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.adaptive_clip import AdaptiveClip
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.count_sketch import CountSketch
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.low_bit import LowBit

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("py_arkworks_bls12381") is None and os.environ.get("CI") != "1",
    reason="py_arkworks_bls12381 is not installed: tacit[proofs]",
)
NORM, OPENING = (SecAgg(minimum=2, dropout=0.4, colluding=0.0, proof=proof) for proof in ("norm", "opening"))
COUNTS = {"model": Popularity(), "algorithm": SumOfStatistics(), "rounds": 1, "protect": (Clip(3.0),)}


@pytest.fixture(scope="module")
def few(shop):
    """Five customers."""
    return shop.take(list(range(5)))


def rounds(plan, engine, population):
    return list(run(plan, engine, population.schema))


def plainly(plan, in_process, population, clients):
    """What the same plan makes of these clients alone, without a secure sum."""
    bare = replace(plan, secure_sum=None)
    (done,) = rounds(bare, in_process(bare, population.take(clients)), population)
    return flatten(done.state.shared)


def near(done, plain, steps=1e-6):
    return np.abs(flatten(done.state.shared) - plain).max() < steps * max(np.abs(plain).max(), 1.0)


def at(party, stage, change):
    """A wire on which one party's replies of a stage are changed."""
    return lambda address, request, reply: (
        change(reply) if address == party and request.kind == f"secure-sum/{stage}" else reply
    )


def shifted(reply):
    return Reply({"masked": reply.arrays["masked"] + np.uint32(1)}, reply.config)


@pytest.mark.parametrize("against", ["semi-honest", "malicious"])
@pytest.mark.parametrize("between", ["clients", "nodes"])
@pytest.mark.parametrize("proof", ["norm", "opening"])
def test_a_plan_with_proofs_trains_the_plain_model(few, make_plan, in_process, proof, between, against):
    """Nodes of 3 and 2 customers prove three and two times the norm of one."""
    sums = replace(NORM, proof=proof, against=against)
    plan = make_plan(secure_sum=sums, secure_between=between, **COUNTS)
    (done,) = rounds(plan, in_process(plan, few, 2 if between == "nodes" else 1), few)
    assert near(done, plainly(plan, in_process, few, list(range(5))))
    assert (done.clients, done.dropped, done.notes) == (5, 0, ())
    assert done.proofs == (5 if between == "clients" else 2)


@pytest.mark.parametrize("sampling", ["fixed", "poisson"])
def test_bytes_of_a_round_have_the_proofs_in_them(few, make_plan, in_process, sampling):
    cohort = {"cohort": 4, "sampling": "poisson"} if sampling == "poisson" else {}
    told = []
    for proof in ("", "opening", "norm"):
        plan = make_plan(secure_sum=replace(NORM, proof=proof), seed=2, **(COUNTS | cohort))
        told.append(rounds(plan, in_process(plan, few), few)[0].bytes_up)
    assert told[1] - told[0] == added_bytes("opening", 80) and told[2] - told[0] == added_bytes("norm", 80)


@pytest.mark.parametrize("protect", [(AdaptiveClip(norm=2.0), Gaussian(1.0, 0.5)), (Clip(2.0), CountSketch(40))])
def test_the_norm_is_proven_of_what_transforms_leave(few, make_plan, in_process, protect):
    plan = make_plan(secure_sum=NORM, **(COUNTS | {"protect": protect, "rounds": 2, "algorithm": SumOfStatistics()}))
    assert [(it.clients, it.proofs, it.notes) for it in rounds(plan, in_process(plan, few), few)] == [(5, 5, ())] * 2


def test_a_party_over_the_norm_is_left_out_by_name_and_the_others_are_summed(few, make_plan, in_process, wire):
    plan = make_plan(secure_sum=NORM, **COUNTS)
    terms = Terms("norm", 80, *_agreed(plan, few))

    def forge(reply):
        lie, factor = [terms.bound] * 2 + [0] * 78, pedersen.blinding(System())  # sqrt(2) times the bound
        statement = terms.statement(1, "node-0/3", pedersen.commit(np.array(lie, np.int32).view(np.uint32), factor))
        forged = argue(statement, lie + [0] * (statement.padded - 80), [0] * 4, factor, System()).to_bytes()
        return Reply(
            {k: np.frombuffer(v, np.uint8) for k, v in (("commitment", statement.commitment), ("proof", forged))},
            reply.config,
        )

    heard = wire(in_process(plan, few), at("node-0/3", "commit", forge))
    (done,) = rounds(plan, heard, few)
    assert (done.clients, done.dropped, done.proofs) == (4, 1, 5)
    assert len(done.notes) == 1 and done.notes[0].startswith("node-0/3 was left out: a proof of an L2 bound is refused")
    assert near(done, plainly(plan, in_process, few, [0, 1, 2, 4]))
    uploads = {address for address, request, _ in heard.heard if request.kind == "secure-sum/masked"}
    assert uploads == {f"node-0/{client}" for client in (0, 1, 2, 4)}, "its vector was never taken"


def _agreed(plan, population):
    """(bound, digest, run) as the parties of a simulated plan of five clients and a Clip of 3 know them."""
    levels = (2**31 - 1) // 5 - 1
    bound = int(np.ceil(3.0 * (1 + 1e-6) / (3.0 * (1 + 1e-6) / levels) * (1 + 1e-9)))
    return bound, plan.digest(), stream(plan, "secure run").bytes(16)


def test_the_proof_that_the_test_above_forges_would_be_taken_if_it_were_true(few, make_plan, in_process, wire):
    """Else it would be refused for its context and not for its norm."""
    plan = make_plan(secure_sum=NORM, **COUNTS)
    terms = Terms("norm", 80, *_agreed(plan, few))
    heard = wire(in_process(plan, few))
    rounds(plan, heard, few)
    said = next(r.arrays for a, q, r in heard.heard if a == "node-0/3" and q.kind == "secure-sum/commit")
    terms.check(1, "node-0/3", said["commitment"].tobytes(), said["proof"].tobytes())


def test_a_client_whose_contribution_cannot_be_proven_leaves_the_round_as_it_was_before_it(few, make_plan, in_process):
    """Its own code refuses: here since the bound of values is below what it has."""
    plan = make_plan(model=MatrixFactorisation(dim=1), secure_sum=OPENING, rounds=1, quantise_bound=1e-9, protect=())
    engine = in_process(plan, few)
    before = {name: value.copy() for name, value in engine.private(0)["node-0"].items()}
    with pytest.raises(ProtocolError, match="5 left the round: a contribution goes beyond its bound"):
        rounds(plan, engine, few)
    after = engine.private(0)["node-0"]
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("sums", [NORM, OPENING], ids=["norm", "opening"])
def test_who_commits_to_one_vector_and_sends_another_costs_the_round_and_moves_nothing(
    few, make_plan, in_process, wire, sums, same_arrays
):
    """In the second of three rounds; the third goes on."""
    plan = make_plan(secure_sum=sums, **(COUNTS | {"rounds": 3}))

    def lie(address, request, reply):
        caught = address == "node-0/2" and request.kind == "secure-sum/masked" and request.round == 2
        return shifted(reply) if caught else reply

    one, two, three = rounds(plan, wire(in_process(plan, few), lie), few)
    assert (one.clients, two.clients, three.clients) == (5, 0, 5)
    assert "round 2 was skipped: the opened sum is not the sum of what 5 clients committed to" in two.notes[0]
    assert same_arrays(one.state.shared, two.state.shared) and two.sum_digest == "" and one.notes == three.notes == ()


def test_a_run_in_which_somebody_always_lies_ends_with_the_name_of_the_error(few, make_plan, in_process, wire):
    plan = make_plan(secure_sum=OPENING, **(COUNTS | {"rounds": 5}))
    engine = wire(in_process(plan, few), at("node-0/2", "masked", shifted))
    with pytest.raises(OpeningError, match="3 rounds came to nothing one after the other"):
        rounds(plan, engine, few)


def test_with_groups_a_liar_costs_its_group_only(shop, make_plan, in_process, wire):
    plan = make_plan(
        **(COUNTS | {"secure_sum": replace(OPENING, minimum=4, groups=5), "aggregator": Median(), "protect": ()})
    )
    groups = partition([f"node-0/{i}" for i in range(40)], 5, stream(plan, "secure run").bytes(16), 0)
    (done,) = rounds(plan, wire(in_process(plan, shop), at(groups[1][0], "masked", shifted)), shop)
    assert done.clients == 32 and len(done.notes) == 1
    assert "another vector than it had committed to" in done.notes[0] and all(it in done.notes[0] for it in groups[1])


@pytest.mark.parametrize("stage", ["commit", "masked", "sign", "unmask"])
def test_clients_that_stop_after_they_shared_keys_are_survived(few, make_plan, in_process, wire, stage):
    plan = make_plan(secure_sum=NORM, **COUNTS)
    (done,) = rounds(plan, wire(in_process(plan, few), at("node-0/1", stage, lambda reply: None)), few)
    there = [0, 2, 3, 4] if stage in ("commit", "masked") else list(range(5))
    assert done.clients == len(there) and near(done, plainly(plan, in_process, few, there))


def test_simulated_dropouts_send_no_commitment(few, make_plan, in_process, wire):
    plan = make_plan(secure_sum=NORM, dropout=0.3, seed=1, **COUNTS)
    heard = wire(in_process(plan, few))
    (done,) = rounds(plan, heard, few)
    said = [address for address, request, _ in heard.heard if request.kind == "secure-sum/commit"]
    assert 0 < done.dropped < 4 and len(said) == done.clients == done.proofs


def test_a_share_that_was_changed_costs_the_round_its_receiver_and_it_learns_nothing(few, make_plan, in_process, wire):
    """After it has worked and committed: its private parameters are as before."""

    def flip(address, request, reply):
        if address != "node-0/4" or request.kind != "secure-sum/share":
            return reply
        sealed = reply.arrays["sealed"].copy()
        sealed[0, 20] ^= 1
        return Reply({**reply.arrays, "sealed": sealed}, reply.config)

    plan = make_plan(model=MatrixFactorisation(dim=1), secure_sum=OPENING, rounds=1)
    engine = in_process(plan, few, 5)
    before = {name: part["user"].copy() for name, part in engine.private(0).items()}
    (done,) = rounds(plan, wire(engine, flip_named(flip)), few)
    after = {name: part["user"] for name, part in engine.private(1).items()}
    assert (done.clients, done.dropped) == (4, 1) and "was changed" in done.notes[0]
    assert sorted(np.array_equal(before[name], after[name]) for name in before) == [False] * 4 + [True]


def test_who_was_left_out_has_learned_nothing_in_private(few, make_plan, in_process, wire):
    """In a second round, too, in which it is let in again: it starts from where it was."""
    plan = make_plan(model=MatrixFactorisation(dim=1), secure_sum=OPENING)
    engine = in_process(plan, few, 5)
    first = {name: part["user"].copy() for name, part in engine.private(0).items()}

    def spoil(address, request, reply):
        bad = address == "node-4/0" and request.kind == "secure-sum/commit" and request.round == 1
        return Reply({"commitment": np.zeros(48, np.uint8)}, reply.config) if bad else reply

    found = run(plan, wire(engine, spoil), few.schema)
    one = next(found)
    after = {name: part["user"].copy() for name, part in engine.private(1).items()}
    assert (one.clients, one.dropped) == (4, 1)
    assert sorted(np.array_equal(first[name], after[name]) for name in first) == [False] * 4 + [True]
    two = next(found)
    assert two.clients == 5
    assert not any(np.array_equal(after[name], part["user"]) for name, part in engine.private(2).items())


def flip_named(flip):
    """Five nodes of one client each: the fifth is node-4/0."""
    return lambda address, request, reply: flip("node-0/4" if address == "node-4/0" else "", request, reply)


def test_noise_in_shares_is_committed_to_with_the_vector(few, make_plan, in_process, wire):
    noise = DistributedGaussian(clip_norm=3.0, noise_multiplier=0.5, survivors_at_least=2)
    plan = make_plan(secure_sum=OPENING, **(COUNTS | {"protect": (noise,)}))
    (done,) = rounds(plan, in_process(plan, few), few)
    assert (done.clients, done.proofs, done.notes) == (5, 5, ()) and len(done.events) == 1
    with pytest.raises(OpeningError):
        rounds(plan, wire(in_process(plan, few), at("node-0/1", "masked", shifted)), few)


def test_under_poisson_coins_and_noise_neither_notes_nor_counts_tell_who_was_left_out(few, make_plan, in_process, wire):
    plan = make_plan(
        secure_sum=NORM, **(COUNTS | {"protect": (Gaussian(3.0, 0.5),), "cohort": 4, "sampling": "poisson", "seed": 3})
    )
    broken = at("node-0/1", "commit", lambda reply: Reply({"commitment": reply.arrays["commitment"]}, reply.config))
    for change in (broken, at("node-0/1", "masked", shifted), lambda address, request, reply: reply):
        (done,) = rounds(plan, wire(in_process(plan, few), change), few)
        assert done.notes == () and done.proofs == 0 and len(done.sum_digest) == 64


@pytest.mark.parametrize("sums", [NORM, OPENING], ids=["norm", "opening"])
def test_a_chosen_part_is_held_to_its_commitment_and_the_rest_is_not(make_plan, in_process, wire, sums):
    """The head of a network; a lie about the rest goes through."""
    random = np.random.default_rng(0)
    fields = {"x": random.normal(size=(50, 3)).astype(np.float32), "y": (random.random(50) < 0.5).astype(np.float32)}
    table = Population(Schema("tabular", features=3), np.arange(0, 60, 10), fields)
    plan = make_plan(
        data=Adult(),
        clients=Uniform(5),
        model=MultilayerPerceptron(hidden=8),
        secure_sum=sums,
        protect=(Clip(0.5),),
        rounds=1,
    )
    like = contribution_like(plan, plan.algorithm.init(plan.model, table.schema, 0).shared, table.schema, 1)
    head = replace(plan, secure_sum=replace(sums, proof_of=("b2", "w2")))
    (whole,), (done,) = (rounds(it, in_process(it, table), table) for it in (plan, head))
    assert done.proofs == 5 and flatten(done.state.shared).tobytes() == flatten(whole.state.shared).tobytes()
    count, proven = size(like), np.size(like["w2"]) + np.size(like["b2"])
    assert proven < count / 2
    assert whole.bytes_up - done.bytes_up == added_bytes(sums.proof, count) - added_bytes(sums.proof, proven)
    places = np.concatenate([np.full(np.size(like[name]), name in ("b2", "w2")) for name in sorted(like)])
    for caught in (False, True):
        bent = np.zeros(count + pedersen.LIMBS, np.uint32)
        bent[np.flatnonzero(places == caught)[-1]] = 1

        def shift(reply, bent=bent):
            return Reply({"masked": reply.arrays["masked"] + bent}, reply.config)

        engine = wire(in_process(head, table), at("node-0/2", "masked", shift))
        if caught:
            with pytest.raises(OpeningError):
                rounds(head, engine, table)
        else:
            assert rounds(head, engine, table)[0].clients == 5


def test_a_part_that_is_none_or_cannot_be_told_apart_is_refused(few, make_plan, in_process):
    named = replace(OPENING, proof_of=("heads",))
    for changes, words in (
        ({}, r"proof_of names parts of what is sent, which are \['counts'\]; got 'heads'"),
        (
            {"secure_sum": replace(named, proof_of=("counts",)), "protect": (Clip(2.0), CountSketch(40))},
            "drop proof_of",
        ),
    ):
        plan = make_plan(**(COUNTS | {"secure_sum": named} | changes))
        with pytest.raises(PlanError, match=words):
            rounds(plan, in_process(plan, few), few)
    with pytest.raises(PlanError, match="set proof, or drop"):
        SecAgg(proof_of=("counts",))


@pytest.mark.parametrize(
    ("sums", "protect", "words"),
    [
        (NORM, (), "put a Clip or a Gaussian into `protect`"),
        (NORM, (DistributedGaussian(1.0, 1.0, survivors_at_least=2),), "noise has no bound that could be proven"),
        (NORM, (Clip(1.0), LowBit(bits=4)), "packs several numbers into one word"),
        (OPENING, (Clip(1.0), LowBit(bits=4)), "packs several numbers into one word"),
    ],
    ids=["no bound", "noise in shares", "packed", "packed, opening"],
)
def test_plans_of_which_nothing_can_be_proven_are_refused_with_a_way_out(make_plan, sums, protect, words):
    with pytest.raises(PlanError, match=words):
        make_plan(secure_sum=sums, protect=protect)


@pytest.mark.parametrize(("sums", "most"), [(NORM, 10_000), (OPENING, 100_000)], ids=["norm", "opening"])
def test_more_values_than_can_be_proven_are_refused_before_anybody_works(
    few, make_plan, in_process, wire, sums, most, monkeypatch
):
    """The limit is lowered here, so that the test is quick."""
    assert MOST[sums.proof] == most
    monkeypatch.setitem(MOST, sums.proof, 79)
    plan = make_plan(secure_sum=sums, **COUNTS)
    engine = wire(in_process(plan, few))
    with pytest.raises(PlanError, match=r"takes 1 to 79 values, but a contribution of this plan has 80: name a"):
        rounds(plan, engine, few)
    assert {request.kind for _, request, _ in engine.heard} == {"enrol", "trust"}


def test_without_the_library_a_plan_with_proofs_is_refused_with_what_to_install(
    few, make_plan, in_process, monkeypatch
):
    monkeypatch.setitem(sys.modules, "py_arkworks_bls12381", None)
    group.library.cache_clear()
    plan = make_plan(secure_sum=OPENING, **COUNTS)
    try:
        with pytest.raises(PlanError, match=r"tacit\[proofs\]"):
            rounds(plan, in_process(plan, few), few)
    finally:
        group.library.cache_clear()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_proves_and_leaves_out_as_this_process_does(few, make_plan, in_process, cut):
    plan = make_plan(secure_sum=OPENING, dropout=0.3, seed=1, **COUNTS)
    here = rounds(plan, in_process(plan, few, 2), few)
    with RayPool({name: partial(Worker, plan, part) for name, part in cut(few, 2).items()}) as pool:
        there = rounds(plan, pool, few)
    for one, other in zip(there, here, strict=True):
        assert flatten(one.state.shared).tobytes() == flatten(other.state.shared).tobytes()
        assert (one.proofs, one.notes, one.sum_digest) == (other.proofs, other.notes, other.sum_digest)


def test_plans_with_and_without_proofs_differ_in_digest_and_come_back_from_toml(make_plan):
    plans = [
        make_plan(secure_sum=replace(NORM, proof=proof), protect=(Clip(1.0),)) for proof in ("", "opening", "norm")
    ]
    assert len({plan.digest() for plan in plans}) == 3
    assert 'proof = "norm"' in plans[2].toml()
