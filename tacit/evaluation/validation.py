"""Choosing a round by what the validation items say; the test items are not looked at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tacit.core.values import Array, Population
from tacit.evaluation.recommendation import Ranking, evaluate


def validate(
    score_block: Callable[[Array], Array],
    train: Population,
    validation: Array,
    negatives: Array,
    k: int = 10,
    block: int = 512,
) -> Ranking:
    """Rank every customer's validation item.

    Draw the negatives once, by `negatives.draws(train, test, validation, seed=...)` with another seed than for the
    test: they exclude training, validation and test items. That is all that is ever asked of the test items here.
    Arguments and errors as in `recommendation.evaluate`.
    """
    return evaluate(score_block, train, validation, None, negatives, k, block)


def best_round(curve: Sequence[tuple[int, float]]) -> int:
    """The round with the highest validation value in (round, value) pairs; the earliest of equals.

    Raises:
        ValueError: the curve is empty or holds no number.
    """
    best: tuple[int, float] | None = None
    for number, value in sorted(curve):
        if not math.isnan(value) and (best is None or value > best[1]):
            best = (number, value)
    if best is None:
        raise ValueError("a validation curve with at least one measured round was needed")
    return best[0]
