"""Every attack against every protection: found by walking this folder, run on one scene, told without personal data."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from tacit.core.values import TacitError
from tacit.evaluation.attacks.protections import Protection, ladder
from tacit.evaluation.attacks.scene import Attack, Scene

DEFINITION = (
    "Data leakage is the share of customers (or items, or rows) that an attacker recovers beyond guessing from public "
    "knowledge, at a stated false-positive rate, with its 95 % interval."
)
NOTES = (
    "Under homomorphic encryption the server opens one sum and nothing else: its view, and so the figure, is that of a "
    "secure sum.",
    "Central DP protects those who are reported in sums from whoever reads the model; the server itself sees each "
    "message before noise is added.",
    "A secure sum does not hide a customer from somebody who knows all its rows, nor what a finished model says.",
)


def found() -> dict[str, type[Any]]:
    """Class name -> attack: every public dataclass of this folder with a question and an attempt."""
    out: dict[str, type[Any]] = {}
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        module = importlib.import_module(f"{__package__}.{info.name}")
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "") == module.__name__
            if own and is_dataclass(value) and hasattr(value, "question") and hasattr(value, "attempt"):
                out[name] = value  # type: ignore[assignment]
    return out


def staged(scene: Scene) -> list[Attack]:
    """The attacks that serve the scene's kind of data, some in several settings."""
    out: list[Attack] = []
    for name in sorted(found()):
        attack = found()[name]()
        if scene.kind in attack.serves:
            variants = getattr(attack, "variants", None)
            out += [attack] if variants is None else variants(scene)
    return out


def rows(
    scene: Scene, protections: Sequence[Protection] = (), attacks: Sequence[Attack] | None = None
) -> Iterator[dict[str, Any]]:
    """One row of the table for each attack: its question, and its leakage under each protection, or why there is none.

    Protections with the same view as another are not measured again; one that the plan cannot have stands under
    "untried", with the reason.
    """
    for attack in staged(scene) if attacks is None else attacks:
        row: dict[str, Any] = {"attack": type(attack).__name__, "setting": repr(attack), "question": attack.question}
        if (why := attack.refuses(scene)) is not None:
            yield row | {"refused": why}
            continue
        cells: dict[str, Any] = {}
        untried: dict[str, str] = {}
        for protection in protections or ladder():
            same = protection.same_as
            if same in untried:
                untried[protection.name] = untried[same]
                continue
            try:
                cells[protection.name] = cells.get(same) or attack.attempt(scene, protection).summary()
            except TacitError as error:
                untried[protection.name] = str(error)
        yield row | {"cells": cells} | ({"untried": untried} if untried else {})
