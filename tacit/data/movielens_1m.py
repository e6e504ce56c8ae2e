"""MovieLens 1M: 1,000,209 ratings by 6,040 persons on 3,706 films, in its original layout or without times.

The published leave-one-out split beside it (loo-test.csv and loo-negatives.csv) is that of X. He, L. Liao, H. Zhang,
L. Nie, X. Hu and T.-S. Chua, Neural Collaborative Filtering, WWW 2017, https://arxiv.org/abs/1708.05031, with the
films' original ids: each person's last rating, and 99 films that this person did not rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tacit.core.values import Array, DataError
from tacit.data import movielens
from tacit.data.interactions import HeldOut, Interactions
from tacit.data.locate import locate, need, present
from tacit.data.whole_numbers import read_bytes, whole_numbers

NAME = "movielens-1m"
_BLOB = "77a7c4b150f588c23bb9e1f068aa996c0b413695"
_GENUINE, _TIMELESS = "ratings.dat", "ratings-no-timestamp.csv"
OCCUPATIONS = (  # by code, as the set's README names them
    "other or not specified",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)


@dataclass(frozen=True, slots=True)
class MovieLens1M:
    """Ratings 1 to 5; customer attributes gender, age_band, region, occupation; 18 genres as categories."""

    verify: bool = True  # refuse a ratings.dat that is not the published file

    @property
    def gives(self) -> Literal["interactions", "tabular"]:
        """The kind of data it loads."""
        return "interactions"

    def load(self, folders: Sequence[Path]) -> Interactions:
        """Read ratings.dat, or else ratings-no-timestamp.csv; users.dat, movies.dat, and the published split if there.

        Raises:
            DataError: the files are not in any of the folders, or a line cannot be used.
        """
        place, path = _find(folders)
        raw = read_bytes(path)
        genuine = path.name.startswith(_GENUINE)
        if genuine and self.verify:
            movielens.check_published(raw, path, _BLOB, NAME)
        rows = whole_numbers(raw, path.name, 4, b"::") if genuine else whole_numbers(raw, path.name, 3, b",", skip=1)
        users = movielens.lines(need(place, "users.dat"), "::", 5)
        user_ids = _sorted(movielens.numbers([user[0] for user in users], "users.dat", "id"), "users.dat")
        films = movielens.lines(need(place, "movies.dat"), "::", 3)
        film_ids = _sorted(movielens.numbers([film[0] for film in films], "movies.dat", "id"), "movies.dat")
        movielens.dense(rows[:, 1], film_ids, "film", path.name, first_line=1 if genuine else 2)
        rated = np.unique(rows[:, 1])
        shown = [films[index] for index in np.searchsorted(film_ids, rated)]
        held_out = _published(place, user_ids, rated)
        kinds = [set(film[2].split("|")) for film in shown]
        jobs = movielens.numbers([user[3] for user in users], "users.dat", "occupation")
        return Interactions(
            name=NAME,
            customer=movielens.dense(rows[:, 0], user_ids, "user", path.name, first_line=1 if genuine else 2),
            item=np.searchsorted(rated, rows[:, 1]).astype(np.int32),
            rating=rows[:, 2].astype(np.float32),
            time=rows[:, 3].copy() if genuine else None,
            customers=len(users),
            items=len(rated),
            attributes={
                "gender": movielens.genders([user[1] for user in users], "users.dat"),
                "age_band": movielens.age_bands(movielens.numbers([user[2] for user in users], "users.dat", "age")),
                "region": movielens.regions([user[4] for user in users]),
                "occupation": np.array(OCCUPATIONS)[np.clip(jobs, 0, len(OCCUPATIONS) - 1)],
            },
            titles=tuple(film[1] for film in shown),
            categories={kind: np.array([kind in film for film in kinds]) for kind in sorted(set().union(*kinds))},
            held_out=held_out,
            order_known=genuine,
            note=_note(len(rows), len(users), genuine, held_out),
        )


def _find(folders: Sequence[Path]) -> tuple[Path, Path]:
    """The set's folder, the first in order, and its ratings file: the genuine one, or the copy without times."""
    aliases, others = ("ml-1m", "movielens_1m"), ("users.dat", "movies.dat")
    advice = f"Get it with `tacit data get {NAME}`, or name its folder with --data."
    for folder in folders:
        for file in (_GENUINE, _TIMELESS):
            try:
                place = locate(NAME, aliases, (file, *others), (folder,), advice)
            except DataError:
                continue
            return place, need(place, file)
    place = locate(NAME, aliases, (_GENUINE, *others), folders, advice)  # refuses, with every place
    return place, need(place, _GENUINE)


def _sorted(ids: Array, place: str) -> Array:
    if np.any(np.diff(ids) <= 0):
        raise DataError(f"{place}, line {int(np.argmax(np.diff(ids) <= 0)) + 2}: ids must rise from line to line")
    return ids


def _published(place: Path, user_ids: Array, rated: Array) -> HeldOut | None:
    """The published split with dense numbers; None where its test file is absent."""
    path = present(place, "loo-test.csv")
    if path is None:
        return None
    rows = whole_numbers(read_bytes(path), path.name, 5, b",", skip=1)
    test = np.full(len(user_ids), -1, np.int32)
    test[movielens.dense(rows[:, 0], user_ids, "user", path.name, 2)] = movielens.dense(
        rows[:, 1], rated, "film", path.name, 2
    )
    path = present(place, "loo-negatives.csv")
    if path is None:
        return HeldOut(test, None)
    raw = read_bytes(path)
    width = raw.split(b"\n", 1)[0].count(b",") + 1
    rows = whole_numbers(raw, path.name, width, b",")
    order = movielens.dense(rows[:, 0], user_ids, "user", path.name)
    if not np.array_equal(np.sort(order), np.arange(len(user_ids))):
        raise DataError(f"{path.name}: one line for each of {len(user_ids)} users was needed, got {len(rows)}")
    negatives = np.empty((len(user_ids), width - 1), np.int32)
    flat = rows[:, 1:].ravel()
    places = np.minimum(np.searchsorted(rated, flat), len(rated) - 1)
    if len(strange := np.flatnonzero(rated[places] != flat)):
        raise DataError(f"{path.name}, line {int(strange[0]) // (width - 1) + 1}: unknown film")
    negatives[order] = places.reshape(len(rows), -1)
    return HeldOut(test, negatives)


def _note(rows: int, users: int, genuine: bool, held_out: HeldOut | None) -> str:
    times = "with times" if genuine else "without times, so the order of a person's ratings is unknown"
    note = f"MovieLens 1M: {rows:,} ratings of {users:,} persons, {times}"
    if held_out is None:
        return note
    note += "; each person's last rating is held out as published with NCF"
    if held_out.negatives is None:
        return note
    clashes = int(np.sum(held_out.negatives == held_out.test[:, None]))
    beside = f", {clashes} of which are the held-out one itself" if clashes else ""
    return f"{note}, with its {held_out.negatives.shape[1]} negatives{beside}"
