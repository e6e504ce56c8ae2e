"""Budgets in both databases: a PostgreSQL cluster of the suite's own, and processes that draw at the same moment."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tacit.core.values import Event

ROOT = Path(__file__).parents[2]


def absent(what: str) -> None:
    """Skip by name; under CI that is a failure."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{what} is needed under CI")
    pytest.skip(f"needs {what}")


def server_program(name: str) -> str | None:
    """A program of the PostgreSQL server, on the path or where Debian keeps it."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of an empty database on a cluster that lives as long as the session; its password is in PGPASSWORD."""
    psycopg = pytest.importorskip("psycopg") if not os.environ.get("CI") else __import__("psycopg")
    initdb, postgres = server_program("initdb"), server_program("postgres")
    if initdb is None or postgres is None:
        absent("a PostgreSQL server (initdb and postgres)")
    as_root = os.name == "posix" and os.geteuid() == 0  # a server refuses to run as root
    user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if as_root else {}
    with tempfile.TemporaryDirectory(prefix="tacit-pg-", ignore_cleanup_errors=True) as name:
        folder, secret = Path(name), "correct horse battery staple"
        (folder / "password").write_text(secret)
        if as_root:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        begin = ["--auth=scram-sha-256", "--username=tacit", f"--pwfile={folder / 'password'}", "--no-sync"]
        places = ["--encoding=UTF8", "--no-locale", "-D", str(folder / "cluster")]
        subprocess.run([str(initdb), *begin, *places], check=True, capture_output=True, cwd="/", **user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "80"}
        settings |= {"shared_buffers": "16MB", "max_wal_senders": "0", "wal_level": "minimal"}
        options = [part for pair in settings.items() for part in ("-c", "=".join(pair))]
        command = [str(postgres), "-D", str(folder / "cluster"), "-p", str(port), *options]
        with (
            subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user) as server,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("PGPASSWORD", secret)
            url = f"postgresql://tacit@127.0.0.1:{port}/postgres"
            try:
                end = time.monotonic() + 60
                while True:
                    try:
                        psycopg.connect(url).close()
                        break
                    except psycopg.OperationalError:
                        assert server.poll() is None and time.monotonic() < end, "the server did not start"
                        time.sleep(0.05)
                yield url
            finally:
                server.terminate()
                server.wait(timeout=60)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where budgets are: a new file, or the database of the session's cluster."""
    if request.param == "sqlite":
        return str(tmp_path / "budget.sqlite3")
    return str(request.getfixturevalue("postgresql"))


@pytest.fixture(scope="session")
def children(surroundings: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., dict[str, int]]]:
    """Have processes draw: children("race", place, holder, event, count=50)."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    env |= {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    script = str(Path(__file__).parent / "budget_children.py")
    started: list[subprocess.Popen[str]] = []

    def ask(do: str, place: str, holder: str, event: Event, **more: Any) -> dict[str, int]:
        if not started:
            started.append(
                subprocess.Popen(
                    [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
                )
            )
        process = started[0]
        job = {"do": do, "place": place, "holder": holder, "event": asdict(event), "die": None, **more}
        job["password"] = os.environ.get("PGPASSWORD", "")
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        return dict(json.loads(process.stdout.readline()))

    yield ask
    for process in started:
        process.kill()
        process.communicate()
