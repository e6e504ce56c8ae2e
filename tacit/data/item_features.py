"""Public facts about items as columns: their categories, and the five years in which their title says they appeared."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from tacit.core.values import Array

YEAR = re.compile(r"\((\d{4})\)\s*$")
ERA = 5  # years
FEWEST = 8  # items: a rarer era joins the one before it


def item_features(items: int, titles: tuple[str, ...], categories: Mapping[str, Array]) -> Array | None:
    """(items, f) float32 of zeros and ones, or None where nothing is known. The same for everybody who has the
    catalogue.

    Eras come from titles that end in a year in brackets, "Alien (1979)"; where fewer than half do, there are none.
    """
    columns = [np.asarray(values, np.float32) for _, values in sorted(categories.items())]
    years = np.array([int(found[1]) if (found := YEAR.search(title)) else -1 for title in titles], np.int64)
    if len(years) == items and np.mean(years > 0) >= 0.5:
        edges: list[int] = []
        for start in range(int(years[years > 0].min()) // ERA * ERA, int(years.max()) + 1, ERA):
            if np.sum((years >= start) & (years < start + ERA)) >= FEWEST or not edges:
                edges.append(start)
        era = np.digitize(years, edges)
        columns += [((era == number) & (years > 0)).astype(np.float32) for number in range(1, len(edges) + 1)]
    return np.stack(columns, axis=1) if columns else None
