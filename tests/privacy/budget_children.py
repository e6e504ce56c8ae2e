"""Processes that draw from a budget, race for it, and are killed: forked from a parent that imports little.

Reads a job for each line of standard input and answers with one line of JSON. Jobs: {"do": "race", "count": n, ...}
has n processes charge once each at the same moment; {"do": "release", "die": ...} has one process charge and release
again and again, until it is done or kills itself around the n-th call of a function.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from tacit.core.values import Event
from tacit.privacy.budget.account import Account, Allowance
from tacit.privacy.budget.book import Book
from tacit.privacy.budget.composition import fits
from tacit.privacy.budget.errors import BudgetError, BudgetExceeded
from tacit.privacy.budget.location import at
from tests.dying import arm

fits({Event("gaussian", 9.0, "all", 1.0): 1}, Allowance(1.0, 1e-5))  # what is loaded late, before anybody forks
with suppress(ImportError):
    importlib.import_module("psycopg")
assert "torch" not in sys.modules and "numba" not in sys.modules


def release(path: Path, reference: str) -> None:
    """What leaves: once it stands in this file, the world has it."""
    with path.open("a") as file:
        file.write(reference + "\n")
        file.flush()
        os.fsync(file.fileno())


def noted(path: Path, number: int) -> None:
    """The releasing party's own state: which release comes next."""
    path.with_suffix(".tmp").write_text(str(number))
    os.replace(path.with_suffix(".tmp"), path)


def releasing(job: dict[str, Any], book: Book, account: Account, event: Event) -> None:
    out, state = Path(job["out"]), Path(job["state"])
    first = int(state.read_text()) if state.exists() else 1
    for number in range(first, job["count"] + 1):
        book.charge(account, f"release {number}", {event: 1}, job.get("reservation", ""))
        release(out, f"release {number}")
        noted(state, number + 1)


def racing(job: dict[str, Any], book: Book, account: Account, event: Event, gate: int, told: int) -> None:
    os.read(gate, 1)  # all start when the parent closes its end
    try:
        book.charge(account, job["reference"].format(os.getpid()), {event: 1}, job.get("reservation", ""))
        word = b"passed\n"
    except BudgetExceeded:
        word = b"refused\n"
    except BudgetError as error:
        word = f"failed: {error}\n".encode()
    os.write(told, word)


def race(job: dict[str, Any], book: Book, account: Account, event: Event) -> dict[str, int]:
    (wait, gate), (told, tell) = os.pipe(), os.pipe()
    children = []
    for _ in range(job["count"]):
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                os.close(gate)
                racing(job, book, account, event, wait, tell)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    for end in (wait, gate, tell):
        os.close(end)
    with os.fdopen(told) as lines:
        words = Counter(lines.read().splitlines())
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    return dict(words)


def alone(job: dict[str, Any], book: Book, account: Account, event: Event) -> dict[str, int]:
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            if job["die"] is not None:
                arm(**job["die"])
            releasing(job, book, account, event)
            status = 0
        except BudgetExceeded:
            status = 7
        finally:
            os._exit(status)
    return {"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}


for line in sys.stdin:
    task = json.loads(line)
    os.environ["PGPASSWORD"] = task["password"]
    where = Book(at(task["place"])), Account(task["holder"], "recommendations"), Event(**task["event"])
    print(json.dumps((race if task["do"] == "race" else alone)(task, *where)), flush=True)
