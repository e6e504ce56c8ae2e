"""Compression inside rounds: with and without a secure sum, with noise, with what clients remember."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tacit.core.trees import flatten
from tacit.core.values import PlanError
from tacit.federation.run import run
from tacit.federation.worker import Worker
from tacit.privacy import protection
from tacit.privacy.randomness import simulated
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.error_feedback import ErrorFeedback
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.importance_sampling import ImportanceSampling
from tacit.privacy.transforms.low_bit import LowBit
from tacit.privacy.transforms.low_rank import LowRank
from tacit.privacy.transforms.random_k import RandomK
from tacit.privacy.transforms.top_k import TopK

SECURE = SecAgg(minimum=3)
SIZE = 80 * 4  # values of the item table


def rounds(plan: Any, engine: Any, people: Any) -> list[Any]:
    return list(run(plan, engine, people.schema))


def models(done: list[Any]) -> list[Any]:
    return [flatten(each.state.shared) for each in done]


@pytest.mark.parametrize(
    "protect",
    [
        (LowBit(4, 9.0, rotate=False), Clip(9.0)),
        (ErrorFeedback(LowBit(1, 9.0, rotate=False)),),
        (ImportanceSampling(4, 1.0), LowBit(4, 9.0, rotate=False)),
    ],
    ids=repr,
)
def test_a_packed_secure_sum_gives_the_model_that_the_same_messages_give_in_the_clear(
    shop, make_plan, in_process, protect
) -> None:
    """Without public draws, which follow the plan's digest, both runs round alike; packed sums are exact."""
    plan = make_plan(protect=protect)
    masked = replace(plan, secure_sum=SECURE)
    ours, theirs = rounds(plan, in_process(plan, shop), shop), rounds(masked, in_process(masked, shop), shop)
    for one, other in zip(models(ours), models(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize(
    ("protect", "words"),
    [
        ((LowRank(4, 1),), SIZE // 4),
        ((RandomK(16.0),), SIZE // 16),
        ((ImportanceSampling(4, 4.0), LowBit(4, 9.0, rotate=False)), 27),
        ((LowBit(1, 9.0, rotate=False),), SIZE // 5),  # base 41: five digits in a word
        ((LowBit(4, 9.0, rotate=False),), 107),  # base 601: three
        ((LowRank(4, 1), LowBit(4, 9.0, rotate=False)), 27),
    ],
    ids=repr,
)
def test_the_masked_upload_shrinks_by_as_many_words_as_compression_leaves_out(
    shop, make_plan, in_process, protect, words
) -> None:
    bare = make_plan(secure_sum=SECURE, rounds=1, quantise_bound=9.0)
    plan = replace(bare, protect=protect)
    engine = in_process(plan, shop, 2)
    (plain,), (short,) = rounds(bare, in_process(bare, shop, 2), shop), rounds(plan, engine, shop)
    masked = next(part for part in engine.witness(1) if part is not None)
    assert masked.shape == (words,)
    assert plain.bytes_up - short.bytes_up == 4 * (SIZE - words)


@pytest.mark.parametrize(
    ("protect", "expected"),
    [
        ((), 4 * SIZE),
        ((Clip(1.0),), 4 * SIZE),
        ((LowRank(4, 1),), SIZE),
        ((LowBit(1, 9.0, rotate=False),), SIZE // 8),
        ((TopK(32.0, reveals_support=True),), 8 * SIZE // 32),
    ],
    ids=repr,
)
def test_the_report_counts_the_bytes_of_the_messages_that_leave(shop, make_plan, in_process, protect, expected) -> None:
    plan = make_plan(protect=protect)
    for parts in (1, 4):
        assert [each.bytes_up for each in rounds(plan, in_process(plan, shop, parts), shop)] == [expected] * 2


@pytest.mark.parametrize("inner", [LowRank(4, 2), RandomK(2.0), TopK(4.0, reveals_support=True)], ids=repr)
def test_a_training_with_error_feedback_follows_the_plain_one(shop, make_plan, in_process, inner) -> None:
    """Distance of the models after 12 rounds of the same work, in units of what the plain one moved."""
    plan = make_plan(rounds=12)
    plain = models(rounds(plan, in_process(plan, shop), shop))[-1]
    start = flatten(plan.algorithm.init(plan.model, shop.schema, plan.seed).shared)
    squeezed = replace(plan, protect=(ErrorFeedback(inner),))
    last = models(rounds(squeezed, in_process(squeezed, shop), shop))[-1]
    assert np.linalg.norm(last - plain) < 0.5 * np.linalg.norm(plain - start)


def test_what_a_client_remembers_is_kept_on_its_node_and_leaves_it_in_no_reply(shop, make_plan, in_process) -> None:
    plan = make_plan(protect=(ErrorFeedback(LowRank(4, 1)),))
    engine = in_process(plan, shop)
    sent: list[Any] = []
    receive = engine.receive
    engine.receive = lambda deadline=None: ((n, sent.append(r) or r) for n, r in receive(deadline))  # type: ignore
    rounds(plan, engine, shop)
    memory = engine._workers["node-0"].private.own[protection.MEMORY]
    assert memory.shape == (40, SIZE) and memory.dtype == np.float32 and np.all(np.any(memory != 0.0, axis=1))
    assert {name for reply in sent for name in reply.arrays} == {"sum"}
    assert {reply.arrays["sum"].shape for reply in sent if reply.arrays} == {(SIZE // 4,)}


@pytest.mark.parametrize("secure", [None, SECURE], ids=["open", "secure"])
@pytest.mark.parametrize(
    "protect",
    [
        (ErrorFeedback(RandomK(4.0)), Gaussian(1.0, 0.5)),
        (LowRank(4, 2), LowBit(4, 3.0), Gaussian(3.0, 0.5)),
        (ImportanceSampling(4, 2.0), LowBit(4, 3.0), Gaussian(3.0, 0.5)),
    ],
    ids=repr,
)
def test_noise_is_added_to_the_compressed_sum_and_charged_as_ever(shop, make_plan, in_process, protect, secure) -> None:
    plan = make_plan(protect=protect, secure_sum=secure, rounds=1)
    done = rounds(plan, in_process(plan, shop, 2), shop)
    assert [[(e.mechanism, e.noise_multiplier) for e in each.events] for each in done] == [[("gaussian", 0.5)]]
    assert np.all(np.isfinite(models(done)[-1]))


def test_shares_of_noise_are_added_to_the_short_sum(shop, make_plan, in_process) -> None:
    """A quarter of the values, masked with everybody's share of the noise: no server sees a less noisy sum."""
    protect = (ErrorFeedback(LowRank(4, 1)), DistributedGaussian(1.0, 0.5, survivors_at_least=20))
    plan = make_plan(protect=protect, secure_sum=SecAgg(minimum=20), rounds=1)
    engine = in_process(plan, shop)
    (done,) = rounds(plan, engine, shop)
    assert engine.witness(1)[0].shape == (SIZE // 4,)
    assert [event.noise_multiplier for event in done.events] == [
        pytest.approx(0.5, rel=1e-3)
    ]  # less what integers lose


def test_directions_follow_the_noisy_sum_and_never_the_sum_before_its_noise(make_plan) -> None:
    """Noise is drawn first: what is told next is what anybody could compute from the sum that was released."""
    sampling, noise = ImportanceSampling(4, 2.0), Gaussian(1.0, 0.5)
    plan = replace(make_plan(), protect=(sampling, noise))
    turns = protection.turns(plan, 1, SIZE, 40, 40, protection.start(plan))
    total = np.random.default_rng(0).standard_normal(SIZE // 2)
    _, told, _ = protection.decode(plan, total, turns, simulated("follow"), {})
    released = noise.decode(total, turns[1], simulated("follow"))
    for name, value in sampling.follow(released, turns[0]).items():
        np.testing.assert_array_equal(told[0][name], value)
    assert not np.allclose(told[0]["directions"], sampling.follow(total, turns[0])["directions"])


def test_a_stopped_training_goes_on_with_the_directions_that_it_had(shop, make_plan, in_process, tmp_path) -> None:
    """What is told counts as bytes that come down: 4 directions of 4 values, energies of these and of 80 rows."""
    plan = make_plan(protect=(ImportanceSampling(4, 2.0),), rounds=4)
    whole = rounds(plan, in_process(plan, shop), shop)
    half = run(plan, in_process(plan, shop, 1, tmp_path), shop.schema)
    second = [next(half), next(half)][-1]
    rest = list(run(plan, in_process(plan, shop, 1, tmp_path), shop.schema, after=second))
    for one, other in zip(whole[2:], rest, strict=True):
        assert one.state.server.keys() == other.state.server.keys() and len(one.state.server) == 3
        assert all(np.array_equal(value, other.state.server[name]) for name, value in one.state.server.items())
        assert np.array_equal(flatten(one.state.shared), flatten(other.state.shared))
    first, later = 8 * (4 * 4 + 4), 8 * (4 * 4 + 4) + 4 * 80
    assert [each.bytes_down - 4 * SIZE for each in whole] == [first, later, later, later]


def test_with_noise_no_client_moves_the_decoded_sum_by_more_than_compression_stretches_the_clip(shop) -> None:
    """The reason why compression comes first: the same two transforms the other way round would stretch a client."""
    random = np.random.default_rng(0)
    protect = (LowRank(4, 1), Gaussian(1.0, 0.5))
    for seed in range(20):
        turn = protection.Turn(size=SIZE, seed=seed)
        x = protect[0].encode(random.standard_normal(SIZE) * 100.0, turn, random)
        assert np.linalg.norm(protect[1].encode(x, turn, random)) <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("protect", "secure", "word"),
    [
        ((TopK(),), None, "reveals_support"),
        ((ErrorFeedback(TopK()),), None, "reveals_support"),
        ((Gaussian(), LowRank()), SECURE, "noise last"),
        ((LowBit(), LowRank()), SECURE, "round last"),
    ],
    ids=repr,
)
def test_a_plan_that_would_reveal_or_protect_too_little_is_refused_by_both_ends(
    shop, make_plan, cut, in_process, protect, secure, word
) -> None:
    sound = make_plan()
    with pytest.raises(PlanError, match=word):
        plan = make_plan(protect=protect, secure_sum=secure)
        Worker(plan, shop)
    with pytest.raises(PlanError, match=word):
        plan = make_plan(protect=protect, secure_sum=secure)
        rounds(plan, in_process(sound, shop), shop)


def test_top_k_under_a_secure_sum_masks_its_zeros_too(shop, make_plan, in_process) -> None:
    plan = make_plan(protect=(TopK(16.0),), secure_sum=SECURE, rounds=1, quantise_bound=9.0)
    engine = in_process(plan, shop)
    rounds(plan, engine, shop)
    assert engine.witness(1)[0].shape == (SIZE,)
