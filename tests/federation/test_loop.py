"""The loop: who is asked, what is divided by what, which noise is added, what is handed over, what ends a round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pytest

from tacit.aggregation.median import Median
from tacit.core.trees import flatten
from tacit.core.values import Event, PlanError, Population, ProtocolError, Reply, Request, Round
from tacit.federation.cohort import COHORT
from tacit.federation.run import run
from tacit.federation.worker import Worker
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.implicit_als import ImplicitALS
from tacit.models.item_item import ItemItem
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.popularity import Popularity
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.gaussian import Gaussian

COUNTS = {"model": Popularity(), "algorithm": SumOfStatistics()}


@pytest.fixture
def train(shop, in_process) -> Callable[..., list[Round]]:
    def rounds(plan, engine=None, parts=1, population=shop, **more):
        engine = engine or in_process(plan, population, parts)
        return list(run(plan, engine, population.schema, **more))

    return rounds


def model(done: Round) -> np.ndarray:
    return flatten(done.state.shared)


# -- cohorts -----------------------------------------------------------------------------------------------------------


def test_a_fixed_cohort_is_asked_in_full_every_round(train, make_plan, shop, in_process, wire):
    plan = make_plan(cohort=13, rounds=4)
    heard = wire(in_process(plan, shop, 3))
    done = train(plan, heard)
    assert [(r.cohort, r.clients, r.dropped) for r in done] == [(13, 13, 0)] * 4
    for number in range(1, 5):
        asked = [q.arrays[COHORT] for _, q, _ in heard.heard if q.kind == "train" and q.round == number]
        assert sum(len(mine) for mine in asked) == 13


def test_poisson_cohorts_of_a_run_vary_around_the_expected_size(train, make_plan):
    """Seed 0; 150 rounds of 40 coins at 1/4: the mean within 5 standard deviations, false alarm < 1e-6."""
    plan = make_plan(cohort=10, sampling="poisson", rounds=150, **COUNTS)
    sizes = np.array([r.cohort for r in train(plan)])
    assert abs(sizes.mean() - 10) <= 5 * np.sqrt(7.5 / 150)
    assert len(set(sizes.tolist())) > 5


def test_a_run_under_simulation_is_reproduced_bit_by_bit_and_no_other(train, make_plan):
    """Two unsimulated cohorts of 10 in 40 and their noise come out alike with probability below 1e-9."""
    plan = make_plan(cohort=10, protect=(Gaussian(0.1, 0.1),))
    first, again = train(plan), train(plan)
    assert [model(a).tobytes() for a in first] == [model(b).tobytes() for b in again]
    real = replace(plan, simulation=False)
    assert model(train(real)[-1]).tobytes() != model(train(real)[-1]).tobytes()
    assert model(train(replace(plan, seed=1))[-1]).tobytes() != model(first[-1]).tobytes()


def test_a_cohort_larger_than_the_population_is_refused(train, make_plan):
    with pytest.raises(PlanError, match=r"cohort is 41 clients, but there are only 40"):
        train(make_plan(cohort=41))


def test_nobody_in_the_cohort_leaves_the_model_as_it_was(train, make_plan):
    """Seed 0 draws at least one empty Poisson cohort in 60 rounds of 40 coins at 1/40."""
    for changes in (COUNTS, {}, {"model": ImplicitALS(dim=4), "algorithm": SumOfStatistics()}):
        plan = make_plan(cohort=1, sampling="poisson", rounds=60 if changes else 20, **changes)
        done = train(plan)
        empty = [i for i, r in enumerate(done) if r.cohort == 0]
        assert empty
        for index in empty[1:] if empty[0] == 0 else empty:
            assert np.array_equal(model(done[index]), model(done[index - 1]))


# -- denominators ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counting:
    """FedAvg that adds what it was told to divide by as a moment of the server's."""

    inner: FedAvg = FedAvg(SGD(lr=0.5))

    @property
    def weighting(self) -> str:
        return "uniform"

    def refuses(self, model):
        return None

    def private(self, model):
        return self.inner.private(model)

    def init(self, model, schema, seed):
        return self.inner.init(model, schema, seed)

    def work(self, model, round):
        return self.inner.work(model, round)

    def update(self, state, model, total, clients, round):
        new = self.inner.update(state, model, total, clients, round)
        return replace(new, server={"clients": np.asarray(clients)})


