"""Example-level privacy: clipped gradients of single examples, noisy steps at the client, steps on the sum of all."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from tacit.core.plan import Plan
from tacit.core.values import PlanError, Schema
from tacit.data.adult import Adult
from tacit.data.clients import Uniform
from tacit.federation.engines.in_process import InProcess
from tacit.federation.run import run
from tacit.federation.worker import Worker
from tacit.learning.contribution import template
from tacit.learning.dp_sgd import DPSGD
from tacit.learning.example_gradients import clipped_sum
from tacit.learning.example_sgd import ExampleSGD
from tacit.learning.fedavg import FedAvg
from tacit.learning.public_scale import PublicScale
from tacit.learning.standardised import Standardised
from tacit.learning.trainers.accumulate import add_statistics
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.multilayer_perceptron import MultilayerPerceptron
from tacit.privacy.accountant import spent
from tacit.privacy.calibrate import calibrate
from tacit.privacy.randomness import simulated
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.unit import noisy_steps, unit_of

MODELS = [LogisticRegression(l2=0.1), MultilayerPerceptron(4)]


def parameters(model, features=5):
    init = model.init(Schema("tabular", features=features), 1)
    random = np.random.default_rng(2)
    out = {n: v if n in model.constants else v + 0.3 * random.standard_normal(v.shape) for n, v in init.items()}
    return {name: np.asarray(value, np.float32) for name, value in out.items()}


def tensors(params):
    return {name: torch.tensor(value) for name, value in params.items()}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("clip", [0.05, 1.0, 1e6])
def test_the_clipped_sum_is_what_a_loop_over_examples_with_autograd_gives(model, clip, data) -> None:
    rows, params = data["tabular"].fields, tensors(parameters(model))
    found = clipped_sum(model, params, rows, clip)
    expected = {name: torch.zeros_like(value).double() for name, value in found.items()}
    for row in range(len(rows["y"])):
        mine = {name: params[name].clone().requires_grad_() for name in found}
        one = {name: torch.from_numpy(values[row : row + 1]) for name, values in rows.items()}
        model.loss({**params, **mine}, one).sum().backward()
        norm = math.sqrt(sum(float(torch.square(v.grad.double()).sum()) for v in mine.values()))
        for name, value in mine.items():
            expected[name] += value.grad.double() * min(1.0, clip / norm)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_one_example_moves_the_sum_by_at_most_clip_in_l2(model, data) -> None:
    rows = dict(data["tabular"].fields)
    rows["x"] = rows["x"] * np.float32(1e4)
    params = parameters(model)
    whole = ExampleSGD(clip=0.3).work(model, 1).sums(params, {}, replace(data["tabular"], fields=rows))[0]
    for gone in (0, 7, 20):
        left = {name: np.delete(values, gone, axis=0) for name, values in rows.items()}
        part = clipped_sum(model, tensors(params), left, 0.3)
        moved = math.sqrt(sum(float(np.square(whole[n] - part[n].numpy()).sum()) for n in whole))
        assert moved <= 0.3 * (1.0 + 1e-6)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_an_example_whose_gradient_overflows_counts_as_nothing_and_is_not_told_of(model, data) -> None:
    """Else a server that sends parameters of its choice would learn, beside the noise, who has which value."""
    rows = {name: np.array(values) for name, values in data["tabular"].fields.items()}
    wild = np.arange(len(rows["y"])) % 4 == 0
    rows["x"][wild, 0] = np.float32(np.nan)
    found = clipped_sum(model, tensors(parameters(model)), rows, 0.3)
    others = clipped_sum(model, tensors(parameters(model)), {name: v[~wild] for name, v in rows.items()}, 0.3)
    for name, value in others.items():
        assert torch.isfinite(found[name]).all()
        np.testing.assert_allclose(found[name].numpy(), value.numpy(), rtol=1e-6, atol=1e-9)


test_one_example_moves_a_step_s_gradient_before_noise_by_at_most_clip_in_l2 = (
    test_one_example_moves_the_sum_by_at_most_clip_in_l2
)


def test_what_a_client_sends_is_a_sum_over_its_rows(data) -> None:
    clients, model = data["tabular"], LogisticRegression()
    work, params = ExampleSGD(clip=0.5).work(model, 1), parameters(model)
    whole = work.sums(params, {}, clients)[0]
    parts = [work.sums(params, {}, clients.take([c]))[0] for c in range(len(clients))]
    for name, value in whole.items():
        np.testing.assert_allclose(value, sum(part[name] for part in parts), atol=1e-9)
    assert all(not np.any(v) for v in template(work, params, {}, clients.schema).values())


def test_the_noise_of_a_step_has_standard_deviation_noise_multiplier_times_clip_on_each_value() -> None:
    """Kolmogorov-Smirnov, 100,000 values, seed fixed; false alarm 1e-6. Labels are right and sure: no gradient."""
    features = 100_000
    model = LogisticRegression()
    shared = {k: np.asarray(v) for k, v in model.init(Schema("tabular", features=features), 0).items()}
    rows = {"x": np.zeros((4, features), np.float32), "y": np.ones(4, np.float32)}
    settings = DPSGD(lr=0.5, steps=1, rate=0.5, clip=2.0, noise_multiplier=3.0)
    moved = settings.work(model, (), "uniform").delta(shared, rows, simulated("steps"))
    assert stats.kstest(moved["weight"] / (3.0 * 2.0 * 0.5 / (0.5 * 4)), "norm").pvalue > 1e-6
    many = replace(settings, steps=4).work(model, (), "uniform").delta(shared, rows, simulated("steps", 4))
    assert abs(many["weight"].std() / (2.0 * 3.0) / 0.5 - 1.0) < 0.02


def test_epsilon_is_the_cost_of_all_steps_of_all_rounds_for_each_client() -> None:
    settings = DPSGD(steps=5, rate=0.2, noise_multiplier=2.0)
    paid = settings.spent(rounds=6, delta=1e-5)
    assert paid.unit == "example" and len(settings.events(6)) == 30
    assert paid == spent(settings.events(6), 1e-5, "example")
    noise = settings.for_epsilon(1.0, 1e-5, 6)
    assert 0.99 < replace(settings, noise_multiplier=noise).spent(6, 1e-5).epsilon <= 1.0


def test_noisy_steps_learn_where_the_noise_is_small(data) -> None:
    clients, model = data["tabular"], LogisticRegression()
    algorithm = FedAvg(local=DPSGD(lr=0.5, steps=20, rate=0.5, noise_multiplier=0.01))
    shared = algorithm.init(model, clients.schema, 0).shared
    total, own = algorithm.work(model, 1).sums(shared, {}, clients)
    assert not own and total["weight"][0] > 1.5 * np.abs(total["weight"][1:]).max() > 0.0
    empty = algorithm.work(model, 1).sums(shared, {}, clients.take([3]))[0]
    assert not np.any(empty["weight"])


@pytest.mark.parametrize(
    ("model", "changes"),
    [(MatrixFactorisation(), {}), (LogisticRegression(), {"private": ("bias",)}), (MODELS[0], {"weighting": "rows"})],
)
def test_models_whose_single_examples_cannot_be_protected_are_refused(model, changes) -> None:
    with pytest.raises(PlanError):
        DPSGD().work(model, **({"private": (), "weighting": "uniform"} | changes))
    assert not changes or ExampleSGD().refuses(model) is None
    assert changes or "interactions" in str(ExampleSGD().refuses(model))


def test_public_numbers_scale_columns_and_stay() -> None:
    algorithm = PublicScale(centre=(1.0, 2.0), spread=(3.0, 4.0), rest=0.5)
    state = algorithm.init(LogisticRegression(), Schema("tabular", features=4), 0)
    assert state.shared["mean"].tolist() == [1.0, 2.0, 0.0, 0.0]
    assert state.shared["scale"].tolist() == [3.0, 4.0, 0.5, 0.5]
    with pytest.raises(PlanError, match="1 columns"):
        algorithm.init(LogisticRegression(), Schema("tabular", features=1), 0)
    assert "mean and scale" in str(algorithm.refuses(MatrixFactorisation()))


def test_the_last_round_gives_the_average_of_the_models(data) -> None:
    clients, model = data["tabular"], LogisticRegression()
    for settle in (0, 5):
        algorithm = ExampleSGD(server_lr=1.0, rows=100, momentum=0.0, smoothing=0.5, settle=settle)
        state, seen = algorithm.init(model, clients.schema, 0), []
        for number in range(1, 6):
            total = algorithm.work(model, number).sums(state.shared, {}, clients)[0]
            before = state.shared["weight"]
            state = algorithm.update(state, model, total, 30, number)
            seen.append(before - total["weight"] / 100)
        average = sum(0.5 ** (5 - k) * weight for k, weight in enumerate(seen))
        np.testing.assert_allclose(state.shared["weight"], average if settle else seen[-1], atol=1e-6)


def test_an_example_mechanism_without_example_clipping_is_refused_when_the_plan_is_made() -> None:
    noise = DistributedGaussian(2.0, noise_multiplier=0.0, epsilon=1.0, survivors_at_least=8, examples=6000)
    parts = {
        "data": Adult(), "clients": Uniform(parties=8), "model": LogisticRegression(), "protect": (noise,),
        "secure_sum": SecAgg(minimum=8),
    }  # fmt: skip
    for algorithm in (FedAvg(), ExampleSGD(clip=3.0), PublicScale(inner=ExampleSGD(clip=3.0))):
        with pytest.raises(PlanError, match="single examples"):
            Plan(algorithm=algorithm, **parts)
    plan = Plan(algorithm=PublicScale(inner=ExampleSGD(clip=2.0)), **parts)
    calibrated = calibrate(plan, 8)
    assert calibrated.noise is not None and 0.0 < calibrated.noise.noise_multiplier < 100.0
    with pytest.raises(PlanError, match="noise is shared out"):
        calibrate(replace(plan, secure_sum=SecAgg(minimum=3)), 8)


def total(work, clients, shared, clip=None):
    return add_statistics(work, shared, {}, clients, np.arange(len(clients)), clip)


def test_seeded_steps_are_the_same_again_and_each_client_s_are_its_own(data) -> None:
    """Under `simulation`; else every call draws anew. A client's noise does not depend on who is summed with it."""
    clients, model = data["tabular"], LogisticRegression()
    shared, work = parameters(model), DPSGD(steps=2, rate=0.5).work(model, (), "uniform")
    seeded = work.seeded(7)
    one, again, other = (total(w, clients, shared)["weight"] for w in (seeded, seeded, work.seeded(8)))
    assert np.array_equal(one, again) and not np.allclose(one, other)
    assert not np.allclose(total(work, clients, shared)["weight"], total(work, clients, shared)["weight"])
    alone = sum(total(seeded, replace(clients.take([c]), first=c), shared)["weight"] for c in range(len(clients)))
    np.testing.assert_allclose(alone, one, atol=1e-9)
    np.testing.assert_allclose(total(seeded, clients, shared, 1e6)["weight"], one, atol=1e-9)


