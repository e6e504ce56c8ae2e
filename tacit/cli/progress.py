"""A progress bar with live metrics; quiet when nobody watches a terminal."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from tacit.job.training import Step


class Progress:
    """One bar for each training, on standard error, so that standard output stays clean."""

    def __init__(self, quiet: bool = False) -> None:
        self._bars = Bars(
            TextColumn("{task.description:<16}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[live]}"),
            console=Console(stderr=True),
            disable=quiet or not sys.stderr.isatty(),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, step: Step) -> None:
        """A round is over."""
        record = step.record
        live = [f"{record['clients']} clients"]
        if record["dropped"]:
            live.append(f"{record['dropped']} dropped")
        if "hr@10" in record:
            live.append(f"HR@10 {record['hr@10']:.3f} on {record.get('on', 'validation')}")
        if "epsilon" in record:
            live.append(f"epsilon {record['epsilon']:.2f} per {record.get('unit', 'customer')}")
        if step.training not in self._tasks:
            self._tasks[step.training] = self._bars.add_task(step.training, total=step.rounds, live="")
        self._bars.update(self._tasks[step.training], completed=record["number"], live=", ".join(live))
