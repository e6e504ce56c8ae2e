"""A worker answers its own plan's requests about its own clients, and refuses everything else in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tacit.aggregation.median import Median
from tacit.core.values import Population, ProtocolError, Request, Schema
from tacit.data.adult import Adult
from tacit.data.clients import Uniform
from tacit.federation.cohort import COHORT
from tacit.federation.worker import Worker
from tacit.learning.dp_sgd import DPSGD
from tacit.learning.fedavg import FedAvg
from tacit.learning.sgd import SGD
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.local_gaussian import LocalGaussian

TABLE = {"data": Adult(), "model": LogisticRegression(), "clients": Uniform(parties=4)}
TABULAR = Population(
    Schema("tabular", features=3),
    np.arange(0, 41, 10),
    {"x": np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32), "y": np.ones(40, np.float32)},
)


@pytest.fixture
def ask(make_plan, shop):
    """A worker and a way to ask it that fills in what an honest server would say."""

    def make(**changes):
        plan = make_plan(**changes)
        worker = Worker(plan, shop)
        shared = plan.algorithm.init(plan.model, shop.schema, plan.seed).shared

        def send(kind, address="node", round=1, cohort=(0, 1), **config):
            arrays = dict(shared) if cohort is None else {**shared, COHORT: np.asarray(cohort)}
            return worker(address, Request(kind, round, arrays, {"plan": plan.digest(), **config}))

        return worker, send

    return make


def test_a_request_of_another_plan_is_refused_and_changes_nothing(ask, make_plan):
    worker, send = ask()
    other = make_plan(seed=1).digest()
    for kind in ("train", "train/each", "enrol", "trust", "commit", "secure-sum/advertise"):
        with pytest.raises(ProtocolError, match="belongs to another plan"):
            send(kind, plan=other)
        with pytest.raises(ProtocolError, match="belongs to another plan"):
            worker("node", Request(kind, 1))
    assert send("train").config["clients"] == 2


@pytest.mark.parametrize("kind", ["gossip", "", "train/", "TRAIN", "secure-sum", "secure-sum/", "secure-sum/gossip"])
@pytest.mark.parametrize("round", [0, 1, 7])
@pytest.mark.parametrize("between", ["clients", "nodes"])
def test_an_unknown_kind_is_refused_in_any_round(ask, kind, round, between):
    _, send = ask(secure_sum=SecAgg(minimum=2), secure_between=between)
    address = "node/3" if between == "clients" else "node"
    with pytest.raises(ProtocolError, match="unknown request kind"):
        send(kind, address, round)


@pytest.mark.parametrize(
    "cohort", [[40], [-1], [3, 3], None, [[1, 2]], [0.5]], ids=["beyond", "below", "twice", "none", "table", "half"]
)
@pytest.mark.parametrize("kind", ["train", "train/each"])
def test_a_cohort_of_clients_that_are_not_hosted_is_refused(ask, kind, cohort):
    _, send = ask(aggregator=Median() if kind == "train/each" else None)
    with pytest.raises(ProtocolError, match="each once"):
        send(kind, cohort=cohort)


@pytest.mark.parametrize("address", ["node/40", "node/-1", "node/x", "node", "node/", "node/1/2", "node/²"])
def test_a_secure_sum_with_a_client_that_is_not_hosted_is_refused(ask, address):
    _, send = ask(secure_sum=SecAgg(minimum=2))
    with pytest.raises(ProtocolError, match="is not hosted here"):
        send("secure-sum/advertise", address)


def test_between_nodes_no_single_client_can_be_addressed(ask):
    _, send = ask(secure_sum=SecAgg(minimum=2), secure_between="nodes")
    with pytest.raises(ProtocolError, match="is not hosted here"):
        send("secure-sum/advertise", "node/0")


def test_a_secure_sum_that_the_plan_does_not_hold_is_refused(ask):
    _, send = ask()
    with pytest.raises(ProtocolError, match="its plan has none"):
        send("secure-sum/advertise", "node/0")


def test_plain_training_is_refused_where_the_plan_holds_a_secure_sum(ask):
    """Else a server that is curious would simply ask for the plain sum, or for each update."""
    _, send = ask(secure_sum=SecAgg(minimum=2))
    for kind in ("train", "train/each"):
        with pytest.raises(ProtocolError, match="only through the secure sum"):
            send(kind)


def test_single_updates_are_refused_where_the_plan_needs_only_their_sum(ask):
    _, send = ask()
    with pytest.raises(ProtocolError, match="only the sum"):
        send("train/each")


def test_a_secure_sum_before_enrolment_is_refused(ask):
    _, send = ask(secure_sum=SecAgg(minimum=2))
    with pytest.raises(ProtocolError, match="before anybody enrolled"):
        send("secure-sum/advertise", "node/0")


def test_a_message_out_of_order_is_refused(ask, make_plan, shop):
    worker, send = ask(secure_sum=SecAgg(minimum=2))
    keys = send("enrol").arrays["keys"]
    config = {"plan": worker.plan.digest(), "run": bytes(16), "clients": len(shop)}
    worker("node", Request("trust", 0, {"node": keys}, config))
    send("secure-sum/advertise", "node/0")
    with pytest.raises(ProtocolError, match="owes no upload"):
        send("secure-sum/masked", "node/0")
    for stage in ("sign", "unmask"):
        assert "out of order" in send(f"secure-sum/{stage}", "node/0").config["refused"]


@pytest.mark.parametrize("missing", ["run", "clients"])
def test_an_enrolment_that_names_no_run_is_refused(ask, missing):
    worker, send = ask(secure_sum=SecAgg(minimum=2))
    config = {"plan": worker.plan.digest(), "run": bytes(16), "clients": 40}
    del config[missing]
    with pytest.raises(ProtocolError, match="names its run"):
        worker("node", Request("trust", 0, {"node": send("enrol").arrays["keys"]}, config))


def test_a_contribution_that_is_no_number_is_named_as_such(ask):
    wild = FedAvg(SGD(lr=1e30))
    for changes in ({}, {"protect": (Clip(1.0),)}):
        _, send = ask(algorithm=wild, **changes)
        with pytest.raises(ProtocolError, match="NaN or infinity"):
            send("train")


@pytest.mark.parametrize("change", ["none", "fewer rows", "another name", "one more"])
def test_training_from_other_parameters_than_the_models_is_refused(ask, make_plan, shop, change):
    """A kernel that trusted a short table would read beyond its end."""
    worker, _ = ask()
    shared = dict(worker.plan.algorithm.init(worker.plan.model, shop.schema, 0).shared)
    items = shared.pop("items")
    shared |= {
        "none": {},
        "fewer rows": {"items": items[:7]},
        "another name": {"item": items},
        "one more": {"items": items, "user": items[0]},
    }[change]
    request = Request("train", 1, {**shared, COHORT: np.arange(3)}, {"plan": worker.plan.digest()})
    with pytest.raises(ProtocolError, match="were needed to train with"):
        worker("node", request)


def test_a_worker_shows_no_rows_and_no_private_parameters(ask):
    worker, send = ask()
    send("train")
    for shown in (repr(worker), repr(worker.population), repr(worker.sessions), repr(worker.private)):
        assert "array" not in shown and "[[" not in shown


def test_single_updates_are_each_bounded(ask, make_plan, shop):
    _, send = ask(protect=(Clip(0.02),), aggregator=Median())
    each = send("train/each", cohort=range(10)).arrays["updates"]
    lengths = np.linalg.norm(each, axis=1)
    assert each.shape == (10, 80 * 4)
    assert np.all(lengths <= 0.02 * (1 + 1e-6)) and lengths.max() > 0.0199


def test_the_clients_of_one_request_are_those_of_the_others(ask, make_plan, shop):
    """The sum of a cohort is the sum of its clients' own updates."""
    _, single = ask(aggregator=Median())
    _, together = ask()
    each = single("train/each", cohort=[3, 11, 30]).arrays["updates"]
    total = together("train", cohort=[3, 11, 30]).arrays["items"]
    np.testing.assert_allclose(each.sum(0), total.ravel(), atol=1e-6)


