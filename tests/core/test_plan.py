"""A plan refuses every contradiction it knows of, in a message that names both sides and comes as a PlanError."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any

import numpy as np
import pytest

from tacit.aggregation.median import Median
from tacit.aggregation.sum import Sum
from tacit.core import plan as plan_module
from tacit.core.plan import Plan
from tacit.core.values import Event, PlanError, TacitError, Turn, Vector
from tacit.data.adult import Adult
from tacit.data.clients import ByCustomer, Uniform
from tacit.data.storefront import Storefront
from tacit.learning.fedavg import FedAvg
from tacit.learning.fedper import FedPer
from tacit.learning.fedrep import FedRep
from tacit.learning.standardised import Standardised
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.learning.trainers.fused import Fused
from tacit.models.item_item import ItemItem
from tacit.models.logistic_regression import LogisticRegression
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.multilayer_perceptron import MultilayerPerceptron
from tacit.models.neural_collaborative_filtering import NeuralCollaborativeFiltering
from tacit.models.popularity import Popularity
from tacit.privacy.private_choice import PrivateChoice
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.matrix_gaussian import MatrixGaussian
from tacit.privacy.transforms.top_k import TopK

MakePlan = Callable[..., Plan]


@dataclass(frozen=True, slots=True)
class UnboundedNoise:
    """Noise that nobody calibrated: no bound on what a client sends."""

    @property
    def bound(self) -> float | None:
        return None

    @property
    def noisy(self) -> bool:
        return True

    @property
    def per_client(self) -> bool:
        return False

    @property
    def lossy(self) -> bool:
        return False

    def length(self, turn: Turn) -> int:
        return turn.size

    def reach(self, bound: float, turn: Turn) -> float:
        return bound

    def encode(self, x: Vector, turn: Turn, source: Any) -> Vector:
        return x

    def decode(self, total: Vector, turn: Turn, source: Any) -> Vector:
        return total

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        return None


@dataclass(frozen=True, slots=True)
class Rotation:
    """A change of contributions that does not bound them."""

    @property
    def bound(self) -> float | None:
        return None

    @property
    def noisy(self) -> bool:
        return False

    @property
    def per_client(self) -> bool:
        return False

    @property
    def lossy(self) -> bool:
        return False

    def length(self, turn: Turn) -> int:
        return turn.size

    def reach(self, bound: float, turn: Turn) -> float:
        return bound

    def encode(self, x: Vector, turn: Turn, source: Any) -> Vector:
        return x[::-1]

    def decode(self, total: Vector, turn: Turn, source: Any) -> Vector:
        return total[::-1]

    def event(self, sampling: str, sampling_rate: float, turn: Turn) -> Event | None:
        return None


@dataclass(frozen=True, slots=True)
class Shares(Gaussian):
    """Noise of which every client adds a share."""

    def headroom(self, turn: Turn, step: float) -> float:
        return 1.0

    def share(self, size: int, step: float, turn: Turn, source: Any) -> Any:
        return np.zeros(size, np.int64)


@dataclass(frozen=True, slots=True)
class Memory(Clip):
    """A transform with which clients remember."""

    name: str = ""

    @property
    def per_client(self) -> bool:
        return True

    def encode_with(self, x: Vector, memory: Any, turn: Turn, source: Any) -> tuple[Vector, Any]:
        return x, memory


TABULAR = {"data": Adult(), "clients": Uniform()}
SUMS = {"model": ItemItem(), "algorithm": SumOfStatistics()}
FURTHER = Plan(name="further", data=Storefront(), clients=ByCustomer(), model=MatrixFactorisation(), algorithm=FedAvg())
CHOOSING: dict[str, Any] = {"protect": (Gaussian(),), "choose": PrivateChoice()}
CONTRADICTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # what contradicts what: (changes to a sound plan, words that the message must hold)
    "no rounds": ({"rounds": 0}, ("rounds", "0")),
    "a negative cohort": ({"cohort": -1}, ("cohort", "-1")),
    "an unknown sampling": ({"sampling": "bernoulli"}, ("sampling", "fixed", "poisson", "bernoulli")),
    "Poisson sampling of everyone": ({"sampling": "poisson"}, ("Poisson", "cohort", "0")),
    "everyone in turn": ({"sampling": "cyclic"}, ("cyclic", "cohort", "0")),
    "noise that counts on coins, in turn": (
        {"sampling": "cyclic", "cohort": 50, "protect": (Gaussian(),)},
        ("Gaussian", "cyclic", "cohort = 0"),
    ),
    "correlated noise by coins": (
        {"sampling": "poisson", "cohort": 50, "protect": (MatrixGaussian(),)},
        ("MatrixGaussian", "poisson", "cyclic"),
    ),
    "everybody drops out": ({"dropout": 1.0}, ("dropout", "1.0")),
    "a negative dropout": ({"dropout": -0.1}, ("dropout", "-0.1")),
    "a dropout that is no number": ({"dropout": float("nan")}, ("dropout", "nan")),
    "a secure sum between nobody": ({"secure_between": "silos"}, ("secure_between", "clients", "nodes", "silos")),
    "a range of nothing": ({"quantise_bound": 0.0}, ("quantise_bound", "0.0")),
    "a range that is no number": ({"quantise_bound": float("nan")}, ("quantise_bound", "nan")),
    "no draws": ({"draws": 0}, ("draws", "0")),
    "one fold": ({"folds": 1}, ("folds", "1")),
    "negative folds": ({"folds": -2}, ("folds", "-2")),
    "an unknown choice of round": ({"select": "median"}, ("select", "last", "best", "median")),
    "a tabular model on interactions": (
        {"model": LogisticRegression()},
        ("LogisticRegression", "tabular", "Storefront", "interactions"),
    ),
    "a recommender on tabular data": (TABULAR, ("MatrixFactorisation", "interactions", "Adult", "tabular")),
    "a tabular baseline on interactions": (
        {"baselines": (Popularity(), MultilayerPerceptron())},
        ("MultilayerPerceptron", "tabular", "interactions"),
    ),
    "gradient steps on a model of sums": ({"model": ItemItem()}, ("FedAvg", "ItemItem", "SumOfStatistics")),
    "sums of a model of gradient steps": (
        {"algorithm": SumOfStatistics()},
        ("MatrixFactorisation", "statistics", "FedAvg"),
    ),
    "standardising what has no scale": ({"algorithm": Standardised()}, ("Standardised", "MatrixFactorisation")),
    "an unknown weighting": ({"algorithm": FedAvg(weighting="row")}, ("FedAvg", "uniform", "rows", "'row'")),
    "a personal layer that the model has not": (
        {"algorithm": FedPer(personal=("usr",))},
        ("FedPer", "usr", "MatrixFactorisation", "user"),
    ),
    "a personal item table": (
        {"algorithm": FedRep(personal=("items",))},
        ("FedRep", "items", "MatrixFactorisation"),
    ),
    "a personal column mean": (
        {**TABULAR, "model": LogisticRegression(), "algorithm": FedPer(personal=("mean",))},
        ("FedPer", "mean", "LogisticRegression"),
    ),
    "nothing left to share": (
        {**TABULAR, "model": LogisticRegression(), "algorithm": FedPer(personal=("weight", "bias"))},
        ("FedPer", "LogisticRegression", "every"),
    ),
    "a trainer without a kernel for the model": (
        {"model": NeuralCollaborativeFiltering(), "trainer": Fused()},
        ("kernel", "NeuralCollaborativeFiltering"),
    ),
    "a trainer without a kernel for the algorithm": (
        {"algorithm": FedRep(), "trainer": Fused()},
        ("kernel", "MatrixFactorisation"),
    ),
    "a median behind a secure sum": (
        {"aggregator": Median(), "secure_sum": SecAgg(minimum=3)},
        ("Median", "secure sum"),
    ),
    "a cohort below the secure sum's minimum": (
        {"cohort": 20, "secure_sum": SecAgg(minimum=100)},
        ("100", "cohort", "20"),
    ),
    "groups that nothing compares": (
        {"secure_sum": SecAgg(minimum=3, groups=4)},
        ("4 groups", "Median"),
    ),
    "a cohort below the minimum of every group": (
        {"cohort": 20, "secure_sum": SecAgg(minimum=6, groups=4), "aggregator": Median()},
        ("6", "each of 4 groups", "20"),
    ),
    "noise on a median": ({"protect": (Gaussian(),), "aggregator": Median()}, ("Gaussian", "Median")),
    "noise on what nobody bounded": ({"protect": (UnboundedNoise(),)}, ("UnboundedNoise", "Clip")),
    "noise before the clip": ({"protect": (UnboundedNoise(), Clip())}, ("UnboundedNoise", "Clip")),
    "two noises": ({"protect": (Gaussian(), Gaussian(noise_multiplier=2.0))}, ("one noise",)),
    "choosing by validation items that nobody holds out": (
        {"select": "best", "validation": False},
        ("select", "best", "validation"),
    ),
    "a transform that bounds nothing": ({"protect": (Rotation(),)}, ("Rotation", "bound")),
    "shares of noise without a secure sum": ({"protect": (Shares(),)}, ("Shares", "secure_sum")),
    "shares of noise that are changed afterwards": (
        {"protect": (Shares(), Clip()), "secure_sum": SecAgg(minimum=3)},
        ("Shares", "last"),
    ),
    "places of values in the clear": ({"protect": (TopK(),)}, ("TopK", "secure_sum")),
    "shares of noise that may be too few": (
        {"protect": (DistributedGaussian(survivors_at_least=50),), "secure_sum": SecAgg(minimum=20)},
        ("50", "20", "minimum"),
    ),
    "a proof of a norm that nothing bounds": (
        {"secure_sum": SecAgg(minimum=20, proof="norm")},
        ('proof = "norm"', "Clip", "protect"),
    ),
    "protecting examples that nobody clips": (
        {
            **TABULAR,
            "model": LogisticRegression(),
            "secure_sum": SecAgg(minimum=20),
            "protect": (DistributedGaussian(examples=100),),
        },
        ("DistributedGaussian", "single examples", "FedAvg", "ExampleSGD"),
    ),
    "a curve through no epsilon": ({"tradeoff": (1.0, 0.0)}, ("tradeoff", "above 0", "0.0")),
    "a choice among one": ({"protect": (Gaussian(),), "choose": PrivateChoice()}, ("PrivateChoice", "several", "also")),
    "a choice by items that nobody held out": (
        {**CHOOSING, "also": (replace(FURTHER, protect=(Gaussian(),), validation=False),)},
        ("PrivateChoice", "further", "validation"),
    ),
    "a choice by different items": (
        {**CHOOSING, "also": (replace(FURTHER, protect=(Gaussian(),), split_seed=1),)},
        ("further", "federated", "split_seed"),
    ),
    "two memories": ({"protect": (Memory(), Memory(name="other"))}, ("Memory", "remembers", "before")),
    "encoding clients that were added up": (
        {"protect": (Memory(),), "secure_sum": SecAgg(minimum=3), "secure_between": "nodes"},
        ("Memory", "nodes", "clients"),
    ),
    "choosing by ranks without ranking": (
        {**TABULAR, "model": LogisticRegression(), "algorithm": SumOfStatistics(), "select": "best"},
        ("select", "best", "rank"),
    ),
    "noise and choosing by customers' items": ({"protect": (Gaussian(),), "select": "best"}, ("noise", "best", "last")),
    "noise and weights by rows": (
        {"protect": (Gaussian(),), "algorithm": FedAvg(weighting="rows")},
        ("FedAvg", "rows", "noise", "uniform"),
    ),
    "clipping column moments": (
        {**TABULAR, "model": LogisticRegression(), "algorithm": Standardised(), "protect": (Clip(),)},
        ("Clip", "ColumnMoments"),
    ),
    "noise on Newton steps": (
        {**TABULAR, "model": LogisticRegression(), "algorithm": SumOfStatistics(), "protect": (Gaussian(),)},
        ("Gaussian", "LogisticRegression"),
    ),
    "a median of column moments": (
        {**TABULAR, "model": LogisticRegression(), "algorithm": Standardised(), "aggregator": Median()},
        ("Median", "ColumnMoments"),
    ),
    "two trainings of one name": ({"also": (replace(FURTHER, name="federated"),)}, ("name", "federated")),
    "a training under a training under a training": (
        {"also": (replace(FURTHER, also=(replace(FURTHER, name="third"),)),)},
        ("further", "also"),
    ),
    "a training on other data": (
        {"also": (replace(FURTHER, data=Storefront(customers=7)),)},
        ("further", "federated", "data"),
    ),
    "a training on other clients": (
        {"also": (replace(FURTHER, clients=Uniform()),)},
        ("further", "federated", "clients"),
    ),
}
EVERY = pytest.mark.parametrize("contradiction", CONTRADICTIONS)


@EVERY
def test_a_contradiction_is_refused_and_both_sides_are_named(contradiction: str, plan: MakePlan) -> None:
    changes, words = CONTRADICTIONS[contradiction]
    with pytest.raises(PlanError) as refused:
        plan(**changes)
    missing = [word for word in words if word not in str(refused.value)]
    assert not missing, f"{refused.value} does not say {missing}"
    assert isinstance(refused.value, TacitError)


def test_every_refusal_in_the_plan_has_a_contradiction_here(plan: MakePlan) -> None:
    """Each line of plan.py that raises is reached by one of the cases above."""
    source = ast.parse(inspect.getsource(plan_module))
    lines = {node.lineno for node in ast.walk(source) if isinstance(node, ast.Raise)}
    reached = set()
    for changes, _ in CONTRADICTIONS.values():
        with pytest.raises(PlanError) as refused:
            plan(**changes)
        entries = [entry for entry in refused.traceback if str(entry.path) == inspect.getfile(plan_module)]
        reached.add(entries[-1].lineno + 1)
    statements = {line: node for node in ast.walk(source) if isinstance(node, ast.Raise) for line in [node.lineno]}
    unreached = [line for line in lines if not any(line <= at <= statements[line].end_lineno for at in reached)]
    assert not unreached, f"no case reaches the refusals in lines {unreached}"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cohort": 100, "secure_sum": SecAgg(minimum=100)},
        {"cohort": 20, "secure_sum": SecAgg(minimum=100), "secure_between": "nodes"},
        {"secure_sum": SecAgg(minimum=3), "aggregator": Sum()},
        {"protect": (Clip(0.5), Gaussian())},
        {"protect": (Gaussian(),), "cohort": 50, "sampling": "poisson"},
        {"aggregator": Median(), "protect": (Clip(),)},
        {"algorithm": FedAvg(weighting="rows"), "protect": (Clip(),)},
        {"select": "best"},
        {**SUMS, "protect": (Gaussian(),)},
        {"also": (FURTHER,), "baselines": (Popularity(),)},
        {**TABULAR, "model": LogisticRegression(), "algorithm": Standardised(), "secure_sum": SecAgg(minimum=3)},
        {**TABULAR, "model": LogisticRegression(), "algorithm": FedPer(personal=("weight",))},
    ],
)
def test_what_does_not_contradict_itself_is_a_plan(changes: dict[str, Any], plan: MakePlan) -> None:
    assert plan(**changes) == plan(**changes)


def test_a_plan_knows_its_smallest_bound_and_its_noise(plan: MakePlan) -> None:
    noise = Gaussian(clip_norm=2.0)
    assert plan().clip_norm is None and plan().noise is None
    assert plan(protect=(Clip(0.5),)).clip_norm == 0.5 and plan(protect=(Clip(0.5),)).noise is None
    assert plan(protect=(Clip(3.0), noise)).clip_norm == 2.0 and plan(protect=(Clip(3.0), noise)).noise == noise
    assert plan(protect=(Clip(0.5), noise)).clip_norm == 0.5


def test_a_plan_is_a_value(plan: MakePlan) -> None:
    one, other = plan(seed=3), plan(seed=3)
    assert one == other and hash(one) == hash(other) and repr(one) == repr(other)
    assert one != plan(seed=4) and one.digest() != plan(seed=4).digest()
    with pytest.raises(FrozenInstanceError):
        one.rounds = 3  # type: ignore[misc]


def test_every_field_counts_in_the_digest(plan: MakePlan) -> None:
    changes: list[dict[str, Any]] = [
        {"name": "x"}, {"data": Storefront(seed=1)}, {"clients": Uniform()}, {"model": MatrixFactorisation(dim=31)},
        {"algorithm": FedAvg(server_lr=0.5)}, {"rounds": 11}, {"cohort": 7}, {"sampling": "poisson", "cohort": 7},
        {"protect": (Clip(),)}, {"protect": (Clip(0.5),)}, {"aggregator": Sum()}, {"secure_sum": SecAgg()},
        {"secure_between": "nodes"}, {"quantise_bound": 2.0}, {"trainer": Fused()}, {"seed": 1}, {"simulation": True},
        {"dropout": 0.1}, {"select": "best"}, {"validation": False}, {"split_seed": 1}, {"draws": 6}, {"folds": 2},
        {"baselines": (Popularity(),)}, {"also": (FURTHER,)}, {"tradeoff": (1.0,)},
        {**CHOOSING, "also": (replace(FURTHER, protect=(Gaussian(),)),)},
    ]  # fmt: skip
    assert {key for change in changes for key in change} >= set(Plan.__dataclass_fields__)
    digests = [plan().digest(), *(plan(**change).digest() for change in changes)]
    assert len(set(digests)) == len(digests)
