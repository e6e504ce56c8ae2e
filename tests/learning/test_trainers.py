"""Every fast path gives what the plain loop gives: global model, private parameters, whoever hosts the clients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from tacit import learning, models
from tacit.core.protocols import HasGradients, LocalWork, LossModel
from tacit.core.values import Array, Params, Population, Schema
from tacit.federation.vocabulary import components
from tacit.learning import trainers
from tacit.learning.fedadam import FedAdam
from tacit.learning.fedavg import FedAvg
from tacit.learning.fedper import FedPer
from tacit.learning.fedprox import FedProx
from tacit.learning.fedrep import FedRep
from tacit.learning.fedyogi import FedYogi
from tacit.learning.sgd import SGD
from tacit.learning.trainers.fused import Fused
from tacit.learning.trainers.loop import Loop
from tacit.learning.trainers.stacked import Stacked
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.neural_collaborative_filtering import NeuralCollaborativeFiltering

LOCAL = SGD(lr=0.1, epochs=2, batch_size=16)
SMALL = {"dim": 6, "hidden": 7, "negatives": 2, "l2": 0.1}
CLASSES = [cls for cls in components(models, "serves", "init").values() if isinstance(cls(), LossModel)]
MODELS: list[Any] = [
    replace(cls(), **{f.name: SMALL[f.name] for f in fields(cls) if f.name in SMALL}) for cls in CLASSES
]
RATED = [replace(model, negatives=0) for model in MODELS if getattr(model, "negatives", 0)]
KINDS = [cls for cls in components(learning, "refuses", "update").values() if hasattr(cls, "local")]
SETTINGS: dict[type[Any], dict[str, Any]] = {FedProx: {"mu": 0.5}, FedRep: {"head_epochs": 1}}
ALGORITHMS: list[Any] = [cls(local=LOCAL, **SETTINGS.get(cls, {})) for cls in KINDS]
ALGORITHMS += [FedAvg(LOCAL, weighting="rows"), FedPer(replace(LOCAL, shuffle=False), weighting="rows")]
FAST: list[Any] = [Stacked(), Stacked(budget=60), Fused()]


def cases() -> Iterator[Any]:
    """Every model with every algorithm, free and clipped; labels as they are with FedAvg only.

    Clients of FedAdam and FedYogi do what those of FedAvg do, so their clipped cases are left to the slow tests.
    """
    for model, algorithm, clipped in itertools.product([*MODELS, *RATED], ALGORITHMS, (False, True)):
        if model in RATED and algorithm != FedAvg(LOCAL):
            continue
        name = f"{type(model).__name__}-{type(algorithm).__name__}-{algorithm.weighting}"
        slow = clipped and type(algorithm) in (FedAdam, FedYogi)
        negatives = "-labels" if model in RATED else ""
        yield pytest.param(
            model, algorithm, clipped,
            id=f"{name}{negatives}-{'clipped' if clipped else 'free'}", marks=[pytest.mark.slow] if slow else [],
        )  # fmt: skip


EVERY_TRAINER = pytest.mark.parametrize("trainer", [Loop(), Stacked(), Stacked(budget=60), Fused()], ids=repr)

GLOBAL = 1e-7  # largest difference of a global parameter after two rounds
SHARE = 1e-3  # and as a share of the largest movement of that model
PRIVATE = 5e-7


@dataclass(frozen=True, slots=True)
class WithoutGradients:
    """A loss model as a newcomer writes it: no gradient by hand, so that it goes through vmap."""

    model: Any = MatrixFactorisation()

    @property
    def serves(self) -> Any:
        return self.model.serves

    @property
    def private(self) -> tuple[str, ...]:
        return tuple(self.model.private)

    @property
    def constants(self) -> tuple[str, ...]:
        return tuple(self.model.constants)

    @property
    def head(self) -> tuple[str, ...]:
        return tuple(self.model.head)

    @property
    def tables(self) -> Mapping[str, str]:
        return dict(self.model.tables)

    @property
    def negatives(self) -> int:
        return int(self.model.negatives)

    def init(self, schema: Schema, seed: int) -> Params:
        return self.model.init(schema, seed)  # type: ignore[no-any-return]

    def loss(self, params: Any, batch: Any) -> Any:
        return self.model.loss(params, batch)


@dataclass(frozen=True, slots=True)
class Biased(WithoutGradients):
    """A factorisation with an item bias: a table of numbers beside a table of vectors."""

    @property
    def tables(self) -> Mapping[str, str]:
        return {"items": "item", "bias": "item"}

    def init(self, schema: Schema, seed: int) -> Params:
        bias = np.linspace(-1.0, 1.0, schema.items).astype(np.float32)
        return {**self.model.init(schema, seed), "bias": bias}

    def loss(self, params: Any, batch: Any) -> Any:
        score = params["items"][batch["item"]] @ params["user"] + params["bias"][batch["item"]]
        return torch.nn.functional.binary_cross_entropy_with_logits(score, batch["label"], reduction="none")


def largest(one: Mapping[str, Array], other: Mapping[str, Array]) -> float:
    """Largest difference over all parameters."""
    assert one.keys() == other.keys()
    return max([float(np.max(np.abs(one[name] - other[name]), initial=0.0)) for name in one], default=0.0)


def assert_equal(one: Any, other: Any) -> None:
    """Two trainings agree, and something was trained at all."""
    moved = max(float(np.max(np.abs(value - one.initial[name]))) for name, value in one.shared.items())
    assert moved > 0.0
    apart = largest(one.shared, other.shared)
    # float32 holds values beyond 1 (the first layer of the perceptron) in steps wider than 1e-7: one step is allowed
    step = max(float(np.spacing(np.max(np.abs(value)))) for value in one.shared.values())
    assert apart <= max(GLOBAL, step) <= 2.5e-7 and apart <= SHARE * moved, f"{apart:.1e} apart, {moved:.1e} moved"
    assert largest(one.own, other.own) <= PRIVATE


def middle_norm(algorithm: Any, model: Any, clients: Population, own: dict[str, Array]) -> float:
    """A bound that some clients exceed in their first round and others do not: the middle one of five norms."""
    shared, sizes = algorithm.init(model, clients.schema, 0).shared, []
    for c in np.flatnonzero(clients.sizes)[:5]:
        total = Stacked().total(algorithm.work(model, 1), shared, own, clients, np.array([c]), 1, None)
        sizes.append(np.sqrt(sum(np.sum(np.square(value)) for value in total.values())))
    return float(np.median(sizes))


def test_every_gradient_algorithm_and_loss_model_and_trainer_takes_part() -> None:
    assert {"FedAvg", "FedProx", "FedAdam", "FedYogi", "FedPer", "FedRep"} <= {cls.__name__ for cls in KINDS}
    assert len(CLASSES) >= 4
    assert {type(trainer) for trainer in [Loop(), *FAST]} == set(components(trainers, "total").values())


@pytest.mark.parametrize(("model", "algorithm", "clipped"), list(cases()))
def test_after_two_rounds_every_trainer_has_the_model_of_the_loop(
    model: Any, algorithm: Any, clipped: bool, data: Any, train: Callable[..., Any], own_of: Any
) -> None:
    clients = data[model.serves]
    clip = middle_norm(algorithm, model, clients, own_of(algorithm, model, clients)) if clipped else None
    reference = train(algorithm, model, clients, Loop(), clip)
    for trainer in FAST:
        if trainer.refuses(algorithm.work(model, 1)) is None:
            assert_equal(reference, train(algorithm, model, clients, trainer, clip))


@pytest.mark.parametrize("model", MODELS, ids=repr)
@pytest.mark.parametrize("algorithm", [FedAvg(LOCAL), FedProx(LOCAL, mu=0.5), FedRep(LOCAL, head_epochs=1)], ids=repr)
def test_a_model_without_gradients_by_hand_comes_to_the_same_through_vmap(
    model: Any, algorithm: Any, data: Any, train: Callable[..., Any]
) -> None:
    plain = WithoutGradients(model)
    assert isinstance(plain, LossModel) and not isinstance(plain, HasGradients) and isinstance(model, HasGradients)
    by_hand = train(algorithm, model, data[model.serves], Stacked())
    assert_equal(by_hand, train(algorithm, plain, data[model.serves], Stacked(budget=60)))


@pytest.mark.parametrize("budget", [1, 32768])
def test_tables_of_numbers_are_cut_down_as_tables_of_vectors_are(
    budget: int, data: Any, train: Callable[..., Any]
) -> None:
    model = Biased(MatrixFactorisation(dim=6, negatives=2))
    reference = train(FedAvg(LOCAL), model, data["interactions"], Loop())
    assert np.any(reference.shared["bias"] != reference.initial["bias"])
    assert_equal(reference, train(FedAvg(LOCAL), model, data["interactions"], Stacked(budget)))


@EVERY_TRAINER
@pytest.mark.parametrize("model", [MODELS[0], *(m for m in MODELS if isinstance(m, MatrixFactorisation))], ids=repr)
def test_it_does_not_matter_how_clients_are_split_over_nodes(trainer: Any, model: Any, data: Any, own_of: Any) -> None:
    """Three nodes that know the number of their first client add up to one node that hosts everybody."""
    algorithm = FedAvg(LOCAL)
    work, clients = algorithm.work(model, 1), data[model.serves]
    if trainer.refuses(work) is not None:
        pytest.skip("no kernel")
    shared, own = algorithm.init(model, clients.schema, 0).shared, own_of(algorithm, model, clients)
    whole = trainer.total(work, shared, own, clients, np.arange(30), 7, 0.05)
    total, owned = {name: np.zeros_like(value) for name, value in whole.items()}, []
    for low, high in ((0, 4), (4, 18), (18, 30)):
        part = clients.take(np.arange(low, high))
        node = Population(part.schema, part.offsets, part.fields, first=low)
        mine = own_of(algorithm, model, node)
        found = trainer.total(work, shared, mine, node, np.arange(high - low), 7, 0.05)
        total = {name: total[name] + value for name, value in found.items()}
        owned.append(mine)
    assert largest(total, whole) <= 1e-12 if isinstance(trainer, Loop) else largest(total, whole) <= GLOBAL
    for name, value in own.items():
        np.testing.assert_allclose(np.concatenate([mine[name] for mine in owned]), value, atol=PRIVATE)


@EVERY_TRAINER
@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_a_cohort_is_trained_in_any_order_and_the_others_are_left_alone(
    trainer: Any, model: Any, data: Any, own_of: Any
) -> None:
    algorithm = FedAvg(LOCAL)
    work, clients = algorithm.work(model, 1), data[model.serves]
    if trainer.refuses(work) is not None:
        pytest.skip("no kernel")
    cohort = np.array([20, 3, 5, 11])
    shared = algorithm.init(model, clients.schema, 0).shared
    before = {name: value.copy() for name, value in shared.items()}
    one, other = own_of(algorithm, model, clients), own_of(algorithm, model, clients)
    first = trainer.total(work, shared, one, clients, cohort, 3, 0.05)
    second = trainer.total(work, shared, other, clients, cohort[::-1].copy(), 3, 0.05)
    alone = []
    for c in cohort:
        mine = own_of(algorithm, model, clients)
        alone.append(trainer.total(work, shared, mine, clients, np.array([c]), 3, 0.05))
    assert largest(first, second) <= GLOBAL and largest(one, other) <= PRIVATE
    assert largest(first, {name: sum(part[name] for part in alone) for name in first}) <= GLOBAL
    assert all(value.dtype == np.float64 for value in first.values())
    fresh = own_of(algorithm, model, clients)
    for name, value in one.items():
        others = np.setdiff1d(np.arange(30), cohort)
        np.testing.assert_array_equal(value[others], fresh[name][others])
        assert np.any(value[cohort] != fresh[name][cohort])
    for name, value in before.items():
        np.testing.assert_array_equal(shared[name], value)


@EVERY_TRAINER
@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_clipping_bounds_what_each_client_adds(trainer: Any, model: Any, data: Any, own_of: Any) -> None:
    algorithm, clients = FedAvg(replace(LOCAL, lr=5.0)), data[model.serves]
    work, shared = algorithm.work(model, 1), algorithm.init(model, clients.schema, 0).shared
    if trainer.refuses(work) is not None:
        pytest.skip("no kernel")
    for c in (3, 5, 8):  # no rows, many, some
        own = own_of(algorithm, model, clients)
        total = trainer.total(work, shared, own, clients, np.array([c]), 1, 1e-3)
        size = np.sqrt(sum(np.sum(np.square(value)) for value in total.values()))
        assert size <= 1e-3 * (1.0 + 1e-6)
        assert size == pytest.approx(1e-3 if clients.sizes[c] else 0.0, rel=1e-5)


@EVERY_TRAINER
@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_training_that_explodes_sends_nothing(trainer: Any, clip: float | None, data: Any, own_of: Any) -> None:
    model = NeuralCollaborativeFiltering(dim=6, hidden=7, negatives=2)
    if isinstance(trainer, Fused):
        model = MatrixFactorisation(dim=6)  # type: ignore[assignment]
    algorithm, clients = FedAvg(SGD(lr=1e30, epochs=3, batch_size=8)), data["interactions"]
    shared, own = algorithm.init(model, clients.schema, 0).shared, own_of(algorithm, model, clients)
    with pytest.raises(ValueError, match="NaN or infinity"), np.errstate(all="ignore"):
        trainer.total(algorithm.work(model, 1), shared, own, clients, np.arange(30), 1, clip)


@pytest.mark.parametrize("trainer", [Loop(), Stacked()], ids=repr)
def test_a_huge_finite_change_is_bounded_and_not_refused(trainer: Any, data: Any, own_of: Any) -> None:
    algorithm, model, clients = FedAvg(SGD(lr=1e15, batch_size=100)), LogisticRegression(), data["tabular"]
    shared = algorithm.init(model, clients.schema, 0).shared
    total = trainer.total(algorithm.work(model, 1), shared, {}, clients, np.array([5]), 1, 0.5)
    assert np.sqrt(sum(np.sum(np.square(value)) for value in total.values())) == pytest.approx(0.5, rel=1e-5)


@EVERY_TRAINER
def test_nobody_adds_nothing(trainer: Any, data: Any, own_of: Any) -> None:
    algorithm, model, clients = FedAvg(LOCAL), MatrixFactorisation(dim=6), data["interactions"]
    shared, own = algorithm.init(model, clients.schema, 0).shared, own_of(algorithm, model, clients)
    total = trainer.total(algorithm.work(model, 1), shared, own, clients, np.zeros(0, np.int64), 1, None)
    assert all(not np.any(value) for value in total.values())


def test_a_kernel_says_what_it_cannot_serve() -> None:
    for model, algorithm in (
        (NeuralCollaborativeFiltering(), FedAvg()),
        (MatrixFactorisation(), FedProx(mu=0.1)),
        (MatrixFactorisation(), FedRep()),
        (MatrixFactorisation(), FedAvg(weighting="rows")),
    ):
        work = algorithm.work(model, 1)
        assert isinstance(work, LocalWork)
        assert type(model).__name__ in str(Fused().refuses(work))
        assert Stacked().refuses(work) is None and Loop().refuses(work) is None


def test_a_block_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 example, got 0"):
        Stacked(budget=0)
