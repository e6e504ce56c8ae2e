"""The sum that trains is the secure sum's output: equal to the plain one, and the server sees nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tacit.aggregation.median import Median
from tacit.core.trees import flatten, size
from tacit.core.values import PlanError, ProtocolError, Reply, Request
from tacit.federation import sessions
from tacit.federation.engines.ray_pool import RayPool
from tacit.federation.randomness import stream
from tacit.federation.run import run
from tacit.federation.secure import SecureServer, digest
from tacit.federation.worker import Worker
from tacit.learning.fedavg import FedAvg
from tacit.learning.integers import quantiser
from tacit.learning.sgd import SGD
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.implicit_als import ImplicitALS
from tacit.models.item_item import ItemItem
from tacit.models.popularity import Popularity
from tacit.privacy.secure_sum.groups import partition
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.gaussian import Gaussian

SECURE = SecAgg(minimum=3, dropout=0.4)
COUNTS = {"model": Popularity(), "algorithm": SumOfStatistics()}


@pytest.fixture
def plain_integers(monkeypatch):
    """What every party was about to mask, as (round, party) -> (d,) uint32: seen from outside, by no message."""
    seen = {}
    inner = sessions.Sessions._integers

    def spy(self, shared, clients, party, request):
        encoded = inner(self, shared, clients, party, request)
        seen[request.round, self._first + party] = encoded.copy()
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
        assert digest(sums.astype(np.uint32)) == one.sum_digest
    seen = [part for part in engine.witness(2) if part is not None]
    total = np.sum(np.stack(seen).astype(np.uint64), 0).astype(np.uint32)
    assert digest(total) == secure[-1].sum_digest


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


def test_too_many_dropouts_in_rounds_one_after_the_other_end_the_run_and_open_nothing(shop, make_plan, in_process):
    """Seed 0: 0.9 of 40 clients vanish, fewer than the minimum of 20 are left."""
    plan = make_plan(dropout=0.9, secure_sum=SecAgg(minimum=20))
    with pytest.raises(ProtocolError, match=r"2 rounds came to nothing one after the other.*nothing was opened"):
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


def test_when_no_client_can_be_encoded_the_run_ends_in_words(shop, make_plan, in_process):
    plan = make_plan(secure_sum=SECURE, algorithm=FedAvg(SGD(lr=1e30)))
    with pytest.raises(ProtocolError, match=r"no party had anything.*NaN or infinity"):
        rounds(plan, in_process(plan, shop), shop)
    plan = make_plan(secure_sum=SECURE, quantise_bound=1e-6)
    with pytest.raises(ProtocolError, match=r"no party had anything.*beyond its bound"):
        rounds(plan, in_process(plan, shop), shop)


def test_a_request_of_a_finished_round_is_refused(shop, make_plan, in_process):
    plan = make_plan(secure_sum=SECURE, **COUNTS)
    engine = in_process(plan, shop)
    rounds(plan, engine, shop)
    again = engine._workers["node-0"]("node-0/0", Request("secure-sum/advertise", 1, {}, {"plan": plan.digest()}))
    assert not again.arrays and "cannot begin" in again.config["refused"]


# ---- parties that stop, or that cannot go on


@pytest.fixture(scope="module")
def few(shop):
    """Twelve customers."""
    return shop.take(list(range(12)))


def popular(population, clients):
    return np.bincount(population.take(list(clients)).fields["item"], minlength=80)


@pytest.mark.parametrize("against", ["semi-honest", "malicious"])
@pytest.mark.parametrize("stage", STAGES)
def test_clients_that_stop_at_any_message_are_survived_down_to_the_threshold(
    few, make_plan, in_process, wire, stage, against
):
    """Three of twelve fall silent for good; then so many that the run says that nothing was opened."""
    rules = SecAgg(minimum=3, dropout=0.25, against=against)
    threshold = rules.shape(12)[1]
    for gone in (3, 12 - threshold + 1):

        def silent(address, request, reply, gone=gone):
            number = int(address.partition("/")[2] or 99)
            started = request.kind.startswith("secure-sum/") and STAGES.index(request.kind[11:]) >= STAGES.index(stage)
            return None if started and number < gone else reply

        plan = make_plan(rounds=1, secure_sum=rules, **COUNTS)
        engine = wire(in_process(plan, few), silent)
        if gone == 3:
            (done,) = rounds(plan, engine, few)
            late = stage in ("sign", "unmask")
            assert np.array_equal(done.state.shared["counts"], popular(few, range(0 if late else 3, 12)))
            assert done.clients == (12 if late else 9)
        elif stage != "advertise":  # a smaller roster has a smaller threshold
            with pytest.raises(ProtocolError, match=r"came to nothing.*nothing was opened"):
                rounds(plan, engine, few)


def test_a_share_with_a_flipped_bit_costs_the_round_its_receiver_and_nobody_else(few, make_plan, in_process, wire):
    def flip(address, request, reply):
        if address != "node-0/4" or not request.kind.endswith("share"):
            return reply
        sealed = reply.arrays["sealed"].copy()
        sealed[2, 20] ^= 1
        return Reply({**reply.arrays, "sealed": sealed}, reply.config)

    plan = make_plan(rounds=1, secure_sum=SECURE, **COUNTS)
    engine = wire(in_process(plan, few), flip)
    (done,) = rounds(plan, engine, few)
    assert (done.clients, done.dropped) == (11, 1)
    assert len(done.notes) == 1 and "1 left the round" in done.notes[0] and "was changed" in done.notes[0]
    refused = [a for a, q, r in engine.heard if "refused" in r.config]
    others = [client for client in range(12) if f"node-0/{client}" not in refused]
    assert np.array_equal(done.state.shared["counts"], popular(few, others))


@pytest.fixture
def lengths(few, make_plan, in_process, monkeypatch):
    """Largest absolute value in what each client contributes in round 1."""
    found = {}
    inner = Worker._contribution

    def spy(self, shared, clients, request):
        out = inner(self, shared, clients, request)
        found[self.first + int(clients[0])] = float(np.abs(out).max())
        return out

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_contribution", spy)
        plan = make_plan(rounds=1, secure_sum=SECURE)
        rounds(plan, in_process(plan, few), few)
    return found


def test_a_client_whose_contribution_cannot_be_encoded_leaves_the_round_and_says_why(
    few, make_plan, in_process, lengths
):
    """A bound below the three largest contributions: they drop out, and learn nothing in private either."""
    order = sorted(lengths, key=lambda client: lengths[client])
    bound = (lengths[order[-4]] + lengths[order[-3]]) / 2
    plan = make_plan(rounds=1, secure_sum=SECURE, quantise_bound=bound)
    engine = in_process(plan, few, 3)
    (done,) = rounds(plan, engine, few)
    assert (done.clients, done.dropped) == (9, 3)
    assert done.notes == (f"3 left the round: a contribution goes beyond its bound of {bound}: {RAISE}",)
    users = np.concatenate([part["user"] for part in engine.private(1).values()])
    before = np.concatenate([part["user"] for part in in_process(plan, few, 3).private(0).values()])
    moved = np.any(users != before, axis=1)
    assert set(np.flatnonzero(moved).tolist()) == set(order[:-3])


RAISE = "raise the bound, clip, or clamp"


# ---- rounds that come to nothing


SPARSE = 4  # a seed with which the cohorts of rounds 3 and 5 are below the minimum


def poisson(make_plan, **changes):
    return make_plan(
        **({"cohort": 4, "sampling": "poisson", "rounds": 12, "seed": 3, "secure_sum": SecAgg(minimum=3)} | changes)
    )


def test_a_poisson_cohort_below_the_minimum_skips_its_round_and_moves_nothing(few, make_plan, in_process, same_arrays):
    plan = poisson(make_plan)
    done = rounds(plan, in_process(plan, few), few)
    skipped = [one for one in done if one.cohort < 3]
    assert [one.cohort for one in skipped] == [0]
    before = plan.algorithm.init(plan.model, few.schema, plan.seed).shared
    for one in done:
        empty = one.cohort < 3
        assert (one.clients == 0) == empty == same_arrays(one.state.shared, before) == (one.sum_digest == "")
        assert bool(one.notes) == empty and (not empty or f"round {one.number} was skipped" in one.notes[0])
        before = one.state.shared


@pytest.mark.parametrize(
    ("noise", "deviation"),
    [(Gaussian(0.5, 1.0), 0.5), (DistributedGaussian(0.5, 1.0, survivors_at_least=3), 0.5 * (4 / 3) ** 0.5)],
    ids=["by the server", "shared"],
)
def test_under_noise_a_skipped_round_cannot_be_told_from_another(few, make_plan, in_process, noise, deviation):
    """It is charged, noised, and has a digest and the bytes of every other round."""
    plan = poisson(make_plan, protect=(noise,), seed=SPARSE)
    done = rounds(plan, in_process(plan, few), few)
    assert sum(one.clients == 0 for one in done) == 2
    before = plan.algorithm.init(plan.model, few.schema, plan.seed).shared
    moves = {True: [], False: []}
    for one in done:
        assert len(one.events) == 1 and len(one.sum_digest) == 64 and one.notes == ()
        moves[one.clients == 0].append(float(np.std(flatten(one.state.shared) - flatten(before))))
        before = one.state.shared
    assert len({one.sum_digest for one in done}) == 12
    assert len({(one.bytes_up, one.bytes_down) for one in done}) == 1
    expected = deviation / 4  # over the expected cohort; 320 values: within 20 % but for one in 10^6
    assert all(0.8 * expected < move < 1.2 * expected for move in moves[True])


def test_the_bytes_of_a_poisson_cohort_say_nothing_of_its_size(few, make_plan, in_process):
    plan = poisson(make_plan, cohort=8)
    done = rounds(plan, in_process(plan, few), few)
    assert len({one.clients for one in done}) > 2
    assert len({(one.bytes_up, one.bytes_down) for one in done}) == 1


def test_a_resumed_simulation_goes_on_behind_a_skipped_round(few, make_plan, in_process):
    plan = poisson(make_plan, model=Popularity(), algorithm=SumOfStatistics())
    done = rounds(plan, in_process(plan, few), few)
    last = next(one for one in done if one.clients == 0)
    again = list(run(plan, in_process(plan, few), few.schema, last))
    assert [one.number for one in again] == list(range(last.number + 1, 13))
    assert [one.clients for one in again] == [one.clients for one in done[last.number :]]


# ---- modes, groups, minimum


def test_a_semi_honest_plan_saves_a_message_and_sums_the_same(few, make_plan, in_process, wire):
    models = []
    for against, stages in (("semi-honest", 4), ("malicious", 5)):
        plan = make_plan(rounds=1, secure_sum=SecAgg(minimum=3, against=against), **COUNTS)
        heard = wire(in_process(plan, few))
        models.append(rounds(plan, heard, few)[0].state.shared["counts"])
        assert len({request.kind for _, request, _ in heard.heard if request.kind.startswith("secure")}) == stages
    assert np.array_equal(*models)


def test_across_groups_a_robust_rule_shrugs_off_a_group_that_lies(shop, make_plan, in_process, wire, plain_integers):
    """Median of 5 groups of 8: one client's upload is bent by half the ring of integers."""
    plan = make_plan(rounds=1, secure_sum=SecAgg(minimum=4, groups=5), aggregator=Median())
    honest = rounds(plan, in_process(plan, shop), shop)[0]
    codec = quantiser(plan, plan.algorithm.work(plan.model, 1), honest.state.shared, 40, 40)
    vectors = {f"node-0/{client}": value for (_, client), value in plain_integers.items()}
    assert len(vectors) == 40

    def bend(address, request, reply):
        if address != "node-0/3" or not request.kind.endswith("masked"):
            return reply
        return Reply({"masked": reply.arrays["masked"] + np.uint32(2**30)}, reply.config)

    bent = wire(in_process(plan, shop), bend)
    lied = rounds(plan, bent, shop)[0]
    rosters = {bytes(q.arrays["names"]) for _, q, _ in bent.heard if q.kind.endswith("share")}
    assert len(rosters) == 5
    means = []
    for roster in rosters:
        members = roster.decode().split("\n")
        total = np.sum([vectors[name] for name in members], axis=0, dtype=np.uint32)
        means.append(codec.decode(total, len(members)) / len(members))
        assert len(members) == 8
    start = flatten(plan.algorithm.init(plan.model, shop.schema, plan.seed).shared)
    np.testing.assert_allclose(flatten(honest.state.shared) - start, np.median(means, axis=0), atol=1e-6)
    spread = np.abs(np.array(means) - np.median(means, axis=0)).max()
    assert np.abs(flatten(lied.state.shared) - flatten(honest.state.shared)).max() <= spread + 1e-6
    assert lied.clients == honest.clients == 40
    plain = replace(plan, secure_sum=SecAgg(minimum=4), aggregator=None)
    moved = rounds(plain, wire(in_process(plain, shop), bend), shop)[0]
    assert np.abs(flatten(moved.state.shared) - flatten(honest.state.shared)).max() > 100 * spread


