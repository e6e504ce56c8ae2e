"""Own labelled rows through a mapping: the same values from every source, and one error with file and line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

from tacit.core.values import DataError
from tacit.data.tabular import Tabular, concatenate
from tacit.data.tabular_file import TabularFile, from_table
from tacit.data.tabular_mapping import built_in, parse_mapping

MAPPING = """
label = "left"
positive = ["yes"]
negative = "no"
numeric = ["age", "balance"]
sensitive = ["sex", "age"]
institution = "branch"
missing = ["?", ""]
drop_missing = true
[categorical]
plan = ["basic", "plus", 3]
[bands]
age = [30, 50]
[labels.sex]
0 = "female"
1 = "male"
"""
ROWS = {
    "age": [25, 30, 49, 50, 61],
    "balance": [10.5, 0.0, -3.0, 7.0, None],
    "plan": ["basic", "plus", "3", "basic", "plus"],
    "sex": [0, 1, 1, 0, 1],
    "left": ["no", "yes", "yes", "no", "no"],
    "branch": ["east", "west", "east", "west", "west"],
    "unused": [1, 2, 3, 4, 5],
}
CSV = (
    "age,balance,plan,sex,left,branch,unused\n25,10.5,basic,0,no,east,1\n30,0,plus,1.0,yes,west,2\n"
    "49,-3,3.0,1,yes,east,3\n50,7,basic,0,no,west,4\n61,?,plus,1,no,west,5\n"
)


def load(folder, text, mapping=MAPPING) -> Tabular:
    (folder / "bank.csv").write_text(text)
    (folder / "bank.toml").write_text(mapping)
    return TabularFile("bank.csv", "bank.toml").load((folder,))


def parts(data):
    return {
        "x": data.x.tolist(),
        "y": data.y.tolist(),
        "names": data.names,
        "institution": data.institution.tolist(),
        "sensitive": {name: values.tolist() for name, values in data.sensitive.items()},
    }


EXPECTED = {
    "x": [[25, 10.5, 1, 0, 0], [30, 0, 0, 1, 0], [49, -3, 0, 0, 1], [50, 7, 1, 0, 0]],
    "y": [0, 1, 1, 0],
    "names": ("age", "balance", "plan=basic", "plan=plus", "plan=3"),
    "institution": ["east", "west", "east", "west"],
    "sensitive": {
        "sex": ["female", "male", "male", "female"],
        "age_band": ["under 30", "30-49", "30-49", "50+"],
    },
}


@pytest.mark.parametrize("make", [pandas.DataFrame, polars.DataFrame, pyarrow.table])
def test_every_kind_of_table_gives_the_same_rows(make):
    assert parts(from_table(make(ROWS), parse_mapping(MAPPING))) == EXPECTED


def test_text_and_parquet_files_give_the_same_rows(tmp_path):
    data = load(tmp_path, CSV)
    assert parts(data) == EXPECTED
    assert data.note == "4 rows of bank.csv; 1 with a missing cell left out"
    assert repr(data) == "Tabular('bank.csv', 4 rows, 5 features, 2 institutions)"
    pyarrow.parquet.write_table(pyarrow.table(ROWS), tmp_path / "bank.parquet")
    assert parts(TabularFile("bank.parquet", "bank.toml").load((tmp_path,))) == EXPECTED


def test_levels_that_are_not_listed_are_found_in_the_file(tmp_path):
    assert load(tmp_path, CSV, MAPPING.replace('["basic", "plus", 3]', "[]")).names[2:] == (
        "plan=3",
        "plan=basic",
        "plan=plus",
    )


def test_a_missing_marker_among_the_levels_is_a_level(tmp_path):
    text = CSV.replace("49,-3,3.0", "49,-3,?")
    data = load(tmp_path, text, MAPPING.replace("3]", '"?"]'))
    assert data.names[-1] == "plan=?"
    assert data.x[2].tolist() == [49, -3, 0, 0, 1]


def test_a_missing_sensitive_cell_is_unknown(tmp_path):
    assert load(tmp_path, CSV.replace("basic,0,no,east", "basic,,no,east")).sensitive["sex"][0] == "unknown"


def test_with_positive_values_alone_every_other_label_is_negative(tmp_path):
    mapping = 'label = "plan"\npositive = "plus"\nnumeric = ["unused"]'
    assert load(tmp_path, CSV, mapping).y.tolist() == [0, 1, 0, 0, 1]


def test_a_label_of_zero_and_one_needs_no_list(tmp_path):
    mapping = 'label = "sex"\nnumeric = ["unused"]'
    assert load(tmp_path, CSV, mapping).y.tolist() == [0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("30,0,plus", "30,much,plus", "bank.csv, line 3: numeric column 'balance' holds no usable number"),
        ("30,0,plus", "30,inf,plus", "bank.csv, line 3: numeric column 'balance' holds no usable number"),
        ("30,0,plus", "30,0,gold", "bank.csv, line 3: column 'plan' holds a value that is not among its 3 listed"),
        ("1.0,yes,west", "1.0,maybe,west", "bank.csv, line 3: label 'left' is neither a positive nor a negative value"),
        ("1.0,yes,west", "1.0,,west", "bank.csv, line 3: label 'left' is neither"),
        ("1.0,yes,west", "1.0,yes,", "bank.csv, line 3: the institution's key is empty"),
        ("30,0,plus", "30,plus", "bank.csv, line 3: 7 fields were needed, got 6"),
        ("branch,unused", "brench,unused", r"no column 'branch' for the institution. Did you mean 'brench'\?"),
        ("age,balance", "age,saldo", "no column 'balance' for the numeric feature"),
    ],
)
def test_a_bad_line_is_named_and_its_value_is_not_shown(tmp_path, old, new, message):
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, CSV.replace(old, new, 1))
    assert not any(value in str(caught.value) for value in ("much", "gold", "maybe"))


def test_a_gap_is_refused_unless_the_mapping_says_to_drop_it(tmp_path):
    with pytest.raises(DataError, match=r"bank.csv, line 6: column 'balance' is empty. Fill it in, .* drop_missing"):
        load(tmp_path, CSV, MAPPING.replace("drop_missing = true", ""))
    with pytest.raises(DataError, match="every row has a missing cell"):
        load(tmp_path, CSV, MAPPING.replace('["?", ""]', '["?", "25", "30", "49", "50"]'))


def test_an_age_without_number_has_no_band(tmp_path):
    text = (
        CSV.replace("age,", "years,", 1)
        .replace("unused\n", "age\n", 1)
        .replace("basic,0,no,east,1", "basic,0,no,east,x")
    )
    mapping = MAPPING.replace('["age", "balance"]', '["balance"]')
    with pytest.raises(DataError, match=r"bank.csv, line 2: column 'age' has bands, but holds no number here"):
        load(tmp_path, text, mapping)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label = !", "m.toml is not valid TOML: .*line 1"),
        ('lable = "x"', r"m.toml: unknown key 'lable' \(did you mean 'label'\?\)"),
        ("zzz = 1", r"unknown key 'zzz' \(known: bands, .*separator"),
        ("label = 3", "label must be a text, got 3"),
        ("drop_missing = 'yes'", "drop_missing must be true or false, got 'yes'"),
        ("numeric = [1.5]", "numeric must be a list of texts"),
        ("categorical = ['a']", r"categorical must be a table, written \[categorical\]"),
        ("categorical.a = [true]", "categorical.a must be a list of texts"),
        ("bands.age = ['x']", "bands.age must be a list of numbers"),
        ("labels.sex = 'x'", "labels.sex must be a table of texts"),
        ("", "a mapping needs features"),
        ("numeric = ['a']\ncategorical.a = []", "column 'a' has two roles"),
        ("numeric = ['label']", "column 'label' has two roles"),
        ("numeric = ['a']\nbands.b = [1]", "column 'b' has bands or labels, but is not under `sensitive`"),
        ("numeric = ['a']\nsensitive = ['a']\nbands.a = [5, 1]", "bands of 'a' must be rising numbers"),
        ("categorical.a = ['1', '1.0']", "categorical column 'a' lists a level twice"),
        ("numeric = ['a']\npositive = ['1']\nnegative = ['1.0']", "label value '1' is both positive and negative"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        parse_mapping(text, "m.toml")


def test_a_mapping_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="the mapping needs the name of a file"):
        TabularFile("bank.csv").load((tmp_path,))
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(DataError, match="must be a TOML file in UTF-8"):
        TabularFile("bank.csv", "bad.toml").load((tmp_path,))


@pytest.mark.parametrize("name", ["adult", "heart-disease"])
def test_built_in_mappings_list_every_level_in_public(name):
    mapping = built_in(name)
    assert all(mapping.categorical.values())
    assert set(mapping.columns) <= set(mapping.names)


def tiny(**changes) -> Tabular:
    data = Tabular(
        name="tiny",
        x=np.ones((3, 2), np.float32),
        y=np.array([0, 1, 0], np.float32),
        names=("a", "b"),
        institution=np.array(["n", "s", "n"]),
        sensitive={"sex": np.array(["f", "m", "f"])},
    )
    return replace(data, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.ones((3, 3), np.float32)}, r"x must be finite float32 of shape \(3, 2\), got \(3, 3\)"),
        ({"x": np.full((3, 2), np.nan, np.float32)}, "x must be finite float32"),
        ({"y": np.array([0, 2, 0], np.float32)}, "y must be float32 .* holding only 0 and 1"),
        ({"y": np.zeros(0, np.float32)}, "rows and features are needed, got 0 rows"),
        ({"names": ("a", "a")}, "every feature needs its own name"),
        ({"institution": np.array(["n"])}, "'institution' must hold 3 texts"),
        ({"sensitive": {"sex": np.zeros(3)}}, "'sex' must hold 3 texts"),
        ({"split": np.array([0, 1, 2], np.int8)}, "split must hold 0"),
    ],
)
def test_rows_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        tiny(**changes)


def test_parts_are_joined_with_their_published_side():
    both = concatenate("both", [tiny(), tiny()], split=(0, 1))
    assert both.split.tolist() == [0, 0, 0, 1, 1, 1]
    assert both.sensitive["sex"].tolist() == ["f", "m", "f"] * 2
    with pytest.raises(DataError, match="its parts have different columns"):
        concatenate("both", [tiny(), tiny(names=("a", "c"))])
