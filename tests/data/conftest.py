"""The public sets, read once; a test that needs an absent one skips with its name, except under CI."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tacit.core.values import DataError
from tacit.data.adult import Adult
from tacit.data.folders import folders
from tacit.data.heart_disease import HeartDisease
from tacit.data.interactions import Interactions
from tacit.data.movielens_1m import MovieLens1M
from tacit.data.movielens_100k import MovieLens100K
from tacit.data.tabular import Tabular


def _load(load: Callable[..., object], name: str) -> object:
    try:
        return load(folders())
    except DataError as error:
        if "was not found" not in str(error):
            raise
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"{name} is needed under CI: {error}")
        pytest.skip(f"needs the set {name} (set TACIT_DATA)")


@pytest.fixture(scope="session")
def movielens_100k() -> Interactions:
    return _load(MovieLens100K().load, "movielens-100k")


@pytest.fixture(scope="session")
def movielens_1m() -> Interactions:
    return _load(MovieLens1M().load, "movielens-1m")


@pytest.fixture(scope="session")
def adult() -> Tabular:
    return _load(Adult().load, "adult")


@pytest.fixture(scope="session")
def heart_disease() -> Tabular:
    return _load(HeartDisease().load, "heart-disease")
