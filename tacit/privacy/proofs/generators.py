"""The generators of commitments: hashes to the curve of public text, kept on disk since hashing them takes seconds.

RFC 9380, random-oracle suite, so nobody knows a relation between them. Hashing costs 0.3 to 0.5 ms of CPU for each;
reading one that was hashed before, a microsecond.

The file is public, and nobody needs to trust it: what it must hold is fixed by the digests below, which anybody can
compute again (a test does). A file that holds anything else is not used, and is written again.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import tempfile
from functools import lru_cache
from pathlib import Path

from tacit.core.values import VerificationError
from tacit.privacy.proofs.group import Point, library

LONGEST = 2**17  # generators of coordinates
CHUNK = 4096  # of them in a file
_SUITE = b"TACIT-PROOFS-V1-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
_BLOCK = 64
_FEW = 1024  # up to so many are hashed without filling a file
_BYTES = 96  # of a point with both coordinates: three times as fast to read as a compressed one is to open
_DIGESTS = (  # SHA-256 of the generators of coordinates, in chunks
    "4f9a0251575d5eb154bedcfc00c6dab5157ac6ba4938fbe2196f183165f2edef",
    "69a7034c40a5ffc81760a44c4295c29e5676b73db3df32d43aca03c862142a35",
    "e36c498e892a855a4063681b8f40bea4d1894c12e29886011c672bca8d15130d",
    "b64122dbcc26ac66d53926a2418b86d372ffae1adb90cb6af79b9837d733e42c",
    "89c63141e67690c403af50f21fa7207780571aede1ca695a73bdbbbccf2012ae",
    "a2fa8a46dea3d4d5ac7fd197d337b2ee97ef6bfb679399ffad974b398f674ca2",
    "6efd70dbd372ef36b3f19fafe3b5ff24902a45c561a58349a2cf4d3e0dced205",
    "895ab3798d02918271c6b1c17b1dcf69cf4801566e4c80db27e51ea7654d127a",
    "b2d2637f2c85028eb4ec81f692548e320b5d82e98be46abd6ba93b9f8fcdc7e1",
    "17d20decfc3c66c93ae8849454e560c34ff58dd1bcdfde3cb8334e5dc52f9e18",
    "230ed0e840c6c58cfc7931ac58ccd39e031c2aca7b8775b54e90192af1ef6ee1",
    "9396f30d91e5cbdf70d1869be92ca0a3269583e7708b941e20a56d9a8b44f419",
    "8bb9d277ff0bdb776dfd2ede125f7b3fb567f7340139436f0585677243f1f9aa",
    "599f79a043e5fc05d27ee744b52f6caa37cbfd31235795973739da36fae94a45",
    "42e3dc660f8c1cc0513a5689786dd814a9d9476db5b6d7276d3511cf5a0fc114",
    "1cb3b2fdc273efce08403ca03c9aec9d25de24120cf0507be9b59ba5ab9135fd",
    "0886dd150f0a7516789a28add432b0c43ff7d47b7f5df23de47e9b03518d5c86",
    "530b06ff565180bcd837af2375b5301b020a8a317c0699893e6f9159b771a238",
    "804cfec383c613c2405ca51720bef62e28e5f972382d65eb50bef9a6e4aa456d",
    "6b5329208d961ba04b1f3309796cdb2eba987a5482645e93ba811b482df9fca0",
    "2afc46a511d5ea7723fcc7ca79e96a7db9aa584a8137c5f29fdc724a4223d3f4",
    "ba6cc53382d3c45e4e45b884a1e0a9dd94609c902d93ad5229fc375bf433fb05",
    "754d05360c07e0e92c79e3730b63ae4c75cc273005782fd0b000b076575dee4f",
    "44fea73267169d220dddaacddf33b884527e4c71cb9c3db5d7847b94ae254b9e",
    "99e7ae4ac64e1d8470f2d5adfa522856125d8982f729872482afbdc5db008d53",
    "d116582805a243b688ba73a58627975484116d04f097619a68a3c5eedaff9d9e",
    "116512ff76291d8247b8095e00b1296829b45c5837d47ebe765a9d31d64afe3b",
    "8cacdbde05b8951349092362cafc00a7dd0b95c1471b9674128009656abeb8da",
    "a469bbbaab97a2a4338277b17e620b3049a816f3847d70bb592f1e6d068654c3",
    "17794ab0924e0fdb67faf8855e17bd1e7d25fa897ed8a91ca4c9728f909024cb",
    "9defe0b06520e6073e8656600bdaf55735618fac82eba9b663db3aa2cce71ade",
    "a0507a586585ee4afc04212d492a68941c69a55dfdbb82a151533dab3cb88774",
)


@lru_cache(maxsize=256)
def _block(kind: str, number: int) -> tuple[Point, ...]:
    hashed = library().G1Point.hash_to_curve
    first = number * _BLOCK
    return tuple(hashed(f"{kind} {index}".encode(), _SUITE) for index in range(first, first + _BLOCK))


@lru_cache(maxsize=LONGEST // CHUNK)
def _chunk(number: int) -> tuple[Point, ...]:
    """(CHUNK,) generators of coordinates, from the disk if they are there; else they are hashed and put there.

    Raises:
        VerificationError: the library hashes to other points than RFC 9380 says.
    """
    if (found := _stored(number)) is not None:
        return found
    blocks = range(number * CHUNK // _BLOCK, (number + 1) * CHUNK // _BLOCK)
    points = tuple(point for block in blocks for point in _block("vector", block))
    data = b"".join(bytes(point.to_xy_bytes_le()) for point in points)
    if not _right(number, data):
        raise VerificationError(
            "py_arkworks_bls12381 hashes to other points than those of this version of tacit: install version 0.5"
        )
    _store(number, data)
    return points


def folder() -> Path | None:
    """Where generators are kept: `tacit` in the user's cache folder (XDG_CACHE_HOME, else ~/.cache), or nowhere."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given / "tacit"
    home = Path(os.path.expanduser("~"))
    return home / ".cache" / "tacit" if home.is_absolute() else None


