"""Plan files: what is written is read back, and what cannot be read is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.aggregation.sum import Sum
from tacit.core.plan import Plan
from tacit.core.values import PlanError
from tacit.data.clients import ByCustomer
from tacit.data.storefront import Storefront
from tacit.federation.vocabulary import parse_plan, read_plan
from tacit.learning.fedavg import FedAvg
from tacit.learning.fedper import FedPer
from tacit.learning.sgd import SGD
from tacit.learning.sum_of_statistics import SumOfStatistics
from tacit.learning.trainers.loop import Loop
from tacit.models.item_item import ItemItem
from tacit.models.item_knn import ItemKNN
from tacit.models.matrix_factorisation import MatrixFactorisation
from tacit.models.popularity import Popularity
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.gaussian import Gaussian

MakePlan = Callable[..., Plan]
SOUND = """
data = { kind = "Storefront" }
clients = { kind = "ByCustomer" }
model = { kind = "MatrixFactorisation", dim = 4 }
algorithm = { kind = "FedAvg", local = { kind = "SGD", lr = 0.5 } }
"""


def with_line(line: str, without: str = "") -> str:
    """The sound plan with one more line, and without the line that begins with `without`."""
    lines = [kept for kept in SOUND.splitlines() if not (without and kept.startswith(without))]
    return "\n".join([*lines, line])


def test_a_bare_kind_is_a_component_with_its_defaults(plan: MakePlan) -> None:
    text = 'data = "Storefront"\nclients = "ByCustomer"\nmodel = "MatrixFactorisation"\nalgorithm = "FedAvg"\n'
    assert parse_plan(text) == plan()


def test_a_plan_file_gives_the_plan_that_it_describes(plan: MakePlan) -> None:
    read = parse_plan(SOUND + "rounds = 3\nsimulation = true\nprotect = ['Clip', { kind = 'Gaussian', clip_norm = 2 }]")
    assert read == plan(
        model=MatrixFactorisation(dim=4),
        algorithm=FedAvg(SGD(lr=0.5)),
        rounds=3,
        simulation=True,
        protect=(Clip(), Gaussian(clip_norm=2.0)),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (with_line("ruonds = 3"), ("ruonds", "rounds")),
        (with_line('model = { kind = "MatrixFactorisation", dims = 3 }', "model"), ("model", "dims", "dim")),
        (
            with_line('algorithm = { kind = "FedAvg", local = { kind = "SGD", epoch = 3 } }', "algorithm"),
            ("algorithm: local", "epoch", "epochs"),
        ),
        (with_line("zzz = 3"), ("zzz", "rounds", "model")),
        (with_line('model = { kind = "MatrixFactorization" }', "model"), ("MatrixFactorization", "did you mean 'Mat")),
        (with_line('model = "xyz"', "model"), ("xyz", "ItemItem", "Popularity")),
        (with_line('protect = [{ kind = "Gausian" }]'), ("protect[0]", "Gausian", "Gaussian")),
        (with_line('model = { kind = "Clip" }', "model"), ("Clip", "MatrixFactorisation")),
        (with_line("model = { dim = 3 }", "model"), ("model", "kind", "MatrixFactorisation")),
        (with_line("model = 7", "model"), ("model", "kind", "MatrixFactorisation")),
        (with_line("model = { kind = 7 }", "model"), ("model", "kind")),
        (with_line('model = ["Popularity"]', "model"), ("model", "one", "Popularity")),
        (with_line('protect = "Clip"'), ("protect", "list", "Clip")),
        (with_line('baselines = { kind = "Popularity" }'), ("baselines", "list", "Popularity")),
        (with_line("rounds = 2.5"), ("rounds", "int", "2.5")),
        (with_line('rounds = "3"'), ("rounds", "int", "'3'")),
        (with_line("rounds = true"), ("rounds", "int", "True")),
        (with_line("simulation = 1"), ("simulation", "bool", "1")),
        (with_line("dropout = true"), ("dropout", "float", "True")),
        (with_line('dropout = "0.1"'), ("dropout", "float", "'0.1'")),
        (with_line("name = 3"), ("name", "str", "3")),
        (with_line("dropout = 1979-05-27"), ("dropout", "float")),
        (with_line("", "data"), ("data", "missing")),
        (with_line("", "algorithm"), ("algorithm", "missing")),
        ("", ("missing",)),
        ("rounds = ", ("not valid TOML",)),
        ("rounds = 1\nrounds = 2", ("not valid TOML",)),
        (with_line("rounds = 0"), ("rounds", "0")),
        (with_line('protect = [{ kind = "Clip", norm = -1.0 }]'), ("protect[0]", "norm", "-1.0")),
        (with_line('secure_sum = { kind = "SecAgg", minimum = 1 }'), ("minimum",)),
        (with_line("[also]\nname = 'x'"), ("also", "[[also]]")),
        (with_line("also = 3"), ("also", "[[also]]")),
        (with_line("[[also]]\nname = 'x'\nruonds = 3"), ("also[0]", "ruonds", "rounds")),
        (with_line("[[also]]\nname = 'x'\n[[also]]\nname = 'y'\nrounds = '3'"), ("also[1]: rounds", "int")),
        (with_line("[[also]]\nrounds = 3"), ("name", "federated")),
        (with_line("[[also]]\nname = 'x'\n[[also.also]]\nname = 'y'"), ("also",)),
        (
            with_line('algorithm = { kind = "FedPer", personal = "w2" }', "algorithm"),
            ("algorithm: personal", "list", "w2"),
        ),
        (
            with_line('algorithm = { kind = "FedPer", personal = [3] }', "algorithm"),
            ("algorithm: personal[0]", "str", "3"),
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(PlanError) as refused:
        parse_plan(text, "my.toml")
    missing = [word for word in words if word not in str(refused.value)]
    assert not missing, f"{refused.value} does not say {missing}"
    assert refused.value.__cause__ is None


def test_an_error_begins_with_the_name_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(with_line("ruonds = 3"))
    with pytest.raises(PlanError, match=r"mine\.toml: unknown key 'ruonds' \(did you mean 'rounds'\?\)"):
        read_plan(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"name = '\xe9'"])
def test_a_file_that_is_absent_or_no_text_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "odd.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanError, match=r"odd\.toml"):
        read_plan(path)


def test_a_folder_is_no_plan_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        read_plan(tmp_path)


def test_a_further_training_inherits_all_but_the_baselines_and_changes_what_it_names() -> None:
    text = with_line(
        "rounds = 3\nsecure_sum = { kind = 'SecAgg', minimum = 5 }\nprotect = ['Clip']\nbaselines = ['Popularity']\n"
        "[[also]]\nname = 'plain'\nsecure_sum = false\nprotect = false\n"
        "[[also]]\nname = 'longer'\nrounds = 9\nmodel = { kind = 'MatrixFactorisation', dim = 5 }\n"
    )
    plan = parse_plan(text)
    plain, longer = plan.also
    assert plan.secure_sum == SecAgg(minimum=5) and plan.baselines == (Popularity(),)
    assert (plain.secure_sum, plain.protect, plain.rounds, plain.baselines) == (None, (), 3, ())
    assert plain.model == plan.model and plain.algorithm == plan.algorithm
    assert (longer.secure_sum, longer.protect, longer.rounds) == (plan.secure_sum, plan.protect, 9)
    assert longer.model == MatrixFactorisation(dim=5)


def test_false_switches_a_truth_value_off_and_anything_else_back_to_its_default() -> None:
    text = with_line("simulation = true\nvalidation = true\nrounds = 3\n[[also]]\nname = 'x'\nsimulation = false\n")
    plan = parse_plan(text)
    assert plan.simulation and not plan.also[0].simulation
    assert parse_plan(text + "rounds = false\n").also[0].rounds == Plan.__dataclass_fields__["rounds"].default


def test_a_further_training_with_every_part_set_or_unset_comes_back_as_it_was(plan: MakePlan) -> None:
    rich = plan(
        secure_sum=SecAgg(minimum=5), protect=(Clip(),), aggregator=Sum(), trainer=Loop(), baselines=(Popularity(),),
        simulation=True, validation=False, cohort=30, sampling="poisson", dropout=0.25,
    )  # fmt: skip
    for top, under in ((rich, plan(name="x")), (plan(), replace(rich, name="x")), (rich, replace(rich, name="x"))):
        whole = replace(top, also=(under,))
        read = parse_plan(whole.toml())
        assert read == whole and read.toml() == whole.toml()


def test_text_of_any_kind_survives(plan: MakePlan) -> None:
    name = "a \"b\" 'c' \\ \n\t ü 漢 \u0001"
    assert parse_plan(plan(name=name).toml()).name == name


numbers = st.floats(1e-300, 1e300) | st.integers(1, 2**53).map(float)


@given(
    norm=numbers,
    noise=numbers,
    delta=st.floats(1e-12, 0.5),
    rounds=st.integers(1, 10**9),
    seed=st.integers(0, 2**63 - 1),
    baselines=st.lists(
        st.builds(ItemKNN, st.integers(1, 1000)) | st.builds(ItemItem, numbers, st.integers(0, 99)), max_size=3
    ),
    personal=st.sampled_from([(), ("user",)]),
    switches=st.tuples(st.booleans(), st.booleans()),
    name=st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_is_read_back(
    norm: float, noise: float, delta: float, rounds: int, seed: int, baselines: list[Any], personal: tuple[str, ...],
    switches: tuple[bool, bool], name: str,
) -> None:  # fmt: skip
    simulation, validation = switches
    first = Plan(
        name=f"1{name}", data=Storefront(), clients=ByCustomer(), model=MatrixFactorisation(),
        algorithm=FedPer(personal=personal), protect=(Clip(norm), Gaussian(norm, noise, delta=delta)), rounds=rounds,
        seed=seed, simulation=simulation, baselines=tuple(baselines),
    )  # fmt: skip
    second = Plan(
        name=f"2{name}", data=Storefront(), clients=ByCustomer(), model=ItemItem(), algorithm=SumOfStatistics(),
        validation=validation, baselines=tuple(baselines[1:]),
    )  # fmt: skip
    whole = replace(first, also=(second,))
    read = parse_plan(whole.toml())
    assert read == whole
    assert read.digest() == whole.digest()
