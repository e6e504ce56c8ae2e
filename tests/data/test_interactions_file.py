"""Own interactions: the same values from every kind of source, and one error with file and line for bad input."""

from __future__ import annotations

import builtins
import gzip
from datetime import UTC, datetime

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

from tacit.core.values import DataError
from tacit.data.interactions_file import InteractionsFile, from_table

COLUMNS = {"customer": "who", "item": "what", "rating": "stars", "time": "when", "attributes": ("region",)}
ROWS = {
    "who": ["ann", "bob", "ann", "cid"],
    "what": [7, 7, 9, 8],
    "stars": [4.0, 3.5, 1.0, 5.0],
    "when": [30, 20, 10, 40],
    "region": ["north", "south", "north", None],
    "unused": ["x", "y", "z", None],
}
CSV = "who,what,stars,when,region,unused\nann,7,4,30,north,x\nbob,7,3.5,20,south,y\nann,9,1,10,north,z\ncid,8,5,40,,\n"


def parts(data):
    return {
        "customer": data.customer.tolist(),
        "item": data.item.tolist(),
        "rating": data.rating.tolist(),
        "time": None if data.time is None else data.time.tolist(),
        "sizes": (data.customers, data.items),
        "titles": data.titles,
        "attributes": {name: values.tolist() for name, values in data.attributes.items()},
        "order": data.order_known,
    }


EXPECTED = {
    "customer": [0, 1, 0, 2],
    "item": [0, 0, 1, 2],
    "rating": [4.0, 3.5, 1.0, 5.0],
    "time": [30, 20, 10, 40],
    "sizes": (3, 3),
    "titles": ("7", "9", "8"),
    "attributes": {"region": ["north", "south", "unknown"]},
    "order": True,
}


def write(folder, content: str | bytes, name="sales.csv"):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


@pytest.mark.parametrize("make", [pandas.DataFrame, polars.DataFrame, pyarrow.table])
def test_every_kind_of_table_gives_the_same_rows(make):
    assert parts(from_table(make(ROWS), **COLUMNS)) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", CSV.encode()),
        ("windows.csv", b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode()),
        ("packed.csv.gz", gzip.compress(CSV.encode())),
        ("semicolons.csv", CSV.replace(",", ";").encode()),
        ("tabs.tsv", CSV.replace(",", "\t").encode()),
        ("spaced.csv", CSV.replace(",", ", ").replace("\n", "\n\n").encode()),
        ("quoted.csv", CSV.replace("ann", '"ann"').encode()),
    ],
)
def test_every_kind_of_text_file_gives_the_same_rows(tmp_path, name, content):
    assert parts(InteractionsFile(write(tmp_path, content, name), **COLUMNS).load()) == EXPECTED


def test_a_parquet_file_gives_the_same_rows(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table(ROWS), tmp_path / "sales.parquet")
    assert parts(InteractionsFile(str(tmp_path / "sales.parquet"), **COLUMNS).load()) == EXPECTED


def test_dates_and_times_are_read_alike_from_text_and_tables(tmp_path):
    moments = [datetime(2024, 5, 31, 18, 0, 0, 250_000, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)]
    table = {"user_id": ["a", "b"], "item_id": ["x", "y"], "t": moments}
    text = "user_id,item_id,t\na,x,2024-05-31T20:00:00.250+02:00\nb,y,2024-06-01\n"
    expected = [1_717_178_400_250_000, 1_717_200_000_000_000]
    assert InteractionsFile(write(tmp_path, text), time="t").load().time.tolist() == expected
    for make in (pandas.DataFrame, polars.DataFrame, pyarrow.table):
        assert from_table(make(table), time="t").time.tolist() == expected


def test_categorical_keys_and_whole_floats_are_read_as_text():
    frame = pandas.DataFrame({"user_id": pandas.Categorical(["a", "b"]), "item_id": [7.0, 9.0]})
    assert from_table(frame).titles == ("7", "9")


def test_without_rating_and_time_every_rating_is_one_and_the_order_is_unknown():
    data = from_table(polars.DataFrame({"user_id": [1, 2], "item_id": [1, 1]}))
    assert data.rating.tolist() == [1.0, 1.0]
    assert data.time is None
    assert not data.order_known
    assert "order of a customer's rows is unknown" in data.note