def test_a_plan_with_another_digest_is_another_plan(make_plan):
    plan = make_plan()
    assert replace(plan, rounds=3).digest() != plan.digest() == make_plan().digest()


def private_plan(**changes):
    return {"model": MatrixFactorisation(dim=3), "algorithm": FedAvg(local=SGD(lr=0.5)), **changes}


def content(reply):
    return {name: np.asarray(value).tobytes() for name, value in reply.arrays.items()}, dict(reply.config)


@pytest.mark.parametrize("kind", ["train", "train/each"])
def test_a_repeated_request_is_answered_with_the_same_reply(ask, kind):
    """And so the second copy of a message that a network brought twice trains nobody twice."""
    worker, send = ask(**private_plan(aggregator=Median() if kind == "train/each" else None))
    first = content(send(kind, cohort=(0, 1, 5)))
    once = {name: values.copy() for name, values in worker.private.own.items()}
    again = content(send(kind, cohort=(0, 1, 5)))
    assert once and first == again
    for name, values in worker.private.own.items():
        assert np.array_equal(values, once[name])


def test_private_parameters_are_trained_once_in_a_round(ask):
    """A server that asks for another cohort in the same round finds everybody as the round began; then rounds go on."""
    worker, send = ask(**private_plan())
    initial = {name: values.copy() for name, values in worker.private.own.items()}
    send("train", cohort=(0, 1))
    send("train", cohort=(1, 2))
    fresh, ask_fresh = ask(**private_plan())
    ask_fresh("train", cohort=(1, 2))
    for name, values in worker.private.own.items():
        assert np.array_equal(values, fresh.private.own[name]) and np.array_equal(values[0], initial[name][0])
    for each in (send, ask_fresh):
        each("commit")
    assert content(send("train", round=2, cohort=(0, 2))) == content(ask_fresh("train", round=2, cohort=(0, 2)))