def example_plan(**changes) -> Plan:
    parts = {"data": Adult(), "clients": Uniform(parties=8), "model": LogisticRegression(), "rounds": 4}
    return Plan(**(parts | {"algorithm": FedAvg(local=DPSGD(noise_multiplier=0.0, epsilon=2.0))} | changes))


@pytest.mark.parametrize("algorithm", [None, PublicScale(inner=FedAvg(local=DPSGD(noise_multiplier=0.0, epsilon=2.0)))])
def test_steps_with_a_target_get_the_least_noise_that_keeps_it_over_all_rounds(algorithm) -> None:
    plan = example_plan() if algorithm is None else example_plan(algorithm=algorithm)
    ready = calibrate(plan, 8)
    steps = noisy_steps(ready)
    assert 1.98 < spent(steps.events(4), steps.delta).epsilon <= 2.0
    assert unit_of(ready) == "example" and calibrate(ready, 8) == ready


def test_steps_without_a_noise_multiplier_are_refused_before_the_first_round(data) -> None:
    clients, plan = data["tabular"], example_plan(validation=False)
    engine = InProcess({"all": Worker(plan, clients)})
    with pytest.raises(PlanError, match=r"DPSGD.*calibrate"):
        next(run(plan, engine, clients.schema))
    with pytest.raises(PlanError, match=r"DPSGD.*calibrate"):
        plan.algorithm.work(plan.model, 1).sums(parameters(plan.model), {}, clients)


