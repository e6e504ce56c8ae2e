"""Adult and heart-disease: counts as their publishers and FLamby state them."""

from __future__ import annotations

import pytest

from tacit.core.values import DataError
from tacit.data.adult import Adult
from tacit.data.heart_disease import HeartDisease


def counts(values):
    return {str(value): int((values == value).sum()) for value in set(values.tolist())}


def test_adult_has_the_published_counts(adult):
    assert len(adult) == 48_842
    assert counts(adult.split) == {"0": 32_561, "1": 16_281}
    assert int(adult.y[adult.split == 0].sum()) == 7_841
    assert round(100 * float(adult.y.mean()), 2) == 23.93
    assert counts(adult.sensitive["sex"]) == {"Male": 32_650, "Female": 16_192}
    assert counts(adult.sensitive["race"]) == {
        "White": 41_762,
        "Black": 4_685,
        "Asian-Pac-Islander": 1_519,
        "Amer-Indian-Eskimo": 470,
        "Other": 406,
    }
    men = adult.sensitive["sex"] == "Male"
    assert round(100 * float(adult.y[men].mean()), 1) == 30.4
    assert round(100 * float(adult.y[~men].mean()), 1) == 10.9


def test_adult_encodes_six_numbers_and_every_public_level(adult):
    assert adult.x.shape == (48_842, 6 + 102)
    assert set(adult.institution) == {""}
    unknown = [index for index, name in enumerate(adult.names) if name.endswith("=?")]
    assert [adult.names[index] for index in unknown] == ["workclass=?", "occupation=?", "native-country=?"]
    assert int((adult.x[:, unknown].sum(1) > 0).sum()) == 3_620
    assert (adult.x[:, 6:].sum(1) == 8).all()


def test_heart_disease_has_the_patients_that_flamby_has(heart_disease):
    assert counts(heart_disease.institution) == {"cleveland": 303, "hungarian": 261, "switzerland": 46, "va": 130}
    assert heart_disease.x.shape == (740, 15)
    assert heart_disease.names[:2] == ("age", "sex")
    assert counts(heart_disease.sensitive["sex"]) == {"male": 566, "female": 174}
    assert set(heart_disease.sensitive) == {"sex", "age_band"}
    cleveland = heart_disease.institution == "cleveland"
    assert round(100 * float(heart_disease.y[cleveland].mean()), 1) == 45.9
    assert (heart_disease.x[:, 8:12].sum(1) == 1).all()
    assert (heart_disease.x[:, 12:].sum(1) == 1).all()


@pytest.mark.parametrize(("source", "file"), [(Adult(), "adult.data"), (HeartDisease(), "processed.va.data")])
def test_an_absent_set_is_refused_with_every_place(tmp_path, source, file):
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError) as caught:
        source.load((tmp_path / "a", tmp_path / "b"))
    message = str(caught.value)
    assert str(tmp_path / "a") in message
    assert str(tmp_path / "b") in message
    assert "https://archive.ics.uci.edu" in message
    (tmp_path / "b" / file).write_text("")
    with pytest.raises(DataError, match=r"b \(without "):
        source.load((tmp_path / "b",))


def test_a_bad_line_of_adult_is_named(tmp_path):
    row = "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Unmarried, White, Male, 1, 0, 40, ?, <=50K"
    (tmp_path / "adult.data").write_text(f"{row}\n{row}\n\n")
    (tmp_path / "adult.test").write_text(f"|1x3 Cross validator\n{row}.\n{row.replace('Bachelors', 'Bachelor')}.\n")
    with pytest.raises(
        DataError, match=r"adult.test, line 3: column 'education' holds a value that is not among its 16"
    ):
        Adult().load((tmp_path,))
    (tmp_path / "adult.test").write_text(f"|1x3 Cross validator\n{row}.\n")
    assert Adult().load((tmp_path,)).split.tolist() == [0, 0, 1]