def test_a_file_is_looked_for_in_the_folders(tmp_path):
    write(tmp_path, CSV)
    assert InteractionsFile("sales.csv", **COLUMNS).load((tmp_path,)).name == "sales.csv"
    with pytest.raises(DataError, match=r"'absent.csv' was not found. Looked for: absent.csv, .*absent.csv"):
        InteractionsFile("absent.csv").load((tmp_path,))
    with pytest.raises(DataError, match="needs the name of a file"):
        InteractionsFile().load((tmp_path,))


SECRET = "secret-key-9"  # a customer's key must appear in no message
GOOD = f"user_id,item_id,stars,when,region\n{SECRET},i1,5,10,north\nu2,i1,4,11,south\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            f"{SECRET},i2,many,12,north",
            r"sales.csv, line 4: the rating in column 'stars' 'many' is not a usable number",
        ),
        (f"{SECRET},i2,,12,north", r"sales.csv, line 4: the rating in column 'stars' is empty"),
        (f"{SECRET},i2,nan,12,north", r"sales.csv, line 4: the rating in column 'stars' 'nan' is not a usable number"),
        (f"{SECRET},i2,1e300,12,north", r"sales.csv, line 4: .* '1e300' is not a usable number"),
        (f"{SECRET},i2,3,noon,north", r"sales.csv, line 4: the time in column 'when' 'noon' cannot be read"),
        (f"{SECRET},i2,3,12.5,north", r"sales.csv, line 4: the time in column 'when' '12.5' cannot be read"),
        (f"{SECRET},i2,3,2024-01-01,north", r"sales.csv, line 4: .*one kind in the whole column"),
        (f"{SECRET},i2,3,{10**30},north", r"sales.csv, line 4: the time in column 'when' '1000.* cannot be read"),
        (f"{SECRET},i2,3,,north", r"sales.csv, line 4: the time in column 'when' is empty"),
        (f"{SECRET},i1,3,12,north", r"sales.csv, line 4: the same customer and item as in line 2. Keep one"),
        (f"{SECRET},i2,3,12,north,6", r"sales.csv, line 4: 5 fields were needed, got 6"),
        (f"{SECRET},i2", r"sales.csv, line 4: 5 fields were needed, got 2"),
        (",i2,3,12,north", r"sales.csv, line 4: the customer in column 'user_id' is empty"),
        (f"{SECRET},,3,12,north", r"sales.csv, line 4: the item in column 'item_id' is empty"),
        (f"{SECRET},i2,3,12,east", r"sales.csv, line 4: attribute 'region' differs from the same customer's in line 2"),
        (f'{SECRET},"i2,3,12,north', r"sales.csv, line 4: not a readable row"),
    ],
)
def test_a_bad_line_is_named_and_no_key_is_shown(tmp_path, line, message):
    path = write(tmp_path, GOOD + line + "\n")
    with pytest.raises(DataError, match=message) as caught:
        InteractionsFile(path, rating="stars", time="when", attributes=("region",)).load()
    assert SECRET not in str(caught.value)


