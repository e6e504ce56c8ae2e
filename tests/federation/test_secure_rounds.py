"""The sum that trains is the secure sum's output: equal to the plain one, and the server sees nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tacit.core.trees import flatten, size
from tacit.core.values import PlanError, ProtocolError, Reply, Request
from tacit.federation import sessions
from tacit.federation.run import run
from tacit.federation.secure import SecureServer
from tacit.learning.fedavg import FedAvg
from tacit.learning.integers import quantiser
from tacit.learning.sgd import SGD
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.implicit_als import ImplicitALS
from tacit.models.item_item import ItemItem
from tacit.models.popularity import Popularity
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.gaussian import Gaussian

SECURE = SecAgg(minimum=3, dropout=0.4)
COUNTS = {"model": Popularity(), "algorithm": SumOfStatistics()}


@pytest.fixture
def plain_integers(monkeypatch):
    """What every party was about to mask, as (round, party) -> (d,) uint32: seen from outside, by no message."""
    seen = {}
    inner = sessions.Sessions._integers

    def spy(self, shared, clients, party, round):
        encoded = inner(self, shared, clients, party, round)
        seen[round, self._first + party] = encoded.copy()
        return encoded

    monkeypatch.setattr(sessions.Sessions, "_integers", spy)
    return seen


def rounds(plan, engine, population):
    return list(run(plan, engine, population.schema))


@pytest.mark.parametrize("between", ["clients", "nodes"])
@pytest.mark.parametrize("protect", [(), (Clip(0.05),), (Gaussian(0.05, 0.1),)], ids=["bare", "clipped", "noisy"])
def test_a_secure_sum_trains_the_plain_model_within_quantisation(shop, make_plan, in_process, between, protect):
    """Bound: per round, one step per party and value, and with a clip also the room left for rounding."""
    plan = make_plan(protect=protect, secure_between=between, secure_sum=replace(SECURE, minimum=2))
    parts = 1 if between == "clients" else 4
    secure = rounds(plan, in_process(plan, shop, parts), shop)
    bare = replace(plan, secure_sum=None)
    plain = rounds(bare, in_process(bare, shop, parts), shop)
    work = plan.algorithm.work(plan.model, 1)
    like = plain[0].state.shared
    parties = len(shop) if between == "clients" else 4
    codec = quantiser(plan, work, like, len(shop), parties)
    step = codec.steps[0]
    room = codec.spread(size(like)) if protect else 0.0
    bound = (parties * step + parties * room) / len(shop) + np.spacing(np.float32(1.0))
    first = np.abs(flatten(secure[0].state.shared) - flatten(plain[0].state.shared)).max()
    assert first <= bound
    # later rounds start from models that far apart: allow local training to stretch that tenfold
    assert np.abs(flatten(secure[1].state.shared) - flatten(plain[1].state.shared)).max() <= 11 * bound
    assert 11 * bound < 1e-3 * np.abs(flatten(plain[1].state.shared) - flatten(plain[0].state.shared)).max()


@pytest.mark.parametrize("model", [Popularity(), ItemItem(ridge=5.0)], ids=["Popularity", "ItemItem"])
@pytest.mark.parametrize("between", ["clients", "nodes"])
def test_counts_come_out_of_a_secure_sum_exactly(shop, make_plan, in_process, same_arrays, model, between):
    plan = make_plan(
        model=model, algorithm=SumOfStatistics(), rounds=1, secure_sum=SECURE, secure_between=between, simulation=False
    )
    bare = replace(plan, secure_sum=None)
    secure, plain = (rounds(p, in_process(p, shop, 4), shop)[0] for p in (plan, bare))
    assert same_arrays(secure.state.shared, plain.state.shared)
    assert (secure.clients, secure.dropped) == (len(shop), 0)


def test_statistics_come_out_within_their_declared_steps(shop, make_plan, in_process):
    plan = make_plan(model=ImplicitALS(dim=4), algorithm=SumOfStatistics(), secure_sum=SECURE)
    bare = replace(plan, secure_sum=None)
    secure, plain = (rounds(p, in_process(p, shop), shop)[-1].state.shared["items"] for p in (plan, bare))
    np.testing.assert_allclose(secure, plain, atol=1e-4 * np.abs(plain).max())


@pytest.mark.parametrize("between", ["clients", "nodes"])
@pytest.mark.parametrize("protect", [(), (Clip(0.05),)], ids=["bare", "clipped"])
def test_the_sum_of_those_that_did_not_drop_out_is_opened_exactly(
    shop, make_plan, in_process, plain_integers, between, protect
):
    """Seed 3: 0.2 of 40 clients drop out, after they shared their keys; the model is that of the plain survivors."""
    plan = make_plan(dropout=0.2, seed=3, protect=protect, secure_sum=SECURE, secure_between=between)
    engine = in_process(plan, shop, 1 if between == "clients" else 20)
    secure = rounds(plan, engine, shop)
    bare = replace(plan, secure_sum=None)
    plain = rounds(bare, in_process(bare, shop, 20), shop)
    for one, other in zip(secure, plain, strict=True):
        assert (one.cohort, one.clients, one.dropped) == (other.cohort, other.clients, other.dropped)
        assert 0 < one.dropped < 20 and one.clients + one.dropped == 40
        np.testing.assert_allclose(flatten(one.state.shared), flatten(other.state.shared), atol=1e-5)
        sums = sum(v.astype(np.uint64) for (r, _), v in plain_integers.items() if r == one.number)
        assert sessions.digest(sums.astype(np.uint32)) == one.sum_digest
    seen = [part for part in engine.witness(2) if part is not None]
    total = np.sum(np.stack(seen).astype(np.uint64), 0).astype(np.uint32)
    assert sessions.digest(total) == secure[-1].sum_digest


def arrays_in(thing, depth=0):
    """Every array that can be reached from an object's attributes."""
    if isinstance(thing, np.ndarray):
        yield thing
    elif depth < 6:
        if isinstance(thing, dict):
            children = list(thing.values())
        elif isinstance(thing, list | tuple | set):
            children = list(thing)
        else:
            slots = [n for c in type(thing).__mro__ for n in getattr(c, "__slots__", ())]
            names = [*slots, *getattr(thing, "__dict__", {})]
            children = (
                [getattr(thing, name, None) for name in names] if type(thing).__module__.startswith("tacit") else []
            )
        for child in children:
            yield from arrays_in(child, depth + 1)