def _right(number: int, data: bytes) -> bool:
    return hmac.compare_digest(hashlib.sha256(data).hexdigest(), _DIGESTS[number])


def _name(number: int) -> str:
    return f"generators-1-{number:02d}.points"


@lru_cache(maxsize=LONGEST // CHUNK)
def _stored(number: int) -> tuple[Point, ...] | None:
    where = folder()
    try:
        data = b"" if where is None else (where / _name(number)).read_bytes()
    except OSError:
        return None
    if not _right(number, data):
        return None
    read = library().G1Point.from_xy_bytes_unchecked_le  # the digest says that they are in the subgroup
    return tuple(read(data[low : low + _BYTES]) for low in range(0, len(data), _BYTES))


def _store(number: int, data: bytes) -> None:
    """Put a whole file in place at once, or none where the folder cannot be written to."""
    where = folder()
    if where is None:
        return
    fresh = ""
    try:
        where.mkdir(parents=True, exist_ok=True)
        handle, fresh = tempfile.mkstemp(dir=where, prefix=".generators-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(fresh, where / _name(number))
    except OSError:  # read-only, full, or no folder at all: hashed again next time
        if fresh:
            Path(fresh).unlink(missing_ok=True)


def generators(kind: str, count: int) -> list[Point]:
    """The first `count` generators of this kind; more of them begin with the same ones.

    Guarantees:
        generators from the disk are those that are hashed.
        a damaged or forged file of generators is not used.

    Args:
        kind: "vector" for coordinates, at most LONGEST of them; any other name for a few.
        count: how many.
    """
    if kind == "vector" and (count > _FEW or _stored(0) is not None):
        chunks = [_chunk(number) for number in range(-(-count // CHUNK))]
        return [point for chunk in chunks for point in chunk][:count]
    blocks = [_block(kind, number) for number in range(-(-count // _BLOCK))]
    return [point for block in blocks for point in block][:count]


@lru_cache(maxsize=8)
def blind() -> Point:
    """The generator of blinding factors."""
    return library().G1Point.hash_to_curve(b"blind", _SUITE)
