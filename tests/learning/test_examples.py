"""Training examples: negatives from outside the training rows only, the same in every process and trainer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tacit.core.values import DataError, Schema
from tacit.learning.examples import client_seed, examples, labels, mix, permutation, round_seed
from tacit.learning.fedavg import FedAvg
from tacit.learning.local_sgd import LocalSGD
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.matrix_factorisation import MatrixFactorisation

SCHEMA = Schema("interactions", items=50)


def work(negatives: int = 3, shuffle: bool = True) -> LocalSGD:
    made = FedAvg().work(MatrixFactorisation(negatives=negatives), 1)
    assert isinstance(made, LocalSGD)
    return replace(made, shuffle=shuffle)


def rows(*item: int) -> dict[str, Any]:
    return {"item": np.array(item, np.int32)}


@given(
    st.sets(st.integers(0, 49), max_size=40), st.integers(1, 5), st.integers(0, 2**63 - 1), st.booleans(),
    st.integers(0, 10**6), st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_every_row_is_a_positive_and_brings_its_negatives_from_outside_the_rows(
    own: set[int], negatives: int, seed: int, shuffle: bool, client: int, epoch: int
) -> None:
    drawn = examples(work(negatives, shuffle), rows(*own), SCHEMA, seed, client, epoch)
    item, label = drawn["item"], drawn["label"]
    assert sorted(item[label == 1.0]) == sorted(own)
    assert len(item) == len(label) == len(own) * (1 + negatives)
    assert not set(item[label == 0.0].tolist()) & own
    assert np.all((item >= 0) & (item < 50))


def test_the_held_out_item_is_drawn_as_a_negative_as_often_as_any_other() -> None:
    """Excluding it would give it away (docs/leak.md). Chi-square over 45 items, 30,000 draws; false alarm 1e-7."""
    own = (0, 1, 2, 3, 4)  # item 5 is held out, which the client's training rows do not tell
    counts = np.zeros(50)
    for epoch in range(1200):
        drawn = examples(work(5), rows(*own), SCHEMA, 11, 3, epoch)
        counts += np.bincount(drawn["item"][drawn["label"] == 0.0], minlength=50)
    assert not np.any(counts[:5]) and counts.sum() == 30_000
    assert stats.chisquare(counts[5:]).pvalue > 1e-7


def test_examples_are_the_same_for_the_same_seed_and_differ_by_seed_client_and_epoch() -> None:
    def drawn(seed: int, client: int, epoch: int) -> bytes:
        return examples(work(), rows(*range(10)), SCHEMA, seed, client, epoch)["item"].tobytes()

    assert drawn(1, 2, 3) == drawn(1, 2, 3)
    others = [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (2**62, 2, 3), (1, 2 + 2**20, 3)]
    assert len({drawn(*each) for each in others}) == len(others)


def test_the_generator_is_splitmix64() -> None:
    """Golden: the first outputs of the reference implementation for seed 1234567."""
    golden, state = np.uint64(0x9E3779B97F4A7C15), np.uint64(1234567)
    outputs = []
    for _ in range(3):
        outputs.append(int(mix(state)))
        with np.errstate(over="ignore"):
            state = state + golden
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_a_client_with_every_item_still_gets_examples() -> None:
    drawn = examples(work(1), rows(*range(50)), SCHEMA, 0, 0, 0)
    assert len(drawn["item"]) == 100


def test_without_negatives_rows_are_learned_as_they_are_rated() -> None:
    drawn = examples(work(0, shuffle=False), {**rows(7, 8, 9), "rating": np.array([3.5, 4.0, 5.0])}, SCHEMA, 0, 0, 0)
    assert drawn["item"].tolist() == [7, 8, 9] and drawn["label"].tolist() == [0.0, 1.0, 1.0]
    assert labels({"label": np.array([0.0, 1.0]), "rating": np.array([5.0, 1.0])}).tolist() == [0.0, 1.0]
    with pytest.raises(DataError, match="`label` nor `rating`"):
        labels(rows(1))


def test_tabular_rows_keep_x_and_y_together() -> None:
    made = FedAvg().work(LogisticRegression(), 1)
    assert isinstance(made, LocalSGD)
    x = np.arange(40, dtype=np.float32).reshape(20, 2)
    drawn = examples(made, {"x": x, "y": x[:, 0]}, Schema("tabular", features=2), 0, 0, 0)
    assert drawn["y"].tolist() != x[:, 0].tolist()
    np.testing.assert_array_equal(drawn["x"][:, 0], drawn["y"])
    assert sorted(drawn["y"].tolist()) == x[:, 0].tolist()


@given(st.integers(0, 200), st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_a_permutation_holds_every_number_once(count: int, seed: int) -> None:
    assert sorted(permutation(count, np.uint64(seed)).tolist()) == list(range(count))


def test_permutations_are_equally_likely() -> None:
    """All 24 orders of 4, 24,000 seeds: chi-square, false alarm 1e-7."""
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(24_000):
        order = tuple(permutation(4, np.uint64(client_seed(np.uint64(5), np.uint64(seed)))).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-7


def test_rounds_draw_from_seeds_of_their_own() -> None:
    assert len({round_seed(seed, number) for seed in range(30) for number in range(30)}) == 900
