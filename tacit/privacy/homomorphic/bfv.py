"""Threshold BFV by OpenFHE (n of n), in worker processes of the Python that its wheel needs.

Needs a Python 3.10 with `openfhe` 1.6.1 (BSD-2-Clause): in `.venv-openfhe` beside our own environment, on the path,
among pyenv's versions, active or not, or named by TACIT_OPENFHE_PYTHON. Sums are exact mod 2^32 (`slots`); parameters
are OpenFHE's own choice for 128 bits. Against `threshold` it is the reviewed implementation; around it there is no
protocol against a server that lies (see docs/homomorphic.md).

A. Alexandru et al.: "General Functionality Multiparty Homomorphic Encryption" is how OpenFHE does it; noise flooding
on partial decryptions as in G. Asharov et al., EUROCRYPT 2012, https://eprint.iacr.org/2011/613.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError
from tacit.privacy.homomorphic import bfv_worker
from tacit.privacy.homomorphic.slots import count, pack, unpack

SETTING = "TACIT_OPENFHE_PYTHON"
WHEEL = "openfhe==1.6.1.0.22.4"
VERSION = "3.10"  # of Python, whose binary the wheel holds
_WHERE = r"\S*/\S*:l\.\d+:\w+\(\): "  # the place in its source, before what OpenFHE has to say
BESIDE = ".venv-openfhe"  # an environment beside the one that we run in


def candidates() -> list[str]:
    """Pythons that may have OpenFHE: the one that a setting names alone, or one beside ours, on the path, in pyenv."""
    if named := os.environ.get(SETTING):
        return [named]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    beside = Path(sys.prefix).parent / BESIDE / "bin" / "python"  # as `make openfhe` puts it
    found = [beside if beside.exists() else None, shutil.which(f"python{VERSION}"), shutil.which("python3")]
    inactive = sorted(root.glob(f"{VERSION}*/bin/python{VERSION}"), reverse=True)
    return list(dict.fromkeys([*(os.fspath(each) for each in found if each), *map(str, inactive)]))


@lru_cache(maxsize=4)
def _works(python: str) -> bool:
    try:
        code = "import numpy, openfhe; openfhe.CCParamsBFVRNS()"
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def find() -> str:
    """The Python that workers run in.

    Raises:
        PlanError: none has OpenFHE; says how to come by one.
    """
    tried = candidates()
    for python in tried:
        if _works(python):
            return python
    what = f"none of {tried} can import openfhe" if tried else f"no Python {VERSION} was found"
    raise PlanError(
        f"threshold BFV needs a Python {VERSION} with {WHEEL} and numpy, but {what}. Make one: `make openfhe`, or "
        f"`python{VERSION} -m venv he && he/bin/pip install {WHEEL} numpy`, and set {SETTING}=he/bin/python; or use "
        "ThresholdRLWE"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Hang up and wait; also when nobody holds the role any more."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class WorkerEnded(ProtocolError):
    """A worker process is gone, and what it held with it."""


class Role:
    """A worker process for one party or the server; close it, or use it in a `with`."""

    __slots__ = ("__weakref__", "_process")

    def __init__(self, python: str | None = None) -> None:
        path = os.fspath(Path(bfv_worker.__file__).resolve())
        environment = {
            "OMP_NUM_THREADS": "1",
            **{k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR")},
        }
        self._process = subprocess.Popen(  # noqa: S603
            [python or find(), "-I", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            pipesize=2**20,  # a ciphertext in one go, where pipes can be made so wide
        )
        weakref.finalize(self, _end, self._process)
        try:
            self._answer()
        except ProtocolError:
            self.close()
            raise

    def __repr__(self) -> str:
        return "Role(a worker process)"

    def __enter__(self) -> Role:
        return self

    def __exit__(self, *what: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; its share of the key goes with it."""
        _end(self._process)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def call(self, operation: str, *frames: bytes | memoryview) -> list[bytes]:
        """Have one operation of `bfv_worker.Role` done.

        Raises:
            ProtocolError: OpenFHE refuses it.
            WorkerEnded: the process has ended.
        """
        assert self._process.stdin is not None
        try:
            bfv_worker.write(self._process.stdin, [operation.encode(), *frames])
        except (OSError, ValueError):
            raise WorkerEnded(f"the worker process for OpenFHE ended before {operation!r}") from None
        return self._answer()

    def _answer(self) -> list[bytes]:
        assert self._process.stdout is not None
        try:
            frames = bfv_worker.read(self._process.stdout)
        except (ValueError, OSError) as error:
            raise WorkerEnded(f"the worker process for OpenFHE broke off: {error}") from None
        if not frames:
            self.close()
            raise WorkerEnded("the worker process for OpenFHE ended in the middle of its work")
        if frames[0] != b"ok":
            why = b" ".join(frames[1:]).decode(errors="replace")
            raise ProtocolError(f"OpenFHE refused: {re.sub(_WHERE, '', why)[:200]}")
        return frames[1:]

    def seconds(self) -> float:
        """CPU seconds of the process so far."""
        return float(self.call("time")[0])

    def encrypted(self, values: Array, slots: int, parties: int) -> Iterator[bytes]:
        """(d,) uint32 as ciphertexts of so many slots each, one at a time, for a sum over so many parties."""
        packed = pack(values, parties).astype("<i8")
        for low in range(0, len(packed), slots):
            yield self.call("encrypt", packed[low : low + slots].tobytes())[0]

    def opened(self, size: int, slots: int, parties: int) -> Array:
        """(size,) uint32 of what parts that were added, of so many parties, open.

        Raises:
            ProtocolError: the parts do not fit.
        """
        left, found = count(size, parties), list[bytes]()
        for place in range(-(-left // slots)):
            found += self.call("fuse", b"%d" % place, b"%d" % min(slots, left - place * slots))
        return unpack(np.frombuffer(b"".join(found), "<i8").astype(np.int64), size, parties)


@contextlib.contextmanager
def roles(parties: int, flooding: bool = True) -> Iterator[tuple[list[Role], Role, int]]:
    """(parties with a joint key, a server without any, slots of a ciphertext), each in a process of its own.

    With `flooding` partial decryptions hide the key's noise by statistical smudging; without, by a noise of fixed size.
    """
    python = find()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Role(python))
        members = [stack.enter_context(Role(python)) for _ in range(parties)]
        for each in (server, *members):
            slots = each.call("open", b"1" if flooding else b"0")[0]
        first = members[0].call("lead")[0]
        shares = [first, *(member.call("join", first)[0] for member in members[1:])]
        for member in members:
            member.call("joint", *shares)
        yield members, server, int(slots)


def added(members: Sequence[Role], server: Role, slots: int, vectors: Sequence[Array]) -> Array:
    """(d,) uint32: the sum mod 2^32 of the parties' (d,) uint32; encrypted, added, opened together.

    Only the joint key's owners together open it; memory is that of one vector's ciphertexts, at the server.

    Raises:
        ProtocolError: lengths differ, or OpenFHE refuses.
    """
    size, parties = len(vectors[0]), len(members)
    for vector in vectors:
        if vector.shape != (size,) or vector.dtype != np.uint32:
            raise ProtocolError(f"a vector of uint32 ({size},) is needed, got {vector.dtype} {vector.shape}")
    server.call("clear")
    for member, vector in zip(members, vectors, strict=True):
        for place, sent in enumerate(member.encrypted(vector, slots, parties)):
            server.call("add", b"%d" % place, sent)
    for place in range(-(-count(size, parties) // slots)):
        total = server.call("sum", b"%d" % place)
        for number, member in enumerate(members):
            server.call("add", b"%d" % place, *member.call("partial", b"1" if number == 0 else b"0", *total))
    return server.opened(size, slots, parties)
