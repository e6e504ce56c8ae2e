"""One protocol, one result: where clients live changes nothing of what is learned."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tacit.core.trees import flatten
from tacit.core.values import PlanError, ProtocolError, Request
from tacit.federation.engines.ray_pool import RayPool
from tacit.federation.run import run
from tacit.federation.worker import Worker
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.models.implicit_als import ImplicitALS
from tacit.models.item_item import ItemItem
from tacit.models.popularity import Popularity
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.error_feedback import ErrorFeedback
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.matrix_gaussian import MatrixGaussian
from tacit.privacy.transforms.random_k import RandomK

KINDS = {
    "gradients": {},
    "clipped gradients": {"protect": (Clip(0.5),)},
    "gradients with noise": {"protect": (Gaussian(0.5, 0.5),)},
    "a cohort of gradients": {"cohort": 20},
    "statistics": {"model": ImplicitALS(dim=4), "algorithm": SumOfStatistics()},
    "counts": {"model": ItemItem(), "algorithm": SumOfStatistics()},
}
SECURE = {"plain": {}, "secure": {"secure_sum": SecAgg(minimum=3)}}


def last(plan, engine, population):
    return list(run(plan, engine, population.schema))[-1]


def start(plan, population):
    return plan.algorithm.init(plan.model, population.schema, plan.seed).shared


@pytest.mark.parametrize("secure", SECURE)
@pytest.mark.parametrize("kind", KINDS)
def test_several_nodes_learn_the_model_that_one_node_learns(
    shop, make_plan, in_process, movement, same_arrays, kind, secure
):
    plan = make_plan(**KINDS[kind], **SECURE[secure])
    alone, engine = in_process(plan, shop), in_process(plan, shop, 7)
    one, several = last(plan, alone, shop), last(plan, engine, shop)
    if secure == "secure" or kind == "counts":  # integers are summed: no order of addition can show
        assert same_arrays(several.state.shared, one.state.shared)
        assert several.sum_digest == one.sum_digest
    else:
        moved = movement(one.state.shared, start(plan, shop))
        assert movement(several.state.shared, one.state.shared) <= min(1e-6, 1e-3 * moved)
    assert (several.cohort, several.clients, several.dropped) == (one.cohort, one.clients, one.dropped)
    private = list(engine.private(2).values())
    for name, values in alone.private(2)["node-0"].items():
        np.testing.assert_allclose(np.concatenate([part[name] for part in private]), values, atol=1e-6)


@pytest.fixture
def ray_cluster():
    import ray

    assert not ray.is_initialized()
    yield ray
    assert not ray.is_initialized(), "the pool began Ray and must end it"


def check_ray(plan, shop, in_process, cut, same_arrays, ray):
    local = in_process(plan, shop, 2)
    here = last(plan, local, shop)
    with RayPool({n: partial(Worker, plan, part) for n, part in cut(shop, 2).items()}) as pool:
        there = last(plan, pool, shop)
        assert same_arrays(there.state.shared, here.state.shared)
        assert there.sum_digest == here.sum_digest
        for node, own in pool.private(2).items():
            assert same_arrays(own, local.private(2)[node])
        pool.send({"node-0": Request("train", 3)})  # of no plan at all
        with pytest.raises(ProtocolError, match="belongs to another plan") as caught:
            list(pool.receive())
        assert "Traceback" not in str(caught.value)
        ray.kill(pool._hosts["node-1"])  # a node that dies is silent, as a client that drops out
        request = Request("commit", 3, {}, {"plan": plan.digest()})
        pool.send({"node-0": request, "node-1": request})
        assert [address for address, _ in pool.receive()] == ["node-0"]


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_two_ray_actors_learn_the_model_that_this_process_learns(
    shop, make_plan, in_process, cut, same_arrays, ray_cluster
):
    plan = make_plan(**KINDS["gradients"], **SECURE["secure"])
    check_ray(plan, shop, in_process, cut, same_arrays, ray_cluster)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "secure"), [("gradients", "plain"), ("statistics", "plain"), ("statistics", "secure")]
)
def test_ray_equals_this_process_for_every_kind_of_work(
    shop, make_plan, in_process, cut, same_arrays, ray_cluster, kind, secure
):
    plan = make_plan(**KINDS[kind], **SECURE[secure])
    check_ray(plan, shop, in_process, cut, same_arrays, ray_cluster)


LAYERED = {
    "noise in shares": {"protect": (DistributedGaussian(0.5, 0.5, survivors_at_least=3),), **SECURE["secure"]},
    "correlated noise, cohorts in turn": {"protect": (MatrixGaussian(0.5, 0.5),), "cohort": 6, "sampling": "cyclic"},
    "a memory of what was left out": {"protect": (ErrorFeedback(RandomK()),)},
    "proofs": {**KINDS["counts"], "model": Popularity(), "protect": (Clip(3.0),)},
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", LAYERED)
def test_ray_equals_this_process_for_every_layer_that_draws_remembers_or_proves(
    shop, make_plan, in_process, cut, same_arrays, ray_cluster, layer
):
    plan = make_plan(**LAYERED[layer])
    if layer == "proofs":
        pytest.importorskip("py_arkworks_bls12381", reason="it is not installed: tacit[proofs]")
        plan = make_plan(**LAYERED[layer], secure_sum=SecAgg(minimum=3, proof="norm"))
    check_ray(plan, shop.take(list(range(12))), in_process, cut, same_arrays, ray_cluster)


def test_the_model_moves_far_enough_to_make_equality_a_claim(shop, make_plan, in_process, movement):
    for kind in ("gradients", "statistics"):
        plan = make_plan(**KINDS[kind])
        done = last(plan, in_process(plan, shop), shop)
        assert movement(done.state.shared, start(plan, shop)) > 1e-3
        assert np.all(np.isfinite(flatten(done.state.shared)))


def broken():
    raise PlanError("this worker cannot be made")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_pool_that_cannot_be_made_ends_what_it_began(ray_cluster):
    with pytest.raises(ray_cluster.exceptions.RayActorError, match="cannot be made"):
        RayPool({"node-0": broken})
