"""Fetching MovieLens from GroupLens, when a user asks for it: checked before unpacking, and all or nothing."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from urllib.request import urlopen

from tacit.core.values import DataError

Opener = Callable[..., Any]  # like urllib.request.urlopen: (url, timeout=seconds) -> a response to read in a `with`
TIMEOUT_SECONDS = 60
MOST_BYTES = 256 * 2**20  # unpacked; MovieLens 1M is 25 MB


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip file on the web, and what it must hold."""

    url: str
    bytes: int  # no more than this are read
    md5: str  # as the publisher states it beside the archive
    sha256: str
    top: str  # the folder inside the archive
    files: tuple[str, ...]  # what the set cannot do without


_TERMS = """\
{title} comes from GroupLens Research, University of Minnesota ({page}).
Its terms, in short; the README in the archive holds them in full and is what counts:
- for research purposes;
- do not state or imply that the University of Minnesota or GroupLens endorses you;
- acknowledge the data set in publications that use it:
  F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), Article 19, 2015;
- do not redistribute the data without separate permission;
- no commercial or revenue-bearing use without first obtaining permission from a faculty member of GroupLens.
"""
TERMS: Mapping[str, str] = MappingProxyType(
    {
        "movielens-100k": _TERMS.format(title="MovieLens 100K", page="https://grouplens.org/datasets/movielens/100k/"),
        "movielens-1m": _TERMS.format(title="MovieLens 1M", page="https://grouplens.org/datasets/movielens/1m/"),
    }
)
ARCHIVES: Mapping[str, Archive] = MappingProxyType(
    {
        "movielens-100k": Archive(
            url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
            bytes=4_924_029,
            md5="0e33842e24a9c977be4e0107933c0723",
            sha256="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            top="ml-100k",
            files=("u.data", "u.user", "u.item", "u.genre"),
        ),
        "movielens-1m": Archive(
            url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
            bytes=8 * 2**20,
            md5="c4d9eecfca2ab87c1945afe126590906",
            sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
            top="ml-1m",
            files=("ratings.dat", "users.dat", "movies.dat"),
        ),
    }
)


def get(name: str, folder: Path, opener: Opener = urlopen) -> Path:
    """Download a set into a subfolder of `folder` named after it, and return that; nothing is printed.

    Show `TERMS[name]` to the user first. A set that is there already is not fetched again.

    Raises:
        DataError: an unknown name, no connection, another file than the published one, or a folder in the way.
    """
    if name not in ARCHIVES:
        raise DataError(f"{name!r} cannot be downloaded; known: {', '.join(ARCHIVES)}")
    return fetch(ARCHIVES[name], folder / name, opener)


def fetch(archive: Archive, target: Path, opener: Opener = urlopen) -> Path:
    """Download and check an archive, unpack it beside `target`, then move it there in one step.

    Raises:
        DataError: as for `get`.
    """
    if target.exists():
        if all((target / file).is_file() for file in archive.files):
            return target
        if not target.is_dir() or any(target.iterdir()):
            raise DataError(f"{target} is in the way and does not hold {', '.join(archive.files)}. Move it elsewhere.")
    raw = _download(archive, opener)
    _verify(archive, raw)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
            _unpack(archive, raw, Path(temporary) / "set")
            os.replace(Path(temporary) / "set", target)  # an empty folder may be replaced, a full one never
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror})") from None
    return target


def _download(archive: Archive, opener: Opener) -> bytes:
    if not archive.url.startswith("https://"):
        raise DataError(f"{archive.url}: only https is used")
    try:
        with opener(archive.url, timeout=TIMEOUT_SECONDS) as response:
            if not response.geturl().startswith("https://"):
                raise DataError(f"{archive.url} leads to an address without https, which is not followed")
            raw: bytes = response.read(archive.bytes + 1)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"{archive.url} cannot be reached ({error}). Check the connection, or download it by hand and unpack it "
            f"into a folder named {archive.top}."
        ) from None
    return raw


def _verify(archive: Archive, raw: bytes) -> None:
    if len(raw) > archive.bytes:
        raise DataError(f"{archive.url} is longer than the {archive.bytes:,} bytes it may have; nothing was unpacked")
    for algorithm, expected in (("md5", archive.md5), ("sha256", archive.sha256)):
        found = hashlib.new(algorithm, raw, usedforsecurity=algorithm != "md5").hexdigest()
        if not hmac.compare_digest(found, expected):
            raise DataError(
                f"{archive.url} is not the published file: {algorithm} {expected} was needed, found {found}. "
                "Nothing was unpacked. Try again later; if it stays so, the publisher has changed the file."
            )


def _unpack(archive: Archive, raw: bytes, target: Path) -> None:
    """Unpack plain files under the archive's top folder; anything that would land elsewhere refuses the whole."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            members = [member for member in file.infolist() if not member.is_dir()]
            if sum(member.file_size for member in members) > MOST_BYTES:
                raise DataError(f"{archive.url} would unpack to more than {MOST_BYTES:,} bytes")
            for member in members:
                path = target / _inside(archive, member)
                path.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        raise DataError(f"{archive.url} is not a readable zip file") from None
    missing = [name for name in archive.files if not (target / name).is_file()]
    if missing:
        raise DataError(f"{archive.url} lacks {', '.join(missing)}")


def _inside(archive: Archive, member: zipfile.ZipInfo) -> PurePosixPath:
    """Where a member goes below the target."""
    path = PurePosixPath(member.filename)
    link = stat.S_ISLNK(member.external_attr >> 16)
    strange = "\\" in member.filename or ":" in member.filename or ".." in path.parts or path.is_absolute()
    if link or strange or len(path.parts) < 2 or path.parts[0] != archive.top:
        raise DataError(f"{archive.url} holds a member outside of {archive.top}/; nothing was unpacked")
    return PurePosixPath(*path.parts[1:])