@pytest.mark.parametrize("sampling", ["fixed", "poisson"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_under_noise_the_sum_is_divided_by_the_expected_cohort(train, make_plan, sampling, dropout):
    plan = make_plan(algorithm=Counting(), cohort=12, sampling=sampling, dropout=dropout, protect=(Gaussian(0.1, 1.0),))
    done = train(replace(plan, rounds=4))
    assert [float(r.state.server["clients"]) for r in done] == [12.0] * 4
    assert len({r.clients for r in done}) > 1 or (sampling, dropout) == ("fixed", 0.0)


def test_without_noise_the_sum_is_divided_by_those_that_are_in_it(train, make_plan):
    plan = make_plan(algorithm=Counting(), dropout=0.3, rounds=4, protect=(Clip(1.0),))
    for done in train(plan):
        assert float(done.state.server["clients"]) == done.clients < 40
    for done in train(replace(plan, secure_sum=SecAgg(minimum=5, dropout=0.5))):
        assert float(done.state.server["clients"]) == done.clients < 40


def test_under_noise_everybody_is_the_expected_cohort_of_a_plan_without_one(train, make_plan):
    plan = make_plan(algorithm=Counting(), dropout=0.3, protect=(Gaussian(0.1, 1.0),))
    assert [float(r.state.server["clients"]) for r in train(plan)] == [40.0, 40.0]


# -- noise and bounds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 5])
@pytest.mark.parametrize("secure", [None, SecAgg(minimum=3)], ids=["plain", "secure"])
def test_noise_is_added_once_a_round_with_the_stated_deviation(train, make_plan, parts, secure):
    """Seed 0; 80 x 16 values: the deviation within 6 standard errors (2 %), mean within 6: false alarm < 1e-8.

    Noise added twice would be off by 41 %, noise added by each of five nodes by 124 %.
    """
    plan = make_plan(model=MatrixFactorisation(dim=16), rounds=1, secure_sum=secure)
    noisy, bare = replace(plan, protect=(Gaussian(0.5, 3.0),)), replace(plan, protect=(Clip(0.5),))
    noise = 40 * (model(train(noisy, parts=parts)[0]) - model(train(bare, parts=parts)[0]))
    assert len(noise) == 1280
    assert abs(noise.std() - 1.5) <= 6 * 1.5 / np.sqrt(2 * 1280)
    assert abs(noise.mean()) <= 6 * 1.5 / np.sqrt(1280)


def test_every_round_has_noise_of_its_own(train, make_plan):
    """Counts are the same in both rounds, so the difference is noise: correlation within 6 / sqrt(80 * 81 / 2)."""
    plan = make_plan(model=ItemItem(ridge=5.0), algorithm=SumOfStatistics())
    heard = []
    noisy = replace(plan, protect=(Gaussian(1.0, 1.0),), model=Popularity(), simulation=False, rounds=3)
    bare = model(train(replace(noisy, protect=(Clip(1.0),)))[0])
    heard = [model(done) - bare for done in train(noisy)]
    for one in range(3):
        for other in range(one):
            assert abs(np.corrcoef(heard[one], heard[other])[0, 1]) < 6 / np.sqrt(80)
            assert not np.any(heard[one] == heard[other])


@pytest.mark.parametrize("secure", [None, SecAgg(minimum=3)], ids=["plain", "secure"])
def test_one_client_moves_the_sum_by_at_most_the_clip_norm(train, make_plan, shop, secure):
    """The first client learns far too fast; with and without it the sums differ by no more than the bound."""
    clip, wild = 0.25, FedAvg(SGD(lr=20.0))
    plan = make_plan(algorithm=wild, protect=(Clip(clip),), rounds=1, secure_sum=secure)
    everyone = train(plan)[0]
    rows = shop.take(range(1, 40))
    others = Population(rows.schema, rows.offsets, rows.fields, first=1)
    without = train(plan, population=others)[0]
    start = plan.algorithm.init(plan.model, shop.schema, plan.seed).shared
    sums = [n * (model(done) - flatten(start)) for n, done in ((40, everyone), (39, without))]
    assert np.linalg.norm(sums[0] - sums[1]) <= clip * (1 + 1e-4)
    assert np.linalg.norm(sums[0] - sums[1]) > 0.9 * clip
    unbounded = train(replace(plan, protect=(), secure_sum=None))[0]
    assert np.linalg.norm(model(unbounded) - flatten(start)) > 10 * clip


@pytest.mark.parametrize(
    ("cohort", "sampling", "event"),
    [(0, "fixed", ("all", 1.0)), (10, "fixed", ("fixed", 0.25)), (10, "poisson", ("poisson", 0.25))],
)
def test_events_tell_how_the_cohort_was_really_drawn(train, make_plan, cohort, sampling, event):
    plan = make_plan(cohort=cohort, sampling=sampling, protect=(Gaussian(0.1, 1.3),))
    for done in train(plan):
        assert done.events == (Event("gaussian", 1.3, *event),)
    assert train(replace(plan, protect=(Clip(0.1),)))[0].events == ()


def test_a_cohort_of_everybody_is_accounted_as_everybody(train, make_plan):
    plan = make_plan(cohort=40, sampling="poisson", protect=(Gaussian(0.1, 1.0),))
    assert train(plan)[0].events == (Event("gaussian", 1.0, "all", 1.0),)


def test_noise_that_was_never_calibrated_is_refused(train, make_plan):
    with pytest.raises(PlanError, match="calibrate"):
        train(make_plan(protect=(Gaussian(0.1, 0.0, epsilon=1.0),)))


# -- aggregation -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tallied:
    """A sum that sees each update and refuses any other number than it expects."""

    expected: int = 40

    @property
    def sees(self) -> Literal["sum", "each"]:
        return "each"

    def __call__(self, updates):
        assert updates.shape == (self.expected, 320)
        assert len({row.tobytes() for row in updates}) == self.expected
        return updates.sum(axis=0)


@pytest.mark.parametrize("parts", [1, 4])
def test_a_robust_rule_sees_each_update_of_every_node(train, make_plan, parts):
    plan = make_plan()
    each = train(replace(plan, aggregator=Tallied()), parts=parts)
    together = train(plan, parts=parts)
    np.testing.assert_allclose(model(each[-1]), model(together[-1]), atol=1e-6)
    (one, *_) = train(replace(plan, aggregator=Tallied(7), cohort=7), parts=parts)
    assert one.clients == 7


def test_the_median_shrugs_off_a_client_that_the_sum_follows(train, make_plan, in_process, shop, wire):
    def poison(address, request, reply):
        if request.kind == "train/each":
            updates = reply.arrays["updates"].copy()
            updates[5] = 1e6
            return Reply({"updates": updates}, reply.config)
        return reply

    plan = make_plan(rounds=1)
    honest = {rule: train(replace(plan, aggregator=rule)) for rule in (Median(), Tallied())}
    poisoned = {
        rule: train(p, wire(in_process(p, shop), poison)) for rule in honest for p in (replace(plan, aggregator=rule),)
    }
    assert np.abs(model(poisoned[Median()][0]) - model(honest[Median()][0])).max() < 0.05
    assert np.abs(model(poisoned[Tallied()][0]) - model(honest[Tallied()][0])).max() > 1e3


# -- what ends a round -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregator", [None, Median()], ids=["sum", "each"])
@pytest.mark.parametrize("protect", [(), (Clip(1.0),)], ids=["bare", "clipped"])
def test_a_contribution_of_nan_ends_the_run_in_words_and_stores_nothing(
    train, make_plan, in_process, shop, tmp_path, protect, aggregator
):
    plan = make_plan(algorithm=FedAvg(SGD(lr=1e30)), protect=protect, aggregator=aggregator)
    with pytest.raises(ProtocolError, match=r"NaN or infinity.*learning rate"):
        train(plan, in_process(plan, shop, 1, tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def nonsense(kind, name, plan):
    good = {"items": np.zeros((80, 4))}
    each = {"updates": np.zeros((40, 320))}
    return {
        "nan": Reply({"items": np.full((80, 4), np.nan)}, {"clients": 40}),
        "short": Reply({"items": np.zeros((79, 4))}, {"clients": 40}),
        "unnamed": Reply({"users": np.zeros((80, 4))}, {"clients": 40}),
        "nothing": Reply({}, {"clients": 40}),
        "text": Reply({"items": np.full((80, 4), "x")}, {"clients": 40}),
        "too many": Reply(good if kind == "sum" else each, {"clients": 41}),
        "no number": Reply(good if kind == "sum" else each, {}),
        "a word": Reply(good if kind == "sum" else each, {"clients": "many"}),
        "negative": Reply(good if kind == "sum" else each, {"clients": -1}),
        "one less": Reply({"updates": np.zeros((39, 320))}, {"clients": 40}),
    }[name]


@pytest.mark.parametrize(
    "what", ["nan", "short", "unnamed", "nothing", "text", "too many", "no number", "a word", "negative", "one less"]
)
@pytest.mark.parametrize("kind", ["sum", "each"])
def test_a_node_that_answers_nonsense_is_named(train, make_plan, in_process, shop, wire, kind, what):
    plan = make_plan(aggregator=Median() if kind == "each" else None)

    def garble(address, request, reply):
        return nonsense(kind, what, plan) if request.kind.startswith("train") else reply

    with pytest.raises(ProtocolError, match="node-0"):
        train(plan, wire(in_process(plan, shop), garble))


def test_a_silent_node_counts_as_dropped_out(train, make_plan, in_process, shop, wire):
    plan = make_plan(**COUNTS)

    def silence(address, request, reply):
        return None if (address, request.kind) == ("node-1", "train") else reply

    done = train(plan, wire(in_process(plan, shop, 4), silence))[-1]
    assert (done.cohort, done.clients, done.dropped) == (40, 30, 10)
    rows = shop.take([*range(10), *range(20, 40)]).fields["item"]
    assert np.array_equal(done.state.shared["counts"], np.bincount(rows, minlength=80))


# -- what is handed over -----------------------------------------------------------------------------------------------


def test_a_round_tells_bytes_seconds_and_who_took_part(train, make_plan):
    done = train(make_plan(cohort=20, dropout=0.2, seed=1))
    for number, record in enumerate(done, start=1):
        assert record.number == number
        assert record.cohort == 20 == record.clients + record.dropped
        assert record.bytes_up == record.bytes_down == 4 * 320
        assert record.seconds > 0.0
        assert record.sum_digest == ""
    secure = train(make_plan(secure_sum=SecAgg(minimum=3)))[0]
    assert 4 * 320 < secure.bytes_up < 4 * 320 + 40 * 200
    assert secure.bytes_down > 4 * 320
    assert len(secure.sum_digest) == 64


def test_the_loop_goes_on_behind_the_round_it_is_given(train, make_plan, in_process, shop, tmp_path):
    plan = make_plan(rounds=4, protect=(Gaussian(0.2, 0.1),), cohort=20)
    whole = train(plan)
    engine = in_process(plan, shop, 3, tmp_path)
    begun = run(plan, engine, shop.schema)
    second = [next(begun), next(begun)][-1]
    begun.close()
    rest = train(plan, in_process(plan, shop, 3, tmp_path), after=second)
    assert [r.number for r in rest] == [3, 4]
    np.testing.assert_allclose(model(rest[-1]), model(whole[-1]), atol=1e-7)
    assert train(plan, in_process(plan, shop, 3, tmp_path), after=rest[-1]) == []


def test_a_round_is_handed_over_after_every_node_has_stored_its_side(make_plan, in_process, shop, tmp_path):
    plan = make_plan(cohort=2)  # most nodes have nobody in the cohort
    for record in run(plan, in_process(plan, shop, 5, tmp_path), shop.schema):
        for node in range(5):
            assert (tmp_path / f"node-{node}" / f"round-{record.number:06d}.safetensors").exists()


def test_private_parameters_are_in_no_message(train, make_plan, in_process, shop, wire):
    plan = make_plan(cohort=20)
    engine = wire(in_process(plan, shop, 2))
    train(plan, engine)
    names = {name for _, request, reply in engine.heard for name in (*request.arrays, *reply.arrays)}
    assert names == {"items", COHORT}


def test_rows_of_a_client_that_was_not_asked_change_nothing(make_plan, shop):
    """A node's answer depends on the rows of the cohort it was given, and on no others."""
    plan = make_plan()
    shared = plan.algorithm.init(plan.model, shop.schema, plan.seed).shared
    fields = {name: values.copy() for name, values in shop.fields.items()}
    fields["item"][: shop.offsets[5]] = 0  # the first five clients' rows become nonsense
    request = Request("train", 1, {**shared, COHORT: np.arange(5, 20)}, {"plan": plan.digest()})
    answers = [
        Worker(plan, rows)("node", request).arrays["items"]
        for rows in (shop, Population(shop.schema, shop.offsets, fields))
    ]
    assert np.array_equal(*answers)
