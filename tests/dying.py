"""Processes that kill themselves at a chosen call, to test what a crash leaves behind."""

from __future__ import annotations

import importlib
import os
import signal
from typing import Any


def arm(at: str, call: int, when: str) -> None:
    """Have this process kill itself, by SIGKILL, "before" or after the n-th call of the function "module:name"."""
    module, _, path = at.partition(":")
    owner: Any = importlib.import_module(module)
    *inner, name = path.split(".")
    for part in inner:
        owner = getattr(owner, part)
    function, calls = getattr(owner, name), [0]

    def around(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, around)
