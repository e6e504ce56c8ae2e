"""Sweep by sweep: the federated Newton step of ImplicitALS beside exact alternating least squares on pooled rows.

    python examples/newton_step.py            # MovieLens 100K where it is found, else a generated storefront

Prints the objective of both (lower is better) and HR@10 on validation items. Deterministic but for the last digits.
See docs/decisions/004-newton-step-instead-of-gradients-in-federated-ALS.md.
"""

from __future__ import annotations

import numpy as np

import tacit
from tacit.core.values import Array, Params, Population
from tacit.data.folders import folders
from tacit.data.split import leave_one_out
from tacit.evaluation.negatives import draws
from tacit.evaluation.validation import validate

MODEL = tacit.ImplicitALS(dim=24)


def objective(items: Array, train: Population) -> float:
    """The loss in the model's docstring, with every customer's vector solved for these items."""
    items = np.asarray(items, np.float64)
    x = np.zeros((len(train), len(items)))
    x[train.owner(), train.fields["item"]] = 1.0
    users = np.linalg.lstsq(items, MODEL.scores({"items": items}, {}, train).T, rcond=None)[0].T
    score = users @ items.T
    fit = np.sum(x * (1.0 - score) ** 2) + MODEL.alpha0 * np.sum(score**2)
    of_users = (x.sum(axis=1) + MODEL.alpha0 * x.shape[1]) @ np.sum(users**2, axis=1)
    of_items = (x.sum(axis=0) + MODEL.alpha0 * x.shape[0]) @ np.sum(items**2, axis=1)
    return float(fit + MODEL.reg * (of_users + of_items))


def main() -> None:
    """Print one line for each sweep."""
    try:
        data = tacit.MovieLens100K().load(folders())
    except tacit.DataError:
        data = tacit.Storefront().load()
    split = leave_one_out(data)
    train = split.train
    negatives = draws(train, split.validation, split.test, 5, 99, 0)

    def hit_rate(shared: Params) -> float:
        scores = MODEL.scores(shared, {}, train)
        return float(validate(scores.__getitem__, train, split.validation, negatives).hr.mean())

    print(f"{data.note}\n{'sweep':<6} {'federated':>12} {'exact':>12}   {'HR@10 federated':>16} {'exact':>8}")
    shared: Params = MODEL.init(train.schema, 0)
    for sweep in range(1, 13):
        shared = MODEL.solve(shared, MODEL.statistics(shared, {}, train)[0], len(train))
        exact = MODEL.central(train, 0, sweep)[0]
        left = f"{sweep:<6} {objective(shared['items'], train):>12.1f} {objective(exact['items'], train):>12.1f}"
        print(f"{left}   {hit_rate(shared):>16.3f} {hit_rate(exact):>8.3f}", flush=True)


if __name__ == "__main__":
    main()