@pytest.mark.parametrize(("noise", "epsilon", "delta"), [(0.0, 0.0, 0.1), (1.0, 1.0, 0.1), (-1.0, 2.0, 0.1), (1, 0, 1)])
def test_steps_need_either_noise_or_a_target_and_a_delta(noise, epsilon, delta) -> None:
    with pytest.raises(ValueError, match="DPSGD needs"):
        DPSGD(noise_multiplier=noise, epsilon=epsilon, delta=delta)


def test_private_steps_behind_open_sums_of_columns_are_refused() -> None:
    with pytest.raises(PlanError, match="PublicScale"):
        example_plan(algorithm=Standardised(inner=FedAvg(local=DPSGD())))


@pytest.mark.parametrize(("simulation", "same"), [(True, True), (False, False)])
def test_under_simulation_the_noise_of_steps_follows_the_seed_and_else_the_operating_system(
    data, simulation, same
) -> None:
    clients = data["tabular"]
    plan = example_plan(algorithm=FedAvg(local=DPSGD(steps=2)), rounds=2, simulation=simulation)
    runs = []
    for _ in range(2):
        *_, last = run(plan, InProcess({"all": Worker(plan, clients)}), clients.schema)
        runs.append(last.state.shared["weight"])
    assert np.array_equal(*runs) == same