@pytest.mark.parametrize("between", ["clients", "nodes"])
def test_a_secure_sum_is_refused_beyond_the_rounds_that_noise_in_shares_is_accounted_for(ask, between):
    """A lying server would else see sums of the same customers, each with noise of its own, as often as it likes."""
    noise = DistributedGaussian(clip_norm=1.0, noise_multiplier=1.0, survivors_at_least=2)
    sums = {"secure_sum": SecAgg(minimum=2), "secure_between": between, "simulation": False, "protect": (noise,)}
    worker, send = ask(rounds=2, **sums)
    address = "node" if between == "nodes" else "node/0"
    keys = send("enrol", cohort=None).arrays["keys"]
    worker("node", Request("trust", 0, {"node": keys}, {"plan": worker.plan.digest(), "run": b"run", "clients": 40}))
    assert "advert" in send("secure-sum/advertise", address, round=2, cohort=None).arrays
    with pytest.raises(ProtocolError, match="has 2 rounds"):
        send("secure-sum/advertise", address, round=3, cohort=None)


NOISY = [
    {"protect": (Clip(1.0), LocalGaussian(1.0)), "simulation": False},
    {**TABLE, "algorithm": FedAvg(local=DPSGD(steps=1)), "simulation": False},
]


@pytest.mark.parametrize("changes", NOISY, ids=["local noise", "private steps"])
def test_clients_that_draw_noise_answer_one_question_in_a_round(make_plan, shop, changes):
    """The very same question gets the same noise; another one would be a second release. The next round is another."""
    plan = make_plan(**changes)
    rows = TABULAR if plan.data.gives == "tabular" else shop
    worker = Worker(plan, rows)
    shared = plan.algorithm.init(plan.model, rows.schema, plan.seed).shared

    def send(cohort, round=1):
        arrays = {**shared, COHORT: np.asarray(cohort)}
        return worker("node", Request("train", round, arrays, {"plan": plan.digest(), "clients": len(rows)}))

    assert content(send([0, 1])) == content(send([0, 1]))
    with pytest.raises(ProtocolError, match="second release"):
        send([0])
    worker("node", Request("commit", 1, {}, {"plan": plan.digest()}))
    for cohort in ([0, 1], [0]):
        with pytest.raises(ProtocolError, match="second release"):  # the round is over, even for the same question
            send(cohort)
    assert send([0], round=2).config["clients"] == 1
    with pytest.raises(ProtocolError, match="second release"):
        send([0, 1])
    with pytest.raises(ProtocolError, match=f"has {plan.rounds} rounds"):
        send([0], round=plan.rounds + 1)
    assert content(send([0], round=2)) == content(send([0], round=2))
