"""The progress bar is live on a terminal, silent elsewhere, and never on standard output."""

from __future__ import annotations

import io
import sys

import pytest

from tacit.cli.progress import Progress
from tacit.job.training import Step


class Terminal(io.StringIO):
    def isatty(self):
        return True


def step(number, **more):
    return Step("federated", 3, {"number": number, "clients": 38, "dropped": 0, **more})


def shown(monkeypatch, screen, quiet=False):
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with Progress(quiet) as progress:
        progress.show(step(1))
        progress.show(step(2, dropped=2, **{"hr@10": 0.4321}))
        progress.show(step(3, epsilon=1.2345))
        progress.show(Step("private", 1, {"number": 1, "clients": 5, "dropped": 0}))
    return screen.getvalue()


def test_a_terminal_sees_rounds_clients_quality_and_epsilon(monkeypatch, capsys):
    told = shown(monkeypatch, Terminal())
    for words in ("federated", "private", "3/3", "38 clients", "epsilon 1.23"):
        assert words in told
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("screen", "quiet"), [(io.StringIO(), False), (Terminal(), True)])
def test_nothing_is_shown_where_nobody_watches_or_quiet_was_asked_for(monkeypatch, capsys, screen, quiet):
    assert shown(monkeypatch, screen, quiet) == ""
    assert capsys.readouterr().out == ""
