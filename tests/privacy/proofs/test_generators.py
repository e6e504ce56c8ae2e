"""Generators on disk: what their digests say or nothing, whole files or none, and no folder is needed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tacit.core.values import VerificationError
from tacit.privacy.proofs import generators as kept
from tacit.privacy.proofs.group import library

FILE = "tacit/generators-1-00.points"


def forget() -> None:
    for cached in (kept._block, kept._chunk, kept._stored):
        cached.cache_clear()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The first file, hashed here."""
    forget()
    points = [point for number in range(kept.CHUNK // 64) for point in kept._block("vector", number)]
    return b"".join(bytes(point.to_xy_bytes_le()) for point in points)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    yield tmp_path
    forget()


def test_generators_from_the_disk_are_those_that_are_hashed(cache: Path, data: bytes) -> None:
    hashed = library().G1Point.hash_to_curve
    points = kept.generators("vector", 1500)
    assert points[:3] == [hashed(f"vector {n}".encode(), kept._SUITE) for n in range(3)]
    assert (cache / FILE).read_bytes() == data
    assert [it.name for it in (cache / "tacit").iterdir()] == ["generators-1-00.points"]
    forget()
    assert kept.generators("vector", 4096)[:1500] == points
    assert kept._block.cache_info().misses == 0
    assert kept.generators("vector", 7) == points[:7] and kept._block.cache_info().misses == 0


def test_few_generators_fill_no_file(cache: Path) -> None:
    assert len(kept.generators("vector", 100)) == 100 and len(kept.generators("wide", 132)) == 132
    assert not (cache / FILE).exists()


@pytest.mark.parametrize("damage", ["a flipped bit", "cut off", "longer", "empty", "other points", "a folder"])
def test_a_damaged_or_forged_file_of_generators_is_not_used(cache: Path, data: bytes, damage: str) -> None:
    """Other points, with relations that somebody knows, would break every commitment."""
    path = cache / FILE
    path.parent.mkdir()
    flipped = bytes([data[0] ^ 1]) + data[1:]
    swapped = data[96:192] + data[:96] + data[192:]
    found = {"a flipped bit": flipped, "cut off": data[:-1], "longer": data + b"\0", "other points": swapped}
    if damage == "a folder":
        path.mkdir()
    else:
        path.write_bytes(found.get(damage, b""))
    assert kept._stored(0) is None
    blocks = kept.generators("vector", 64)
    assert blocks == list(kept._block("vector", 0))
    kept._store(0, data)
    assert damage == "a folder" or path.read_bytes() == data
    assert len(list(path.parent.iterdir())) == 1, "nothing half written is left"


@pytest.mark.parametrize("where", ["read-only", "a file", "relative", "nowhere"])
def test_without_a_folder_that_can_be_written_to_generators_are_hashed_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "nowhere" if where in ("relative", "nowhere") else str(tmp_path))
    place = tmp_path / "cache"
    if where == "read-only":
        place.mkdir(mode=0o500)
        if os.geteuid() == 0:  # who may do everything: a folder in which nobody can write
            place = Path("/proc/self")
    elif where == "a file":
        place.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", {"relative": "cache", "nowhere": ""}.get(where, str(place)))
    forget()
    kept._store(0, data)
    assert kept._stored(0) is None
    assert not list(tmp_path.rglob("*.points"))
    forget()


def test_a_library_that_hashes_to_other_points_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = library().G1Point.hash_to_curve(b"one", b"other suite")
    with monkeypatch.context() as patch:
        patch.setattr(kept, "_block", lambda kind, number: (one,) * 64)
        with pytest.raises(VerificationError, match=r"other points.*0\.5"):
            kept._chunk(0)
    assert not (cache / FILE).exists()


def test_processes_that_write_at_the_same_time_leave_one_whole_file(cache: Path, data: bytes) -> None:
    code = (
        "import sys; from pathlib import Path; from tacit.privacy.proofs import generators as kept\n"
        "data = Path(sys.argv[1]).read_bytes()\n"
        "for _ in range(20):\n"
        "    kept._store(0, data); kept._stored.cache_clear(); assert kept._stored(0) is not None\n"
    )
    source = cache / "source"
    source.write_bytes(data)
    running = [subprocess.Popen([sys.executable, "-c", code, str(source)]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert [it.name for it in (cache / "tacit").iterdir()] == ["generators-1-00.points"]
    assert (cache / FILE).read_bytes() == data


@pytest.mark.slow
def test_the_digest_of_every_file_is_that_of_hashed_points() -> None:
    hashed = library().G1Point.hash_to_curve
    assert len(kept._DIGESTS) == kept.LONGEST // kept.CHUNK
    for number, digest in enumerate(kept._DIGESTS):
        first = number * kept.CHUNK
        points = (hashed(f"vector {n}".encode(), kept._SUITE) for n in range(first, first + kept.CHUNK))
        assert hashlib.sha256(b"".join(bytes(it.to_xy_bytes_le()) for it in points)).hexdigest() == digest