def test_a_group_that_is_lost_is_left_out_and_said(shop, make_plan, in_process, wire):
    plan = make_plan(rounds=1, secure_sum=SecAgg(minimum=6, groups=5), aggregator=Median(), **COUNTS)
    groups = partition([f"node-0/{i}" for i in range(40)], 5, simulated_run(plan), 0)

    def silent(address, request, reply):
        return None if address in groups[2][:3] and request.kind.endswith("masked") else reply

    (done,) = rounds(plan, wire(in_process(plan, shop), silent), shop)
    assert done.clients == 32 and len(done.notes) == 1 and "nothing was opened" in done.notes[0]


def simulated_run(plan):
    return stream(plan, "secure run").bytes(16)


def test_the_fewest_that_are_opened_together_are_20_customers_or_3_institutions(shop, make_plan, in_process):
    assert make_plan(secure_sum=SecAgg()).minimum == 20
    assert make_plan(secure_sum=SecAgg(), secure_between="nodes").minimum == 3
    assert make_plan(secure_sum=SecAgg(minimum=7), secure_between="nodes").minimum == 7
    customers = shop.take(list(range(19)))
    plan = make_plan(rounds=1, secure_sum=SecAgg(), **COUNTS)
    with pytest.raises(PlanError, match=r"no fewer than 20.*only 19 clients take part"):
        rounds(plan, in_process(plan, customers), customers)
    nodes = replace(plan, secure_between="nodes")
    assert rounds(nodes, in_process(nodes, customers, 3), customers)[0].clients == 19
    with pytest.raises(PlanError, match=r"no fewer than 3.*only 2 nodes take part"):
        rounds(nodes, in_process(nodes, customers, 2), customers)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"secure_sum": SecAgg(groups=2), "aggregator": None}, "only serves an aggregator"),
        ({"secure_sum": SecAgg(), "aggregator": Median()}, "set groups"),
        ({"secure_sum": SecAgg(groups=3), "aggregator": Median(), "cohort": 59}, "in each of 3 groups"),
        ({"secure_sum": SecAgg(groups=3), "aggregator": Median(), "protect": (Gaussian(1.0, 1.0),)}, "does not sum"),
    ],
    ids=["no rule", "no groups", "small groups", "noise"],
)
def test_groups_that_serve_nothing_or_fall_short_are_refused(make_plan, changes, words):
    with pytest.raises(PlanError, match=words):
        make_plan(**changes)


