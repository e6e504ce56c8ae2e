"""MovieLens 100K in its original layout: 100,000 ratings with times by 943 persons on 1,682 films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tacit.core.values import DataError
from tacit.data import movielens
from tacit.data.interactions import Interactions
from tacit.data.locate import locate, need
from tacit.data.whole_numbers import read_bytes, whole_numbers

NAME = "movielens-100k"
FILES = ("u.data", "u.user", "u.item", "u.genre")
_BLOB = "16ef21ed827cae1a3f71e89e23cffb5a8f44baae"


@dataclass(frozen=True, slots=True)
class MovieLens100K:
    """Ratings 1 to 5; customer attributes gender, age_band, region, occupation; 19 genres as categories."""

    verify: bool = True  # refuse a u.data that is not the published file

    @property
    def gives(self) -> Literal["interactions", "tabular"]:
        """The kind of data it loads."""
        return "interactions"

    def load(self, folders: Sequence[Path]) -> Interactions:
        """Read u.data, u.user, u.item and u.genre.

        Raises:
            DataError: the files are not in any of the folders, or a line cannot be used.
        """
        advice = f"Get it with `tacit data get {NAME}`, or name its folder with --data."
        place = locate(NAME, ("ml-100k", "movielens_100k"), FILES, folders, advice)
        path = need(place, "u.data")
        raw = read_bytes(path)
        if self.verify:
            movielens.check_published(raw, path, _BLOB, NAME)
        rows = whole_numbers(raw, path.name, 4, b"\t")
        users = movielens.lines(need(place, "u.user"), "|", 5)
        genres = [name for name, _ in movielens.lines(need(place, "u.genre"), "|", 2)]
        items = movielens.lines(need(place, "u.item"), "|", 5 + len(genres))
        known_users = _numbered([user[0] for user in users], "u.user")
        known_items = _numbered([item[0] for item in items], "u.item")
        flags = np.array([item[5:] for item in items])
        return Interactions(
            name=NAME,
            customer=movielens.dense(rows[:, 0], known_users, "user", path.name),
            item=movielens.dense(rows[:, 1], known_items, "item", path.name),
            rating=rows[:, 2].astype(np.float32),
            time=rows[:, 3].copy(),
            customers=len(users),
            items=len(items),
            attributes={
                "gender": movielens.genders([user[2] for user in users], "u.user"),
                "age_band": movielens.age_bands(movielens.numbers([user[1] for user in users], "u.user", "age")),
                "region": movielens.regions([user[4] for user in users]),
                "occupation": np.array([user[3] for user in users]),
            },
            titles=tuple(item[1] for item in items),
            categories={genre: flags[:, column] == "1" for column, genre in enumerate(genres)},
            order_known=True,
            note=f"MovieLens 100K: {len(rows):,} ratings of {len(users):,} persons, with times",
        )


def _numbered(ids: Sequence[str], place: str) -> np.ndarray:
    numbers = movielens.numbers(ids, place, "id")
    if np.any(np.diff(numbers) <= 0):
        raise DataError(f"{place}, line {int(np.argmax(np.diff(numbers) <= 0)) + 2}: ids must rise from line to line")
    return numbers
