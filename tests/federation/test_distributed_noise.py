"""Noise in shares inside a real secure sum, with and without dropouts, against noise that the server adds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tacit.core.trees import flatten
from tacit.core.values import PlanError, ProtocolError
from tacit.federation.cohort import vanishes
from tacit.federation.run import run
from tacit.federation.secure import MODEL
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.adaptive_clip import AdaptiveClip
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.laplace import Laplace
from tacit.privacy.transforms.local_gaussian import LocalGaussian
from tacit.privacy.transforms.local_laplace import LocalLaplace
from tacit.privacy.transforms.scheduled_gaussian import ScheduledGaussian

SHARED = DistributedGaussian(clip_norm=0.2, noise_multiplier=3.0, survivors_at_least=25)


def models(plan, engine, shop):
    return [flatten(done.state.shared) for done in run(plan, engine, shop.schema)]


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_the_model_moves_by_the_plain_mean_plus_noise_of_the_surviving_shares(
    shop, make_plan, in_process, dropout
) -> None:
    """Kolmogorov-Smirnov on all values of three seeds, fixed; false alarm 1e-6. 40 customers, 25 shares needed."""
    noise = []
    for seed in range(3):
        plan = make_plan(
            protect=(SHARED,), secure_sum=SecAgg(minimum=25), rounds=1, dropout=dropout, seed=seed, cohort=0
        )
        bare = replace(plan, protect=(Clip(0.2),))
        ours, plain = (models(p, in_process(p, shop, 4), shop)[0] for p in (plan, bare))
        there = sum(not vanishes(plan, client, 1) for client in range(40))
        start = flatten(plan.algorithm.init(plan.model, shop.schema, seed).shared)
        sums = (ours - start) * 40, (plain - start) * there  # under noise the expected cohort divides
        noise.append((sums[0] - sums[1]) / (0.6 * math.sqrt(there / 25)))
        assert there >= 25
    assert stats.kstest(np.concatenate(noise), "norm").pvalue > 1e-6


class Poisoned:
    """A server that puts NaN into an item's row of the model: who has the item cannot compute."""

    def __init__(self, engine):
        self._engine, self.receive, self.nodes = engine, engine.receive, engine.nodes

    def send(self, requests):
        for address, request in requests.items():
            arrays = {name: np.array(value) for name, value in request.arrays.items()}
            for name, value in arrays.items():
                if name.startswith(MODEL) and value.ndim == 2:
                    value[0] = np.nan
            requests[address] = replace(request, arrays=arrays)
        self._engine.send(requests)


def test_who_leaves_a_round_tells_nothing_where_noise_is_to_hide_it_from_the_server(
    shop, make_plan, in_process
) -> None:
    plan = make_plan(protect=(SHARED,), secure_sum=SecAgg(minimum=25), rounds=1, cohort=0)
    holders = sum(0 in shop.rows(client)["item"] for client in range(40))
    assert 0 < holders < 40
    (done,) = run(plan, Poisoned(in_process(plan, shop, 4)), shop.schema)
    assert (done.clients, done.dropped, done.notes) == (40, 0, ())
    bare = replace(plan, protect=(Clip(0.2),))
    with pytest.raises(ProtocolError, match="NaN"):
        list(run(bare, Poisoned(in_process(bare, shop, 4)), shop.schema))


def test_noise_in_shares_without_a_secure_sum_is_refused(make_plan) -> None:
    with pytest.raises(PlanError, match="secure_sum"):
        make_plan(protect=(SHARED,))


@pytest.mark.parametrize(
    "protect",
    [
        (AdaptiveClip(norm=0.2), Gaussian(1.0, 0.5)),
        (AdaptiveClip(norm=0.2), DistributedGaussian(1.0, 0.5, survivors_at_least=25)),
        (AdaptiveClip(norm=0.2), ScheduledGaussian(1.0, 0.5)),
        (Clip(0.2), LocalGaussian(0.2, 0.1)),
        (ScheduledGaussian(0.2, 0.5, last=0.2, shape="cosine"),),
        (Laplace(0.2, 0.5),),
        (Clip(0.2), LocalLaplace(0.2, 0.1)),
    ],
    ids=lambda protect: "-".join(type(t).__name__ for t in protect),
)
@pytest.mark.parametrize("secure", [None, SecAgg(minimum=25)], ids=["open", "secure"])
def test_mechanisms_run_in_the_loop_and_charge_every_round(shop, make_plan, in_process, protect, secure) -> None:
    if secure is None and isinstance(protect[-1], DistributedGaussian):
        return
    plan = make_plan(protect=protect, secure_sum=secure, rounds=3)
    done = list(run(plan, in_process(plan, shop, 4), shop.schema))
    assert [len(one.events) for one in done] == [1, 1, 1]
    assert np.all(np.isfinite(flatten(done[-1].state.shared)))
    if isinstance(protect[0], AdaptiveClip):
        norms = [float(one.state.server["#told/0/norm"]) for one in done]
        assert len(set(norms)) == 3
    if isinstance(protect[0], ScheduledGaussian):
        multipliers = [one.events[0].noise_multiplier for one in done]
        assert multipliers == sorted(multipliers, reverse=True) and multipliers[-1] == pytest.approx(0.1)


def test_laplace_noise_is_added_to_the_exact_sum_of_whole_steps_with_and_without_a_secure_sum(
    shop, make_plan, in_process
) -> None:
    """The same simulated noise on the same integers: both runs move the model alike, bit for bit."""
    plan = make_plan(protect=(Laplace(0.2, 0.5),), rounds=2, simulation=True)
    secured = replace(plan, secure_sum=SecAgg(minimum=25))
    one, other = (models(p, in_process(p, shop, 4), shop) for p in (plan, secured))
    np.testing.assert_array_equal(one, other)
    assert np.any(one[0] != flatten(plan.algorithm.init(plan.model, shop.schema, plan.seed).shared))
