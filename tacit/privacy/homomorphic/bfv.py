"""Threshold BFV by OpenFHE (n of n), in worker processes of the Python that its wheel needs.

Needs a Python 3.10 with `openfhe` 1.6.1 (BSD-2-Clause), found on the path, among pyenv's versions, active or not, or
named by TACIT_OPENFHE_PYTHON. Sums of signed 32-bit integers are exact while they do not overflow, which the quantiser
sees to; parameters are OpenFHE's own choice for 128 bits. Against `threshold` it is the reviewed implementation;
around it there is no protocol against a server that lies (see docs/homomorphic.md).

A. Alexandru et al.: "General Functionality Multiparty Homomorphic Encryption" is how OpenFHE does it; noise flooding
on partial decryptions as in G. Asharov et al., EUROCRYPT 2012, https://eprint.iacr.org/2011/613.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import weakref
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from tacit.core.values import Array, PlanError, ProtocolError
from tacit.privacy.homomorphic import bfv_worker

SETTING = "TACIT_OPENFHE_PYTHON"
WHEEL = "openfhe==1.6.1.0.22.4"
VERSION = "3.10"  # of Python, whose binary the wheel holds


def candidates() -> list[str]:
    """Pythons that may have OpenFHE: the one that a setting names alone, or those on the path and in pyenv."""
    if named := os.environ.get(SETTING):
        return [named]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [shutil.which(f"python{VERSION}"), shutil.which("python3")]
    inactive = sorted(root.glob(f"{VERSION}*/bin/python{VERSION}"), reverse=True)
    return list(dict.fromkeys([*(each for each in found if each), *map(str, inactive)]))


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
        f"threshold BFV needs a Python {VERSION} with {WHEEL} and numpy, but {what}. Make one: `python{VERSION} -m "
        f"venv he && he/bin/pip install {WHEEL} numpy`, and set {SETTING}=he/bin/python; or use ThresholdRLWE"
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

    def call(self, operation: str, *frames: bytes) -> list[bytes]:
        """Have one operation of `bfv_worker.Role` done.

        Raises:
            ProtocolError: OpenFHE refuses it, or the process has ended.
        """
        assert self._process.stdin is not None
        try:
            bfv_worker.write(self._process.stdin, [operation.encode(), *frames])
        except OSError:
            raise ProtocolError(f"the worker process for OpenFHE ended before {operation!r}") from None
        return self._answer()

    def _answer(self) -> list[bytes]:
        assert self._process.stdout is not None
        try:
            frames = bfv_worker.read(self._process.stdout)
        except (ValueError, OSError) as error:
            raise ProtocolError(f"the worker process for OpenFHE broke off: {error}") from None
        if not frames:
            raise ProtocolError("the worker process for OpenFHE ended in the middle of its work")
        if frames[0] != b"ok":
            raise ProtocolError(f"OpenFHE refused: {b' '.join(frames[1:]).decode(errors='replace')[:300]}")
        return frames[1:]


@contextlib.contextmanager
def roles(parties: int, flooding: bool = True) -> Iterator[tuple[list[Role], Role, int]]:
    """(parties with a joint key, a server without any, values per ciphertext), each in a process of its own.

    With `flooding` partial decryptions hide the key's noise by statistical smudging; without, by a noise of fixed size.
    """
    python = find()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Role(python))
        members = [stack.enter_context(Role(python)) for _ in range(parties)]
        context, slots = server.call("open", b"1" if flooding else b"0")
        for member in members:
            member.call("load", context)
        first = members[0].call("lead")[0]
        shares = [first, *(member.call("join", first)[0] for member in members[1:])]
        for member in members:
            member.call("joint", *shares)
        yield members, server, int(slots)


def added(members: Sequence[Role], server: Role, vectors: Sequence[Array]) -> Array:
    """(d,) uint32: the sum mod 2^32 of the parties' (d,) uint32, read as signed; encrypted, added, opened together.

    Only the joint key's owners together open it; memory is that of one vector's ciphertexts in each process.

    Raises:
        ProtocolError: lengths differ, or OpenFHE refuses.
    """
    size = len(vectors[0])
    for member, vector in zip(members, vectors, strict=True):
        if vector.shape != (size,) or vector.dtype != np.uint32:
            raise ProtocolError(f"a vector of uint32 ({size},) is needed, got {vector.dtype} {vector.shape}")
        server.call("add", *member.call("encrypt", vector.astype("<u4").tobytes()))
    total = server.call("sum")
    parts: list[bytes] = []
    for number, member in enumerate(members):
        parts += member.call("partial", b"1" if number == 0 else b"0", *total)
    raw = server.call("fuse", str(size).encode(), str(len(members)).encode(), *parts)[0]
    return np.frombuffer(raw, "<i8").astype(np.uint32)
