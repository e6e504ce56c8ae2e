"""A generated storefront: customers with tastes, a long-tailed catalogue, ratings with times. No real person is in it.

Customers belong to taste segments whose shares differ strongly by region and mildly by age band and gender, so that
stores by region are not alike (non-IID). A customer's taste is its segment's plus its own; an item's character is its
category's plus its own. What a customer takes is drawn without replacement by popularity and fit (Gumbel-top-k:
W. Kool, H. van Hoof and M. Welling, ICML 2019, https://arxiv.org/abs/1903.06059); the rating grows with quality, fit
and the customer's mildness.

Calibrated to MovieLens 100K. Both were measured as in tests/data/test_storefront.py; the storefront has 1,000
customers, 800 items and seed 0:

| marginal | MovieLens 100K | storefront |
|---|---|---|
| ratings per customer: fewest, median, mean | 20, 65, 106 | 20, 65.5, 104 |
| Gini of ratings per customer; per item | 0.472; 0.629 | 0.455; 0.616 |
| share of ratings on the most popular tenth of items | 0.427 | 0.369 |
| share of customers who rated the most popular item | 0.618 | 0.633 |
| ratings 1 to 5, % | 6.1, 11.4, 27.1, 34.2, 21.2 | the same |
| leave-one-out HR@10, 99 negatives: popularity; 50 nearest items | 0.41; 0.60 | 0.46; 0.69 |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tacit.core.trees import seed_of
from tacit.core.values import Array, DataError
from tacit.data.interactions import Interactions

AGE_BANDS = {"18-24": 0.20, "25-34": 0.33, "35-44": 0.22, "45-54": 0.15, "55+": 0.10}
GENDERS = {"female": 0.5, "male": 0.5}
REGIONS = {"north": 0.30, "east": 0.22, "south": 0.20, "west": 0.16, "islands": 0.12}
CATEGORIES = (
    *("books", "music", "films", "games", "toys", "garden"),
    *("kitchen", "sports", "outdoor", "fashion", "beauty", "gadgets"),
)
HISTOGRAM = (0.061, 0.114, 0.271, 0.342, 0.212)  # share of the ratings 1 to 5, as in MovieLens 100K
SEGMENTS = 8
FACTORS = 8  # dimensions of taste
FEWEST = 20  # rows of the least active customer
START, YEAR_SECONDS = 1_700_000_000, 365 * 86_400
BLOCK = 4_000_000  # customer-item pairs drawn at once


@dataclass(frozen=True, slots=True)
class Storefront:
    """Generated interactions; the same fields give the same rows, on every machine with the same NumPy generator.

    Raises:
        DataError: fewer than one customer, or fewer than 50 items.
    """

    customers: int = 1000
    items: int = 800
    seed: int = 0

    def __post_init__(self) -> None:
        if self.customers < 1 or self.items < 50:
            raise DataError(f"a storefront needs a customer and 50 items, got {self.customers} and {self.items}")

    @property
    def gives(self) -> Literal["interactions", "tabular"]:
        """The kind of data it loads."""
        return "interactions"

    def load(self, folders: Sequence[Path] = ()) -> Interactions:
        """Generate; no folder is looked into."""
        generator = np.random.default_rng(seed_of("storefront", self.customers, self.items, self.seed))
        kind, second, character = _catalogue(generator, self.items)
        attributes, taste = _people(generator, self.customers)
        popularity = (
            -10.0 * generator.permutation(self.items) / self.items
        )  # MovieLens' counts fall about exponentially with rank
        quality = generator.normal(size=self.items) + 0.28 * (popularity - popularity.mean())
        activity = _activity(generator, self.customers, self.items)
        customer = np.repeat(np.arange(self.customers, dtype=np.int32), activity)
        item = _choose(generator, taste, character, popularity, activity)
        fit = np.einsum("rf,rf->r", taste[customer], character[item])
        mildness = generator.normal(size=self.customers)
        liking = 0.5 * quality[item] + 0.45 * mildness[customer] + 0.35 * fit + generator.normal(size=len(item)) * 0.9
        flags = {name: (kind == one) | (second == one) for one, name in enumerate(CATEGORIES)}
        return Interactions(
            name="storefront",
            customer=customer,
            item=item,
            rating=_stars(liking),
            time=_times(generator, activity),
            customers=self.customers,
            items=self.items,
            attributes=attributes,
            titles=tuple(f"{CATEGORIES[one]} {number:04d}" for number, one in enumerate(kind)),
            categories=flags,
            order_known=True,
            note=f"generated storefront: {len(item):,} ratings of {self.customers:,} invented customers",
        )


def _catalogue(generator: np.random.Generator, items: int) -> tuple[Array, Array, Array]:
    """(items,) first category, (items,) second or -1, (items, FACTORS) character."""
    shares = 1.0 / np.arange(1, len(CATEGORIES) + 1) ** 0.6
    kind = generator.choice(len(CATEGORIES), items, p=shares / shares.sum())
    second = np.where(generator.random(items) < 0.25, generator.integers(0, len(CATEGORIES), items), -1)
    centre = generator.normal(size=(len(CATEGORIES), FACTORS))
    character = centre[kind] + 0.8 * generator.normal(size=(items, FACTORS))
    character[second >= 0] = 0.7 * character[second >= 0] + 0.3 * centre[second[second >= 0]]
    return kind, second, character / np.linalg.norm(character, axis=1, keepdims=True)


def _people(generator: np.random.Generator, customers: int) -> tuple[dict[str, Array], Array]:
    """Attributes by name, and (customers, FACTORS) taste."""
    words, affinity = {}, np.zeros((customers, SEGMENTS))
    for name, shares, weight in (("age_band", AGE_BANDS, 0.7), ("gender", GENDERS, 0.4), ("region", REGIONS, 1.8)):
        index = generator.choice(len(shares), customers, p=list(shares.values()))
        words[name] = np.array(list(shares))[index]
        affinity += weight * generator.normal(size=(len(shares), SEGMENTS))[index]
    segment = np.argmax(affinity + generator.gumbel(size=affinity.shape), axis=1)
    centre = generator.normal(size=(SEGMENTS, FACTORS))
    taste = centre[segment] + 0.6 * generator.normal(size=(customers, FACTORS))
    return words, taste / np.linalg.norm(taste, axis=1, keepdims=True)


def _activity(generator: np.random.Generator, customers: int, items: int) -> Array:
    """(customers,) rows of each: at least FEWEST, median about 65, at most 45 % of the catalogue."""
    most = max(FEWEST, int(0.45 * items))
    draws = FEWEST + np.exp(np.log(45.0) + 1.4 * generator.normal(size=customers))
    counts: Array = np.minimum(draws, most).astype(np.int64)
    return counts


def _choose(
    generator: np.random.Generator, taste: Array, character: Array, popularity: Array, activity: Array
) -> Array:
    """(rows,) int32 items of each customer in turn, in the order in which they were taken."""
    items = len(popularity)
    chosen = []
    for low in range(0, len(taste), max(1, BLOCK // items)):
        block = slice(low, low + max(1, BLOCK // items))
        appeal = popularity + 5.0 * (taste[block] @ character.T) + generator.gumbel(size=(len(taste[block]), items))
        order = np.argsort(-appeal, axis=1)
        for ranked, count in zip(order, activity[block], strict=True):
            taken = ranked[:count]
            # Well-known items come first, as in MovieLens, so that the held-out last one is not simply popular.
            chosen.append(taken[np.argsort(generator.gumbel(size=count) - 0.3 * popularity[taken])])
    return np.concatenate(chosen).astype(np.int32)


def _stars(liking: Array) -> Array:
    """(rows,) float32 1 to 5, cut so that the shares are those of HISTOGRAM."""
    cuts = np.quantile(liking, np.cumsum(HISTOGRAM)[:-1])
    return (1 + np.searchsorted(cuts, liking)).astype(np.float32)


def _times(generator: np.random.Generator, activity: Array) -> Array:
    """(rows,) int64 unix seconds, rising inside each customer, within one year of its joining."""
    joined = np.repeat(generator.integers(0, YEAR_SECONDS, len(activity)), activity)
    gaps = generator.exponential(YEAR_SECONDS / 400, int(activity.sum()))
    total = np.cumsum(gaps)
    first = np.cumsum(activity) - activity
    times: Array = (START + joined + total - np.repeat(total[first], activity)).astype(np.int64)
    return times
