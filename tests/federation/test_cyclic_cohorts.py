"""Cohorts that take turns, and noise that the server keeps to itself: over whole rounds, resumed and not."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tacit.core.trees import flatten
from tacit.core.values import PlanError
from tacit.federation.cohort import draw
from tacit.federation.run import run
from tacit.privacy import protection
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.adaptive_clip import AdaptiveClip
from tacit.privacy.transforms.matrix_gaussian import MatrixGaussian
from tacit.privacy.transforms.norm_driven_gaussian import NormDrivenGaussian

KEPT = "#hidden/0/noise"


@pytest.fixture
def cyclic(make_plan: Any) -> Any:
    """Ten rounds in which 40 customers take turns by ten."""

    def make(**changes: Any) -> Any:
        noise = MatrixGaussian(clip_norm=0.5, noise_multiplier=0.3, bands=4)
        parts = {"cohort": 10, "sampling": "cyclic", "rounds": 10, "protect": (noise,)}
        return make_plan(**(parts | changes))

    return make


def rounds(plan: Any, engine: Any, people: Any, after: Any = None) -> list[Any]:
    return list(run(plan, engine, people.schema, after))


@pytest.mark.parametrize("simulation", [True, False])
def test_a_client_comes_back_after_all_others_whoever_draws(cyclic: Any, simulation: bool) -> None:
    plan = cyclic(simulation=simulation)
    cohorts = [draw(plan, 40, round).tolist() for round in range(1, 13)]
    assert all(len(cohort) == 10 and cohort == sorted(cohort) for cohort in cohorts)
    assert sorted(itertools.chain(*cohorts[:4])) == list(range(40))
    assert cohorts[:4] == cohorts[4:8] == cohorts[8:]


def test_a_mechanism_is_told_how_far_apart_a_clients_rounds_are(cyclic: Any) -> None:
    for plan, apart, clients in (
        (cyclic(), 4, 10),
        (cyclic(cohort=7), 6, 7),
        (cyclic(cohort=0, sampling="fixed"), 1, 40),
    ):
        (turn,) = protection.turns(plan, 3, 5, 40, 40, protection.start(plan))
        assert (turn.separation, turn.clients, turn.rounds) == (apart, clients, 10)


@pytest.mark.parametrize("secure", [None, SecAgg(minimum=3)], ids=["open", "secure"])
@pytest.mark.parametrize(
    "protect",
    [
        (MatrixGaussian(clip_norm=0.5, noise_multiplier=0.3, bands=4),),
        (MatrixGaussian(clip_norm=0.5, noise_multiplier=0.3, factorisation="tree"),),
        (AdaptiveClip(norm=0.5), MatrixGaussian(clip_norm=1.0, noise_multiplier=0.3)),
        (NormDrivenGaussian(clip_norm=0.5, noise_multiplier=0.3),),
    ],
    ids=["banded", "tree", "adaptive", "norm driven"],
)
def test_a_training_that_is_resumed_ends_as_one_that_was_not_interrupted(
    cyclic: Any, shop: Any, in_process: Any, tmp_path: Any, secure: Any, protect: Any
) -> None:
    """The same model, the same noise to keep and the same costs, bit for bit."""
    plan = cyclic(protect=protect, secure_sum=secure, rounds=6)
    whole = rounds(plan, in_process(plan, shop, 2), shop)
    part = list(itertools.islice(run(plan, in_process(plan, shop, 2, tmp_path), shop.schema), 3))
    rest = rounds(plan, in_process(plan, shop, 2, tmp_path), shop, part[-1])
    for one, other in zip(whole, [*part, *rest], strict=True):
        assert flatten(one.state.shared).tobytes() == flatten(other.state.shared).tobytes()
        assert flatten(one.state.server).tobytes() == flatten(other.state.server).tobytes()
        assert one.events == other.events and one.clients == other.clients == 10


def test_the_noise_that_the_server_keeps_is_in_no_request_and_in_no_record(
    cyclic: Any, shop: Any, in_process: Any, wire: Any
) -> None:
    plan = cyclic(protect=(AdaptiveClip(), MatrixGaussian(noise_multiplier=0.3, bands=4)))
    engine = wire(in_process(plan, shop, 2))
    done = rounds(plan, engine, shop)
    kept = [record.state.server["#hidden/1/noise"] for record in done]
    assert all(part.shape[0] == 3 and np.any(part) for part in kept)
    sent = [request for _, request, _ in engine.heard]
    assert len(sent) > 20 and all(name.startswith("#told/0/") for r in sent for name in r.arrays if "told" in name)
    numbers = {float(value) for part in kept for value in part.ravel() if value}
    for request in sent:
        assert not any("hidden" in name for name in (*request.arrays, *request.config))
        for value in request.arrays.values():
            if value.dtype.kind == "f":
                assert numbers.isdisjoint(np.asarray(value, np.float64).ravel().tolist())
    assert "hidden" not in repr(done[-1]) and not any(name.startswith("#") for name in done[-1].state.shared)


def test_real_noise_is_fresh_and_cancels_as_it_should(cyclic: Any, shop: Any, in_process: Any) -> None:
    """Without simulation two trainings keep other noise; the noise of a round is there again in the next memory."""
    plan = cyclic(simulation=False, rounds=5)
    one, other = rounds(plan, in_process(plan, shop), shop), rounds(plan, in_process(plan, shop), shop)
    assert not np.array_equal(one[-1].state.server[KEPT], other[-1].state.server[KEPT])
    for before, after in itertools.pairwise(one):
        np.testing.assert_array_equal(before.state.server[KEPT][:2], after.state.server[KEPT][1:])


def test_a_secure_sum_wants_the_smallest_block_to_be_large_enough(cyclic: Any, shop: Any, in_process: Any) -> None:
    """40 customers in cohorts of up to 12 make four blocks of ten."""
    plan = cyclic(cohort=12, secure_sum=SecAgg(minimum=11))
    with pytest.raises(PlanError, match=r"opens no fewer than 11 .*only 10 clients"):
        rounds(plan, in_process(plan, shop), shop)
    fits = replace(plan, secure_sum=SecAgg(minimum=10), rounds=1)
    assert len(rounds(fits, in_process(fits, shop), shop)) == 1


def test_under_noise_the_sum_is_divided_by_the_size_of_a_block(cyclic: Any, shop: Any, in_process: Any) -> None:
    """Hardly any noise: cohorts of up to 12 are blocks of ten, and move the model as cohorts of ten do."""
    quiet = (MatrixGaussian(clip_norm=0.5, noise_multiplier=1e-5, bands=1),)
    ten, twelve = cyclic(protect=quiet, rounds=1), cyclic(protect=quiet, cohort=12, rounds=1)
    a, b = (rounds(plan, in_process(plan, shop), shop)[0] for plan in (ten, twelve))
    np.testing.assert_allclose(flatten(a.state.shared), flatten(b.state.shared), atol=1e-4)