@pytest.mark.parametrize("simulation", [True, False])
def test_the_server_never_holds_what_a_single_client_contributes(
    shop, make_plan, in_process, wire, plain_integers, monkeypatch, simulation
):
    """Uploads differ from the integers in every value but 2^-32 of them: false alarm below 1e-5 over 3,200 values."""
    held = []
    inner = SecureServer._received

    def look(self, party, reply):
        out = inner(self, party, reply)
        held.append([part.copy() for part in arrays_in(self) if part.size == 80])
        return out

    monkeypatch.setattr(SecureServer, "_received", look)
    plan = make_plan(rounds=1, secure_sum=SECURE, simulation=simulation, **COUNTS)
    heard = wire(in_process(plan, shop))
    rounds(plan, heard, shop)
    uploads = {a: reply.arrays["masked"] for a, request, reply in heard.heard if request.kind.endswith("masked")}
    assert len(uploads) == len(plain_integers) == 40
    for (_, client), integers in plain_integers.items():
        assert np.all(uploads[f"node-0/{client}"] != integers)
        assert not any(np.array_equal(part.ravel(), integers) for parts in held for part in parts)
    assert any(part.dtype == np.uint32 for part in held[len(held) // 2]), "the running sum was looked at"
    sizes = {reply.arrays["masked"].nbytes for _, q, reply in heard.heard if q.kind.endswith("masked")}
    assert sizes == {4 * 80}, "4 bytes per parameter"


@pytest.mark.parametrize("simulation", [True, False])
def test_an_equal_contribution_looks_different_in_every_round(shop, make_plan, in_process, wire, simulation):
    plan = make_plan(rounds=2, secure_sum=SECURE, simulation=simulation, **COUNTS)
    heard = wire(in_process(plan, shop))
    done = rounds(plan, heard, shop)
    assert done[0].sum_digest == done[1].sum_digest, "the contributions are the same in both rounds"
    uploads = {}
    for address, request, reply in heard.heard:
        if request.kind.endswith("masked"):
            uploads.setdefault(address, []).append(reply.arrays["masked"])
    assert all(np.all(first != second) for first, second in uploads.values())
    assert len({first.tobytes() for first, _ in uploads.values()}) == 40


def test_masked_uploads_look_uniform(shop, make_plan, in_process, wire):
    """Not simulated; 3,200 words, 32 bits each: every bit's frequency within 6 sigma, false alarm < 1e-7."""
    plan = make_plan(rounds=1, secure_sum=SECURE, simulation=False, **COUNTS)
    heard = wire(in_process(plan, shop))
    rounds(plan, heard, shop)
    words = np.concatenate([r.arrays["masked"] for _, q, r in heard.heard if q.kind.endswith("masked")])
    ones = np.array([np.sum(words >> np.uint32(bit) & np.uint32(1)) for bit in range(32)])
    assert np.all(np.abs(ones - len(words) / 2) <= 6 * np.sqrt(len(words) / 4))


STAGES = ("advertise", "share", "masked", "sign", "unmask")
DAMAGE = {
    "a shorter array": lambda value: value[:-1],
    "a longer array": lambda value: np.concatenate([value, value[-1:]]),
    "another type": lambda value: value.astype(np.float64),
    "a table": lambda value: value[None],
    "no array": lambda value: value.tolist(),
    "nothing": lambda value: None,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("stage", STAGES[:3])
def test_a_party_that_speaks_nonsense_is_as_good_as_silent(
    shop, make_plan, in_process, wire, plain_integers, stage, damage
):
    def garble(address, request, reply):
        if address != "node-0/7" or request.kind != f"secure-sum/{stage}":
            return reply
        broken = {name: DAMAGE[damage](value) for name, value in reply.arrays.items()}
        return Reply({name: value for name, value in broken.items() if value is not None}, reply.config)

    plan = make_plan(rounds=1, secure_sum=SECURE, **COUNTS)
    (done,) = rounds(plan, wire(in_process(plan, shop), garble), shop)
    assert (done.clients, done.dropped) == (39, 1)
    others = shop.take([client for client in range(40) if client != 7])
    assert np.array_equal(done.state.shared["counts"], np.bincount(others.fields["item"], minlength=80))


@pytest.mark.parametrize("stage", STAGES[3:])
def test_a_party_that_is_lost_after_its_upload_stays_in_the_sum(shop, make_plan, in_process, wire, stage):
    def garble(address, request, reply):
        return Reply({}) if address == "node-0/7" and request.kind == f"secure-sum/{stage}" else reply

    plan = make_plan(rounds=1, secure_sum=SECURE, **COUNTS)
    (done,) = rounds(plan, wire(in_process(plan, shop), garble), shop)
    assert done.clients == 40
    assert np.array_equal(done.state.shared["counts"], np.bincount(shop.fields["item"], minlength=80))


def test_a_node_that_overstates_its_clients_is_as_good_as_silent(shop, make_plan, in_process, wire):
    """Between nodes a reply says how many clients it sums; the mean must not be bent by it."""
    for claim in (99, -1, "many", None):

        def boast(address, request, reply, claim=claim):
            if address != "node-2" or not request.kind.endswith("masked"):
                return reply
            return Reply(reply.arrays, {} if claim is None else {"clients": claim})

        plan = make_plan(rounds=1, secure_sum=SECURE, secure_between="nodes", **COUNTS)
        (done,) = rounds(plan, wire(in_process(plan, shop, 8), boast), shop)
        assert done.clients == 35


def test_a_cohort_below_the_minimum_is_refused_before_anybody_works(shop, make_plan, in_process, wire):
    plan = make_plan(secure_sum=SecAgg(minimum=41))
    engine = wire(in_process(plan, shop))
    with pytest.raises(PlanError, match=r"no fewer than 41.*only 40 clients take part"):
        rounds(plan, engine, shop)
    assert engine.heard == []
    plan = make_plan(secure_sum=SecAgg(minimum=5), secure_between="nodes")
    with pytest.raises(PlanError, match=r"no fewer than 5.*only 4 nodes take part"):
        rounds(plan, in_process(plan, shop, 4), shop)


def test_too_many_dropouts_end_the_round_and_open_nothing(shop, make_plan, in_process):
    """Seed 0: 0.9 of 40 clients vanish, fewer than the minimum of 20 are left."""
    plan = make_plan(dropout=0.9, secure_sum=SecAgg(minimum=20))
    with pytest.raises(ProtocolError, match="nothing was opened"):
        rounds(plan, in_process(plan, shop), shop)


def test_a_masked_request_said_twice_is_refused_and_teaches_nothing_twice(shop, make_plan, in_process, wire):
    """A private vector that learned the same rows twice in a round would differ from the plain run's."""
    plan = make_plan(rounds=1, secure_sum=SECURE)
    engine = in_process(plan, shop)
    heard = wire(engine)
    rounds(plan, heard, shop)
    before = engine.private(1)["node-0"]["user"].copy()
    repeated = next(request for a, request, _ in heard.heard if a == "node-0/3" and request.kind.endswith("masked"))
    with pytest.raises(ProtocolError, match="sent already"):
        engine._workers["node-0"]("node-0/3", repeated)
    assert np.array_equal(engine.private(1)["node-0"]["user"], before)


@pytest.mark.parametrize(
    "keys",
    [np.zeros((40, 31), np.uint8), np.zeros((39, 32), np.uint8), np.zeros((40, 32)), np.zeros(32, np.uint8), None],
    ids=["short keys", "too few", "floats", "one row", "nothing"],
)
@pytest.mark.parametrize("between", ["clients", "nodes"])
def test_an_enrolment_that_is_malformed_is_refused(shop, make_plan, in_process, wire, keys, between):
    def garble(address, request, reply):
        return Reply({} if keys is None else {"keys": keys}) if request.kind == "enrol" else reply

    plan = make_plan(secure_sum=SecAgg(minimum=2), secure_between=between)
    with pytest.raises(ProtocolError, match="node-0 enrolled with"):
        rounds(plan, wire(in_process(plan, shop, 1 if between == "clients" else 4), garble), shop)


def test_masks_are_the_operating_systems_unless_the_plan_simulates(shop, make_plan, in_process, wire):
    def uploads(simulation):
        plan = make_plan(rounds=1, secure_sum=SECURE, simulation=simulation, **COUNTS)
        heard = wire(in_process(plan, shop))
        rounds(plan, heard, shop)
        return [r.arrays["masked"].tobytes() for _, q, r in heard.heard if q.kind.endswith("masked")]

    assert uploads(True) == uploads(True)
    assert not set(uploads(False)) & set(uploads(False))


def test_no_two_parties_share_masks_or_rounding(shop, make_plan, in_process, wire):
    """Under simulation streams come from numbers: they must be numbers among all clients, not on one node."""
    plan = make_plan(rounds=1, secure_sum=SECURE)
    heard = wire(in_process(plan, shop, 8))
    rounds(plan, heard, shop)
    adverts = [r.arrays["advert"].tobytes() for _, q, r in heard.heard if q.kind.endswith("advertise")]
    assert len(set(advert[:32] for advert in adverts)) == len(set(advert[-16:] for advert in adverts)) == 40


def test_a_client_that_explodes_ends_the_round_in_words(shop, make_plan, in_process):
    plan = make_plan(secure_sum=SECURE, algorithm=FedAvg(SGD(lr=1e30)))
    with pytest.raises(ProtocolError, match="NaN or infinity"):
        rounds(plan, in_process(plan, shop), shop)
    plan = make_plan(secure_sum=SECURE, quantise_bound=1e-6)
    with pytest.raises(ProtocolError, match="beyond its bound"):
        rounds(plan, in_process(plan, shop), shop)


def test_a_request_of_a_finished_round_is_refused(shop, make_plan, in_process):
    plan = make_plan(secure_sum=SECURE, **COUNTS)
    engine = in_process(plan, shop)
    rounds(plan, engine, shop)
    with pytest.raises(ProtocolError, match="cannot begin"):
        engine._workers["node-0"]("node-0/0", Request("secure-sum/advertise", 1, {}, {"plan": plan.digest()}))
