"""The models that a report compares, read from its flat objects, with one name and one colour each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tacit.audit.typeset import number

METRICS = {  # key in a report -> (name, what it says)
    "hr@10": ("HR@10", "share of customers whose held-out item is among the ten best, beside sampled others"),
    "ndcg@10": ("NDCG@10", "the same, counting a higher place for more"),
    "full.hr@10": ("HR@10, all items", "the held-out item ranked among all items that the customer has not met"),
    "full.ndcg@10": ("NDCG@10, all items", "the same, counting a higher place for more"),
    "accuracy": ("Accuracy", "share of rows whose label is right"),
    "auc": ("AUC", "probability that a positive row scores above a negative one"),
    "f1": ("F1", "harmonic mean of precision and recall"),
    "precision": ("Precision", "share of those called positive that are"),
    "recall": ("Recall", "share of the positive that are called so"),
    "log_loss": ("Log loss", "lower is better"),
}
HEADLINES = ("hr@10", "accuracy", "auc", "f1", "ndcg@10")
_NAMES = {
    "federated": "Federated",
    "private": "Private",
    "centralized": "Centralised",
    "popularity": "Popularity",
    "local": "Local only",
    "item_knn": "Item kNN",
}
_STYLES = {"federated": "k1", "private": "k2", "centralized": "kc", "popularity": "kp", "local": "kl"}
_SPARE = ("k3", "k4", "k5", "k6")
_OTHER = {  # keys of a report that are no arms, whatever they hold
    "data",
    "classification",
    "privacy",
    "secure_sum",
    "cost",
    "ledger",
    "curves",
    "groups",
    "beyond",
    "budget",
    "attacks",
    "tradeoff",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with the ends of its 95 % interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """One model of a report."""

    key: str
    name: str
    style: str  # class of its colour and dash
    figures: Mapping[str, Figure] = field(default_factory=dict)


def arms(report: Mapping[str, Any]) -> tuple[Arm, ...]:
    """Every top-level object with a known metric, in the report's order."""
    found = {
        key: figures
        for key, part in report.items()
        if key not in _OTHER and isinstance(part, Mapping) and (figures := figures_of(part))
    }
    extra = [key for key in found if key not in _STYLES]
    spare = {key: _SPARE[place % len(_SPARE)] for place, key in enumerate(extra)}
    return tuple(Arm(key, arm_name(key), _STYLES.get(key) or spare[key], figures) for key, figures in found.items())


def figures_of(part: Mapping[str, Any]) -> dict[str, Figure]:
    """The known metrics of one flat object, in the order of METRICS; ends from its "low" and "high"."""
    low, high = (part[end] if isinstance(part.get(end), Mapping) else {} for end in ("low", "high"))
    out = {}
    for metric in METRICS:
        value = part.get(metric)
        if isinstance(value, Mapping):
            ends = (number(value.get("low")), number(value.get("high")))
            value = value.get("value")
        else:
            ends = (number(low.get(metric)), number(high.get(metric)))
        if (point := number(value)) is not None:
            out[metric] = Figure(point, *ends)
    return out


def arm_name(key: str) -> str:
    """A training's name as a heading."""
    return _NAMES.get(key) or (key[:1].upper() + key[1:]).replace("_", " ")


def headline(found: Sequence[Arm]) -> str | None:
    """The metric that the report leads with."""
    return next((metric for metric in HEADLINES if any(metric in arm.figures for arm in found)), None)
