"""A user's own tables run to a report, and nobody's row comes out of it: neither in files nor in messages."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tacit.cli.main import main

CUSTOMER, TIME = "zq-sentinel-{:03d}", 1_600_000_000_000

ORDERS_PLAN = """
name = "federated"
rounds = 2
data = {{ kind = "InteractionsFile", path = "orders.csv", customer = "who", item = "what", {columns} }}
clients = {{ kind = "ByAttribute", attribute = "town" }}
model = {{ kind = "ImplicitALS", dim = 3 }}
algorithm = "SumOfStatistics"
secure_sum = {{ kind = "SecAgg", minimum = 3 }}
baselines = ["Popularity"]

[[also]]
name = "factors"
model = {{ kind = "MatrixFactorisation", dim = 3 }}
algorithm = "FedAvg"
secure_sum = false
"""


def orders(customers=30, items=40, rows=9, seed=0):
    """Lines of a table whose customers and times can be recognised anywhere."""
    random = np.random.default_rng(seed)
    lines = ["who,what,stars,when,town"]
    for customer in range(customers):
        for place, item in enumerate(random.choice(items, rows, replace=False)):
            when = TIME + customer * 7919 + place * 104729
            lines.append(f"{CUSTOMER.format(customer)},thing-{item:02d},{1 + item % 5},{when},{'ab'[customer % 2]}")
    return lines


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TACIT_DATA", raising=False)

    def write(lines, columns='rating = "stars", time = "when", attributes = ["town"]', plan=ORDERS_PLAN):
        (tmp_path / "orders.csv").write_text("\n".join(lines) + "\n")
        (tmp_path / "own.toml").write_text(plan.format(columns=columns))
        return tmp_path

    return write


def test_own_interactions_run_to_a_verified_report_that_names_nobody(shop, capsys):
    folder = shop(orders())
    assert main(["run", "own.toml", "--out", "run", "--json"]) == 0
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert (report["clients"], report["data"]["rows"], report["data"]["items"]) == (30, 270, 40)
    assert {"federated", "factors", "popularity", "centralized"} <= set(report)
    assert set(report["groups"]) >= {"activity", "town"}
    assert main(["audit", "verify", "run"]) == 0
    whole = told.out + told.err + capsys.readouterr().out
    for path in (folder / "run").rglob("*"):
        if path.is_file():
            whole += path.read_bytes().decode("latin-1")
    assert not re.findall("zq-sentinel", whole), "not even in the state of nodes"
    times = {line.split(",")[3] for line in orders()[1:]}
    assert not times & set(re.findall(r"\d{13}", whole))


def test_customers_without_order_or_rating_or_attribute_are_enough(shop, capsys):
    lines = [",".join(line.split(",")[:2]) for line in orders()]
    plan = ORDERS_PLAN.replace('{{ kind = "ByAttribute", attribute = "town" }}', '"ByCustomer"').replace(
        ", {columns}", ""
    )
    shop(lines, plan=plan)
    assert main(["run", "own.toml", "--out", "run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert "order of a customer's rows is unknown" in report["data"]["note"]


def test_customers_with_two_rows_have_a_test_item_and_no_validation_item(shop, capsys):
    shop(orders(rows=2, items=12))
    assert main(["run", "own.toml", "--out", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["federated"]["hr@10"] >= 0.0


SPOILT = {
    "a rating that is no number": lambda lines: [*lines, f"zq-sentinel-001,thing-99,many,{TIME},b"],
    "a row twice": lambda lines: [*lines, lines[3]],
    "too few fields": lambda lines: [*lines, "zq-sentinel-999,thing-01"],
    "a customer of two towns": lambda lines: [*lines, lines[3].replace("thing", "other")[:-1] + "zq-town"],
    "no customer": lambda lines: [*lines, f",thing-01,3,{TIME},a"],
    "a time that is none": lambda lines: [*lines, "zq-sentinel-001,thing-99,3,noon,a"],
    "no such column": lambda lines: [lines[0].replace("stars", "points"), *lines[1:]],
    "no rows": lambda lines: lines[:1],
    "nothing": lambda lines: [],
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_table_is_refused_with_its_line_and_without_its_content(shop, capsys, what):
    folder = shop(SPOILT[what](orders()))
    assert main(["run", "own.toml", "--out", "run"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("tacit: orders.csv")
    assert told.err.count("\n") == 1 and "Traceback" not in told.err
    assert "zq" not in told.err and not re.search(r"\d{13}", told.err)
    if what not in ("no such column", "no rows", "nothing"):
        assert re.search(r"line \d+", told.err)
    assert not (folder / "run").exists(), "nothing half-begun is left"


PATIENTS_PLAN = """
name = "federated"
rounds = 4
folds = {folds}
data = {{ kind = "TabularFile", path = "patients.csv", mapping = "mapping.toml" }}
clients = {{ kind = {clients} }}
model = {{ kind = "LogisticRegression" }}
algorithm = {{ kind = "Standardised", inner = "SumOfStatistics" }}
secure_sum = {{ kind = "SecAgg", minimum = 3 }}
"""
MAPPING = """
label = "ill"
positive = ["yes"]
negative = ["no"]
numeric = ["age", "pulse"]
sensitive = ["sex"]
institution = "clinic"
[categorical]
kind = ["a", "b", "c"]
"""


def patients(rows=240, seed=1):
    random = np.random.default_rng(seed)
    age, pulse = random.normal(50, 12, rows), random.normal(80, 9, rows)
    ill = age / 12 + pulse / 20 + random.normal(size=rows) > 8.3
    lines = ["age,pulse,kind,sex,clinic,ill"]
    for n in range(rows):
        lines.append(
            f"{age[n]:.9f},{pulse[n]:.9f},{'abc'[n % 3]},{'fm'[n % 2]},clinic {n % 4},{'yes' if ill[n] else 'no'}"
        )
    return lines


@pytest.fixture
def clinics(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TACIT_DATA", raising=False)

    def write(lines, folds=0, clients='"ByAttribute"', mapping=MAPPING):
        (tmp_path / "patients.csv").write_text("\n".join(lines) + "\n")
        (tmp_path / "mapping.toml").write_text(mapping)
        (tmp_path / "own.toml").write_text(PATIENTS_PLAN.format(folds=folds, clients=clients))
        return tmp_path

    return write


@pytest.mark.parametrize("folds", [0, 3])
def test_own_labelled_rows_run_to_a_verified_report_that_names_nobody(clinics, capsys, folds):
    folder = clinics(patients(), folds)
    assert main(["run", "own.toml", "--out", "run", "--json"]) == 0
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert report["clients"] == 4
    for arm in ("federated", "centralized", "local"):
        assert {"accuracy", "auc", "f1"} <= set(report[arm])
    assert report["federated"]["auc"] > 0.7
    assert abs(report["federated"]["accuracy"] - report["centralized"]["accuracy"]) <= 0.03
    assert report["secure_sum"]["exact"] is True
    assert main(["audit", "verify", "run"]) == 0
    whole = told.out + "".join(
        path.read_bytes().decode("latin-1") for path in (folder / "run").rglob("*") if path.is_file()
    )
    cells = {cell for line in patients()[1:] for cell in line.split(",")[:2]}
    assert not cells & set(re.findall(r"\d+\.\d{9}", whole))


@pytest.mark.parametrize(
    ("clients", "count"),
    [('"Uniform", parties = 5', 5), ('"Dirichlet", parties = 3', 3), ('"Quantity", parties = 6', 6)],
)
def test_labelled_rows_can_be_dealt_to_institutions(clinics, capsys, clients, count):
    clinics(patients(), clients=clients)
    assert main(["run", "own.toml", "--out", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clients"] == count


def test_a_row_for_each_client_is_refused_in_words(clinics, capsys):
    """Each row would be tested by somebody who has nothing to learn from."""
    clinics(patients(), clients='"ByCustomer"')
    assert main(["run", "own.toml", "--out", "run"]) == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told and "ByCustomer" in told


def test_an_unknown_key_of_a_mapping_is_named_with_its_nearest(clinics, capsys):
    clinics(patients(), mapping=MAPPING.replace("numeric", "numerical"))
    assert main(["run", "own.toml", "--out", "run"]) == 1
    told = capsys.readouterr().err
    assert "'numerical'" in told and "did you mean 'numeric'" in told
