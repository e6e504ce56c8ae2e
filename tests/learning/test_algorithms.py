"""Laws of every algorithm in the folder, and what each does with a sum, by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from tacit import learning, models
from tacit.core.protocols import LocalWork, Statistics
from tacit.core.values import Schema, State
from tacit.federation.vocabulary import components
from tacit.learning.centralised import Centralised
from tacit.learning.contribution import template
from tacit.learning.fedadam import FedAdam
from tacit.learning.fedavg import FedAvg
from tacit.learning.fedper import FedPer
from tacit.learning.fedprox import FedProx
from tacit.learning.fedrep import FedRep
from tacit.learning.fedyogi import FedYogi
from tacit.learning.sgd import SGD
from tacit.learning.standardised import Standardised
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.learning.trainers.loop import Loop
from tacit.learning.trainers.stacked import Stacked
from tacit.models.feature_projection import FeatureProjection
from tacit.models.item_item import ItemItem
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.multilayer_perceptron import MultilayerPerceptron
from tacit.models.neural_collaborative_filtering import NeuralCollaborativeFiltering

KINDS = list(components(learning, "refuses", "update").values())
ALGORITHMS: list[Any] = [cls() for cls in KINDS] + [
    cls(weighting="rows") for cls in KINDS if "weighting" in {item.name for item in fields(cls)}
]
ALGORITHMS += [Standardised(SumOfStatistics()), Standardised(FedAdam())]
MODELS = [
    cls()
    for cls in components(models, "serves", "init").values()
    if cls is not FeatureProjection  # needs item features, which this data have not
]
PAIRS = [(algorithm, model) for algorithm in ALGORITHMS for model in MODELS if algorithm.refuses(model) is None]
EVERY_PAIR = pytest.mark.parametrize(
    ("algorithm", "model"),
    [
        pytest.param(a, m, id=f"{type(a).__name__}-{a.weighting}-{type(m).__name__}-{n}")
        for n, (a, m) in enumerate(PAIRS)
    ],
)
GRADIENT = SGD(lr=0.1, epochs=2, batch_size=16)


def same(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_every_algorithm_learns_some_model_and_every_model_is_learned_by_some_algorithm() -> None:
    assert {type(algorithm) for algorithm, _ in PAIRS} == set(KINDS)
    assert {type(model) for _, model in PAIRS} == {type(model) for model in MODELS}


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=repr)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_refusal_names_the_algorithm_or_the_model(algorithm: Any, model: Any) -> None:
    why = algorithm.refuses(model)
    assert why is None or type(model).__name__ in why or type(algorithm).__name__ in why


@EVERY_PAIR
def test_the_initial_state_is_the_same_each_time_and_holds_nothing_private(
    algorithm: Any, model: Any, data: Any
) -> None:
    schema = data[model.serves].schema
    one, other = algorithm.init(model, schema, 3), algorithm.init(model, schema, 3)
    assert same(one.shared, other.shared) and same(one.server, other.server)
    private, initial = algorithm.private(model), model.init(schema, 3)
    assert set(private) >= set(model.private)
    assert set(one.shared) == set(initial) - set(private) and set(private) <= set(initial)


@EVERY_PAIR
def test_a_sum_of_no_clients_moves_nothing(algorithm: Any, model: Any, data: Any) -> None:
    """A Poisson cohort may be empty."""
    clients = data[model.serves].take(np.arange(12))
    schema, own = clients.schema, {}
    initial = model.init(schema, 0)
    own = {name: np.zeros((0, *np.shape(initial[name])), np.float32) for name in algorithm.private(model)}
    state = algorithm.init(model, schema, 0)
    for number in (1, 2, 3):
        zeros = template(algorithm.work(model, number), state.shared, own, schema)
        after = algorithm.update(state, model, zeros, 0, number)
        assert same(after.shared, state.shared) and same(after.server, state.server)
        mine = {n: np.repeat(np.asarray(initial[n])[None], 12, axis=0) for n in algorithm.private(model)}
        total = Stacked().total(algorithm.work(model, number), state.shared, mine, clients, np.arange(12), number, None)
        state = algorithm.update(state, model, total, 12, number)


@EVERY_PAIR
def test_the_template_has_the_names_and_shapes_of_a_real_contribution(algorithm: Any, model: Any, data: Any) -> None:
    """Whoever adds vectors up must know their length before anybody has sent one."""
    clients = data[model.serves].take(np.arange(12))
    initial = model.init(clients.schema, 0)
    state = algorithm.init(model, clients.schema, 0)
    own = {n: np.repeat(np.asarray(initial[n])[None], 12, axis=0) for n in algorithm.private(model)}
    empty = {name: value[:0] for name, value in own.items()}
    for number in (1, 2):
        work = algorithm.work(model, number)
        assert isinstance(work, LocalWork) != isinstance(work, Statistics)
        zeros = template(work, state.shared, empty, clients.schema)
        total = Stacked().total(work, state.shared, own, clients, np.arange(12), number, None)
        assert {name: np.shape(value) for name, value in zeros.items()} == {n: np.shape(v) for n, v in total.items()}
        assert not any(np.any(value) for value in zeros.values())
        state = algorithm.update(state, model, total, 12, number)


@EVERY_PAIR
def test_an_update_changes_neither_the_state_nor_the_sum_that_it_reads(algorithm: Any, model: Any, data: Any) -> None:
    clients = data[model.serves].take(np.arange(12))
    initial = model.init(clients.schema, 0)
    state = algorithm.init(model, clients.schema, 0)
    own = {n: np.repeat(np.asarray(initial[n])[None], 12, axis=0) for n in algorithm.private(model)}
    total = Stacked().total(algorithm.work(model, 1), state.shared, own, clients, np.arange(12), 1, None)
    before = [{name: np.array(value) for name, value in tree.items()} for tree in (state.shared, state.server, total)]
    one, other = (algorithm.update(state, model, total, 12, 1) for _ in range(2))
    for was, tree in zip(before, (state.shared, state.server, total), strict=True):
        assert same(was, tree)
    assert same(one.shared, other.shared) and same(one.server, other.server)
    for name, value in state.shared.items():
        assert one.shared[name].dtype == value.dtype
        assert one.shared[name].shape == value.shape or value.size == 0, "only what is unsolved may take a shape"


MODEL = LogisticRegression()
START = State({"weight": np.array([1.0, 2.0], np.float32), "bias": np.asarray(0.5, np.float32)})
SUM = {"weight": np.array([4.0, -8.0]), "bias": np.asarray(2.0)}


def test_fedavg_moves_by_the_mean_delta() -> None:
    moved = FedAvg(server_lr=0.5).update(START, MODEL, SUM, 4, 1).shared
    assert moved["weight"].tolist() == [1.5, 1.0] and float(moved["bias"]) == 0.75


def test_cooling_takes_the_step_to_nothing_in_a_straight_line_and_leaves_it_there() -> None:
    algorithm, model = FedAvg(server_lr=4.0, cooling=4), MatrixFactorisation(dim=2)
    state = State({"items": np.zeros((3, 2), np.float32)})
    moves = [
        float(algorithm.update(state, model, {"items": np.full((3, 2), 2.0)}, 2.0, round).shared["items"][0, 0])
        for round in (1, 2, 3, 4, 5, 99)
    ]
    assert moves == [4.0, 3.0, 2.0, 1.0, 0.0, 0.0]


def test_weighted_by_rows_the_mean_is_over_rows() -> None:
    moved = FedAvg(weighting="rows").update(START, MODEL, {**SUM, "#rows": np.asarray(8.0)}, 4, 1).shared
    assert moved["weight"].tolist() == [1.5, 1.0] and set(moved) == {"weight", "bias"}


@pytest.mark.parametrize(("algorithm", "follows"), [(FedAdam, "squares"), (FedYogi, "signs")])
def test_two_steps_of_the_adaptive_servers_are_those_of_the_paper(algorithm: type[Any], follows: str) -> None:
    """Reddi et al. 2021, Algorithm 2, by hand; the second moment starts at tau^2."""
    server = algorithm(server_lr=0.1, beta1=0.8, beta2=0.9, tau=0.01)
    state = server.init(MODEL, Schema("tabular", features=2), 0)
    x, m, v = np.zeros(2), np.zeros(2), np.full(2, 0.01**2)
    for number, total in enumerate(([4.0, -8.0], [2.0, 2.0]), start=1):
        sums = {"weight": np.array(total), "bias": np.asarray(0.0)}
        state = server.update(state, MODEL, sums, 4, number)
        delta = np.array(total) / 4
        m = 0.8 * m + 0.2 * delta
        v = 0.9 * v + 0.1 * delta**2 if follows == "squares" else v - 0.1 * delta**2 * np.sign(v - delta**2)
        x = x + 0.1 * m / (np.sqrt(v) + 0.01)
        np.testing.assert_allclose(state.shared["weight"], x, rtol=1e-6)
    assert state.shared["weight"].dtype == np.float32 and state.server["first/weight"].dtype == np.float64


def test_small_steps_add_up_although_parameters_are_float32() -> None:
    """Averaging whole float32 models would lose part of each step; adding 1,000 deltas of 2^-24 loses nothing."""
    state = State({"weight": np.zeros(1, np.float32)})
    for _ in range(1000):
        state = FedAvg().update(state, MODEL, {"weight": np.array([2.0**-24])}, 1, 1)
    assert float(state.shared["weight"][0]) == 1000 * 2.0**-24


def test_the_proximal_term_keeps_clients_near_and_zero_is_fedavg(data: Any, train: Callable[..., Any]) -> None:
    model, clients = LogisticRegression(), data["tabular"]
    far = []
    for mu in (0.0, 1.0, 5.0):
        trained = train(FedProx(GRADIENT, mu=mu), model, clients, Stacked(), rounds=1)
        far.append(float(np.linalg.norm(trained.shared["weight"] - trained.initial["weight"])))
    assert far[0] > far[1] > far[2] > 0.0
    plain = train(FedAvg(GRADIENT), model, clients, Stacked())
    assert same(plain.shared, train(FedProx(GRADIENT, mu=0.0), model, clients, Stacked()).shared)


def test_fedper_keeps_the_head_or_what_it_is_told_and_the_models_own() -> None:
    assert FedPer().private(MultilayerPerceptron()) == ("b2", "w2")
    assert FedPer(personal=("b1",)).private(MultilayerPerceptron()) == ("b1",)
    assert FedPer().private(MatrixFactorisation()) == ("user",)
    assert FedPer(personal=("b2",)).private(NeuralCollaborativeFiltering()) == ("b1", "b2", "w1", "w2")
    assert FedRep().private(LogisticRegression()) == ("bias",)


def test_personal_heads_drift_apart_and_the_rest_stays_common(data: Any, train: Callable[..., Any]) -> None:
    trained = train(FedPer(GRADIENT), MultilayerPerceptron(hidden=4), data["tabular"], Stacked())
    assert set(trained.own) == {"b2", "w2"} and not {"b2", "w2"} & set(trained.shared)
    busy = np.flatnonzero(data["tabular"].sizes)
    assert len(np.unique(trained.own["w2"][busy], axis=0)) == len(busy)


def test_fedrep_fits_the_head_first_and_then_the_representation(data: Any, own_of: Any) -> None:
    """One client by hand: an epoch on the head with the body fixed, then an epoch on the body with the head fixed."""
    model, clients = MultilayerPerceptron(hidden=4), data["tabular"]
    algorithm = FedRep(SGD(lr=0.1, epochs=1, batch_size=100, shuffle=False), head_epochs=1)
    shared, own = algorithm.init(model, clients.schema, 0).shared, own_of(algorithm, model, clients)
    first = {name: value[5].copy() for name, value in own.items()}
    total = Loop().total(algorithm.work(model, 1), shared, own, clients, np.array([5]), 1, None)
    params = {name: torch.tensor(value) for name, value in {**shared, **first}.items()}
    batch = {name: torch.tensor(value) for name, value in clients.rows(5).items()}
    for names in (("w2", "b2"), ("w1", "b1")):
        for name in names:
            params[name].requires_grad_()
        gradients = torch.autograd.grad(model.loss(params, batch).mean(), [params[name] for name in names])
        for name, gradient in zip(names, gradients, strict=True):
            params[name] = (params[name] - 0.1 * gradient).detach()
    for name in ("w2", "b2"):
        np.testing.assert_allclose(own[name][5], params[name].numpy(), rtol=1e-5, atol=1e-7)
    for name in ("w1", "b1"):
        np.testing.assert_allclose(total[name], params[name].numpy() - shared[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (SGD, {"lr": 0.0}), (SGD, {"lr": float("nan")}), (SGD, {"epochs": 0}), (SGD, {"batch_size": 0}),
        (FedProx, {"mu": -0.1}), (FedRep, {"head_epochs": 0}), (FedAdam, {"beta1": 1.0}), (FedAdam, {"tau": 0.0}),
        (FedYogi, {"beta2": -0.1}), (FedYogi, {"tau": float("nan")}),
    ],
)  # fmt: skip
def test_settings_that_cannot_learn_are_refused(cls: type[Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).rstrip("12")):
        cls(**wrong)


def test_closed_form_models_recommend_nothing_in_particular_before_anybody_contributed(data: Any) -> None:
    """A round whose Poisson cohort was empty leaves them unsolved."""
    clients = data["interactions"]
    for model in MODELS:
        if model.serves == "interactions" and hasattr(model, "scores") and hasattr(model, "statistics"):
            scores = model.scores(model.init(clients.schema, 0), {}, clients)
            assert scores.shape == (30, clients.schema.items) and np.all(np.isfinite(scores)), model


def test_one_sum_of_statistics_is_the_centralised_solution(data: Any, train: Callable[..., Any]) -> None:
    clients = data["interactions"]
    federated = train(SumOfStatistics(), ItemItem(ridge=3.0), clients, Loop(), rounds=1)
    central = Centralised().fit(ItemItem(ridge=3.0), clients, 0)[0]
    np.testing.assert_allclose(federated.shared["weights"], central["weights"], rtol=1e-5, atol=1e-7)
