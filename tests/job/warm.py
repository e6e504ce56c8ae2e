"""The command line in processes of its own that start in no time: a parent that has imported everything, and forks.

Reads a job for each line of standard input: {"argv", "cwd", "out", "err", "die"}; answers with the child's id, and
when it has ended with its exit status (minus the signal that ended it). `die` = {"at": "module:name", "call": n,
"when": "before"} makes the child kill itself, by SIGKILL, around the n-th call of a function.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from tacit.cli.main import main
from tacit.federation.vocabulary import read_plan
from tacit.job import run
from tacit.learning.centralised import Centralised
from tests.dying import arm


def child(job: dict[str, Any]) -> None:
    status = 70
    try:
        os.chdir(job["cwd"])
        for path, number in ((job["out"], 1), (job["err"], 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        if job["die"] is not None:
            arm(**job["die"])
        status = main(job["argv"])
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 71
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def warm_up() -> None:
    """Load what is loaded late. Pooled references take one pass: children are asked about crashes, not figures."""
    run.Centralised = partial(Centralised, epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.toml"
        plan.write_text(os.environ["WARM_UP"])
        for _ in run.run_job(read_plan(plan), Path(folder) / "run"):
            pass


warm_up()
for line in sys.stdin:
    task = json.loads(line)
    pid = os.fork()
    if pid == 0:
        child(task)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
