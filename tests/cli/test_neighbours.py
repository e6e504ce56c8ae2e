"""The table of neighbours and thresholds on the command line."""

from __future__ import annotations

import json

import pytest

from tacit.cli.main import main
from tacit.cli.neighbours import table
from tacit.privacy.secure_sum.sum import SecAgg


def test_the_command_prints_the_shape_that_the_secure_sum_uses(capsys):
    assert (
        main(["privacy", "neighbours", "--clients", "1000", "--dropout", "0.33", "--colluding", "0.1", "--json"]) == 0
    )
    said = json.loads(capsys.readouterr().out)
    for row in said["rows"]:
        rules = SecAgg(dropout=0.33, colluding=0.1, against=row["against"])
        assert (row["neighbours"], row["threshold"]) == rules.shape(1000)
    assert [row["neighbours"] for row in said["rows"]] == [110, 576]
    assert (said["secrecy"], said["correctness"]) == (40, 30)


def test_the_printed_table_names_both_servers_and_marks_the_complete_graph(capsys):
    assert main(["privacy", "neighbours", "--clients", "20", "300"]) == 0
    out = capsys.readouterr().out
    assert "semi-honest" in out and "malicious" in out and "19 (all)" in out and "2^-40" in out
    assert "34" in out and "(all)" not in next(line for line in out.splitlines() if line.split()[:1] == ["300"])


def test_where_secrecy_leaves_no_room_for_dropouts_the_table_says_so(capsys):
    rows = table((4,), 0.3, 0.3)
    assert any(not row["survives"] for row in rows)
    assert main(["privacy", "neighbours", "--clients", "4", "--dropout", "0.3", "--colluding", "0.3"]) == 0
    assert "secrecy comes first" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--clients", "1"], ["--dropout", "0.9", "--colluding", "0.1"], ["--secrecy", "0"]])
def test_numbers_without_a_meaning_are_refused_in_words(wrong, capsys):
    assert main(["privacy", "neighbours", *wrong]) == 1
    assert capsys.readouterr().err.startswith("tacit: ")