def test_lines_are_counted_as_an_editor_does(tmp_path):
    text = 'user_id,item_id,stars\n\n"a\nb",i1,5\n\nu2,i1,bad\n'  # a blank line, then a key over two lines
    with pytest.raises(DataError, match="line 6: the rating"):
        InteractionsFile(write(tmp_path, text), rating="stars").load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "sales.csv: the file is empty"),
        ("\n\n", "sales.csv: the file is empty"),
        ("user_id,item_id\n", "sales.csv: the file has a header but no rows"),
        ("userid,item_id\na,b\n", r"there is no column 'user_id' for the customer. Did you mean 'userid'\?"),
        ("user_id,Item ID\na,b\n", r"there is no column 'item_id' for the item. Did you mean 'Item ID'\?"),
        ("colour,shade\na,b\n", "None of its 2 columns is named alike"),
        ("196,242\n186,302\n", "first line must hold the names of the columns, but it holds numbers"),
        ("user_id,user_id\na,b\n", "line 1: .* a name appears twice"),
        ("user_id,\na,b\n", "line 1: .* a name is empty"),
        (b"user_id,item_id\nann,tea\nren\xe9,mug\n", "sales.csv, line 3: not UTF-8 text. Save the file with UTF-8"),
        ("user_id,item_id\na,b\n".encode("utf-16"), "sales.csv, line 1: not UTF-8 text"),
    ],
)
def test_a_bad_file_is_refused_as_a_whole(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        InteractionsFile(write(tmp_path, content)).load()


def test_a_damaged_archive_and_a_folder_are_refused(tmp_path):
    path = write(tmp_path, gzip.compress(CSV.encode() * 50)[:-20], "cut.csv.gz")
    with pytest.raises(DataError, match="damaged or cut short"):
        InteractionsFile(path, "who", "what").load()
    path = write(tmp_path, b"no archive", "false.csv.gz")
    with pytest.raises(DataError, match="damaged or cut short"):
        InteractionsFile(path, "who", "what").load()
    with pytest.raises(DataError, match="was not found"):
        InteractionsFile(str(tmp_path)).load()


def test_a_bad_parquet_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a readable parquet file"):
        InteractionsFile(write(tmp_path, "PAR1 but no more", "bad.parquet")).load()
    pyarrow.parquet.write_table(pyarrow.table({"userid": [1], "item_id": [1]}), tmp_path / "named.parquet")
    with pytest.raises(DataError, match=r"named.parquet: .* Did you mean 'userid'\?"):
        InteractionsFile(str(tmp_path / "named.parquet")).load()
    pyarrow.parquet.write_table(pyarrow.table({"a": [1], "b": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="named alike"):
        InteractionsFile(str(tmp_path / "other.parquet")).load()
    table = pyarrow.table({"user_id": [1, 2], "item_id": [1, None]})
    pyarrow.parquet.write_table(table, tmp_path / "gap.parquet")
    with pytest.raises(DataError, match=r"gap.parquet, row 2: the item in column 'item_id' is empty"):
        InteractionsFile(str(tmp_path / "gap.parquet")).load()


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    genuine = builtins.__import__

    def without(name, *arguments, **more):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return genuine(name, *arguments, **more)

    path = write(tmp_path, "PAR1", "any.parquet")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"pip install 'tacit\[parquet\]'"):
        InteractionsFile(path).load()


@pytest.mark.parametrize("make", [pandas.DataFrame, polars.DataFrame, pyarrow.table])
def test_a_bad_row_of_a_table_is_named(make):
    ids = {"user_id": [SECRET, "u2"], "item_id": ["a", "b"]}
    for rating, message in (([4.0, None], "is empty"), ([4.0, float("inf")], "inf is not a usable number")):
        with pytest.raises(DataError, match=f"the table, row 2: the rating in column 'stars' {message}"):
            from_table(make({**ids, "stars": rating}), rating="stars")
    with pytest.raises(DataError, match="the table, row 2: the customer in column 'user_id' is empty") as caught:
        from_table(make({"user_id": [SECRET, None], "item_id": ["a", "b"]}))
    assert SECRET not in str(caught.value)
    with pytest.raises(DataError, match="the table is empty"):
        from_table(make({"user_id": [], "item_id": []}))


def test_what_is_no_table_is_refused():
    with pytest.raises(DataError, match="pandas, polars or pyarrow table was needed, got list"):
        from_table([1, 2])
    with pytest.raises(DataError, match="Collect a lazy table first"):
        from_table(polars.LazyFrame({"user_id": [1], "item_id": [1]}))
    twice = pandas.DataFrame([[1, 2, 3]], columns=["user_id", "item_id", "item_id"])
    with pytest.raises(DataError, match="two columns have the same name"):
        from_table(twice)


def test_arrays_have_the_types_that_the_waist_states():
    users = np.arange(20_000) % 5_000
    data = from_table(polars.DataFrame({"user_id": users, "item_id": np.arange(20_000)}))
    assert (data.customer.dtype, data.item.dtype, data.rating.dtype) == (np.int32, np.int32, np.float32)
    assert (data.customers, data.items) == (5_000, 20_000)
