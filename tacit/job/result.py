"""What a finished job gives back: the report, and the models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tacit.audit.notebook import html
from tacit.core.values import Params


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run. In Jupyter it shows itself; `print` gives the figures in lines."""

    report: Mapping[str, Any]  # what report.json holds
    folder: Path
    models: Mapping[str, Params] = field(default_factory=dict, repr=False)  # training -> shared parameters

    def __getitem__(self, key: str) -> Any:
        """A part of the report: result["federated"]["hr@10"]."""
        return self.report[key]

    def _repr_html_(self) -> str:
        page: str = html(self.report)
        return page

    def __str__(self) -> str:
        return "\n".join(lines(self.report))


METRICS = ("hr@10", "ndcg@10", "full.hr@10", "full.ndcg@10", "accuracy", "auc", "f1")


def arms(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The trained and reference models of a report, in their order."""
    return {
        name: part
        for name, part in report.items()
        if isinstance(part, Mapping) and "low" in part and any(metric in part for metric in METRICS)
    }


def lines(report: Mapping[str, Any]) -> list[str]:
    """A report in plain lines, figures with their 95 % intervals."""
    found = arms(report)
    shown = [m for m in METRICS if any(m in part for part in found.values())]
    width = max([len(name) for name in found] + [11])
    out = [" " * width + "".join(f"{metric:>24}" for metric in shown)]
    for name, part in found.items():
        row = f"{name:<{width}}"
        for metric in shown:
            if metric in part and part[metric] is not None:
                low, high = part["low"][metric], part["high"][metric]
                row += f"{part[metric]:>8.3f} [{low:.3f}, {high:.3f}]".rjust(24)
            else:
                row += " " * 24
        out.append(row)
    if (privacy := report.get("privacy")) is not None:
        out += [
            f"privacy      epsilon {part['epsilon']:.2f} at delta {part['delta']:g} per {part['unit']}, "
            f"neighbouring relation {part['neighbouring']}"
            for part in (privacy, *privacy.get("other_units", ()))
        ]
    if (chosen := report.get("chosen")) is not None:
        among = f"of {len(chosen['of'])} trainings, for epsilon {chosen['epsilon']:g}"
        out.append(f"chosen       {chosen['training']}, {among}")
    if (secure := report.get("secure_sum")) is not None:
        out.append(
            f"secure sum   {secure['clients']} clients, {secure['dropped']} dropped out, "
            f"exact: {'yes' if secure['exact'] else 'not checked' if secure['exact'] is None else 'NO'}"
            + (f", proofs checked: {secure['proofs']}" if secure.get("proofs") else "")
        )
    cost, ledger = report["cost"], report["ledger"]
    out.append(
        f"cost         {cost['seconds']:.1f} s, up {cost['bytes_up_per_client'] / 1e6:.2f} MB and down "
        f"{cost['bytes_down_per_client'] / 1e6:.2f} MB per client, peak memory {cost['peak_memory_mb']:.0f} MB"
    )
    out.append(f"ledger       {ledger['entries']} entries, verified: {'yes' if ledger['verified'] else 'NO'}")
    out.append(f"run folder   {report['run_folder']}")
    return out