def test_groups_too_small_for_the_clients_at_hand_are_refused_before_anybody_works(shop, make_plan, in_process, wire):
    plan = make_plan(secure_sum=SecAgg(minimum=9, groups=5), aggregator=Median())
    engine = wire(in_process(plan, shop))
    with pytest.raises(PlanError, match=r"9 contributions together in each of 5 groups, but only 40 clients"):
        rounds(plan, engine, shop)
    assert engine.heard == []


# ---- the other engine


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_sums_groups_with_dropouts_and_refusals_as_this_process_does(few, make_plan, in_process, cut, lengths):
    """Two actors, two rounds, 30 % dropping out, one client whose contribution is beyond the bound."""
    bound = float(np.mean(sorted(lengths.values())[-2:]))
    rules = SecAgg(minimum=2, groups=2, dropout=0.4, colluding=0.0)
    plan = make_plan(secure_sum=rules, aggregator=Median(), dropout=0.2, quantise_bound=bound, seed=1)
    here = rounds(plan, in_process(plan, few, 2), few)
    assert any(one.dropped for one in here)
    with RayPool({name: partial(Worker, plan, part) for name, part in cut(few, 2).items()}) as pool:
        there = rounds(plan, pool, few)
    for one, other in zip(there, here, strict=True):
        assert flatten(one.state.shared).tobytes() == flatten(other.state.shared).tobytes()
        assert (one.clients, one.dropped, one.notes, one.sum_digest) == (
            other.clients,
            other.dropped,
            other.notes,
            other.sum_digest,
        )
