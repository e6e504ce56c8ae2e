"""Who is a client, and which node hosts it: one customer each, or institutions by attribute, Dirichlet or quantity.

With interactions every customer is a client, and a partition says which node (an institution, a machine) hosts it.
With tabular data the institutions are the clients, and a partition says which of them owns each row.

Dirichlet: T.-M. H. Hsu, H. Qi and M. Brown, Measuring the Effects of Non-Identical Data Distribution for Federated
Visual Classification, 2019, https://arxiv.org/abs/1909.06335; quantity skew: Q. Li, Y. Diao, Q. Chen and B. He,
Federated Learning on Non-IID Data Silos, ICDE 2022, https://arxiv.org/abs/2102.02079. Differs from the papers: for
each label (or favourite category) the parties' shares are drawn, so parties differ in size too; no party is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.core.trees import seed_of
from tacit.core.values import Array, PlanError
from tacit.data.interactions import Interactions
from tacit.data.tabular import Tabular

Data = Interactions | Tabular


@dataclass(frozen=True, slots=True)
class ByCustomer:
    """One customer is one client, all hosted by one node. In tabular data each row is a customer."""

    @property
    def unit(self) -> str:
        """Whose presence noise on the sum hides; without this, tables have institutions."""
        return "customer"

    def nodes(self, data: Interactions) -> Array:
        """(customers,) int64 node that hosts each customer: always the first."""
        return np.zeros(data.customers, np.int64)

    def owners(self, data: Tabular, rows: Array) -> Array:
        """(rows,) int64 client of each row: the row itself."""
        return np.arange(len(rows))

    def names(self, data: Data) -> tuple[str, ...]:
        """The only node."""
        return ("customers",)


@dataclass(frozen=True, slots=True)
class ByAttribute:
    """One node or institution for each value of an attribute, in alphabetical order."""

    attribute: str = ""  # "" = "region" of a customer, "institution" of a row

    def nodes(self, data: Interactions) -> Array:
        """(customers,) int64 node that hosts each customer.

        Raises:
            PlanError: customers have no such attribute.
        """
        return np.unique(self._values(data), return_inverse=True)[1].astype(np.int64)

    def owners(self, data: Tabular, rows: Array) -> Array:
        """(rows,) int64 institution of each of these rows.

        Raises:
            PlanError: rows have neither such an institution key nor such a sensitive column.
        """
        return np.unique(self._values(data), return_inverse=True)[1].astype(np.int64)[rows]

    def names(self, data: Data) -> tuple[str, ...]:
        """The attribute's values."""
        return tuple(str(value) for value in np.unique(self._values(data)))

    def _values(self, data: Data) -> Array:
        if isinstance(data, Interactions):
            known, attribute = dict(data.attributes), self.attribute or "region"
        else:
            known = {**data.sensitive, **({"institution": data.institution} if np.any(data.institution != "") else {})}
            attribute = self.attribute or "institution"
        if attribute not in known:
            raise PlanError(
                f"{data.name} has no attribute {attribute!r} to make parties of; known: "
                f"{', '.join(sorted(known)) or 'none'}. Dirichlet, Quantity and Uniform need no attribute."
            )
        return known[attribute]


@dataclass(frozen=True, slots=True)
class Dirichlet:
    """Parties that differ in kind: the shares of each label or favourite category are Dirichlet(alpha).

    A customer's favourite category is the one that exceeds its average share by the most standard deviations (the
    most frequent one would be the same for most customers).
    """

    alpha: float = 0.5  # concentration: small = very different parties, 100 = nearly alike
    parties: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        _check_parties(self.parties)
        if not 0.0 < self.alpha < float("inf"):
            raise PlanError(f"alpha must be a positive number, got {self.alpha}")

    def nodes(self, data: Interactions) -> Array:
        """(customers,) int64 node that hosts each customer.

        Raises:
            PlanError: the catalogue has no categories, or there are fewer customers than parties.
        """
        if not data.categories:
            raise PlanError(f"{data.name} has no item categories, so Dirichlet has nothing to skew. Use Quantity.")
        return self._assign(favourites(data))

    def owners(self, data: Tabular, rows: Array) -> Array:
        """(rows,) int64 institution of each of these rows; a row's owner is the same in every selection.

        Raises:
            PlanError: there are fewer rows than parties.
        """
        return self._assign(data.y.astype(np.int64))[rows]

    def names(self, data: Data) -> tuple[str, ...]:
        """Party 1, party 2, ..."""
        return _numbered(self.parties)

    def _assign(self, kinds: Array) -> Array:
        _check_enough(len(kinds), self.parties)
        generator = np.random.default_rng(seed_of("dirichlet", self.seed))
        owner = np.empty(len(kinds), np.int64)
        for kind in np.unique(kinds):
            members = generator.permutation(np.flatnonzero(kinds == kind))
            shares = generator.dirichlet(np.full(self.parties, self.alpha))
            cuts = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
            for party, part in enumerate(np.split(members, cuts)):
                owner[part] = party
        return _fill(owner, self.parties)


@dataclass(frozen=True, slots=True)
class Quantity:
    """Parties that differ in size only: the p-th largest holds a share proportional to p ** -skew (Zipf's law)."""

    parties: int = 8
    skew: float = 0.5  # 0 = equal sizes, 1 = the second is half the first
    seed: int = 0

    def __post_init__(self) -> None:
        _check_parties(self.parties)
        if not 0.0 <= self.skew < float("inf"):
            raise PlanError(f"skew must be 0 or more, got {self.skew}")

    def nodes(self, data: Interactions) -> Array:
        """(customers,) int64 node that hosts each customer.

        Raises:
            PlanError: there are fewer customers than parties.
        """
        return self._assign(data.customers)

    def owners(self, data: Tabular, rows: Array) -> Array:
        """(rows,) int64 institution of each of these rows; a row's owner is the same in every selection.

        Raises:
            PlanError: there are fewer rows than parties.
        """
        return self._assign(len(data))[rows]

    def names(self, data: Data) -> tuple[str, ...]:
        """Party 1, party 2, ..., the largest first."""
        return _numbered(self.parties)

    def _assign(self, members: int) -> Array:
        _check_enough(members, self.parties)
        weights = np.arange(1, self.parties + 1) ** -float(self.skew)
        # The (i + 1/2)-th part of the total weight: sizes are exact to within one member.
        middle = (np.arange(members) + 0.5) / members * weights.sum()
        party = np.minimum(np.searchsorted(np.cumsum(weights), middle), self.parties - 1)
        owner = np.empty(members, np.int64)
        owner[np.random.default_rng(seed_of("quantity", self.seed)).permutation(members)] = party
        return _fill(owner, self.parties)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Parties that are alike: equal sizes, to within one, drawn at random."""

    parties: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        _check_parties(self.parties)

    def nodes(self, data: Interactions) -> Array:
        """(customers,) int64 node that hosts each customer.

        Raises:
            PlanError: there are fewer customers than parties.
        """
        return Quantity(self.parties, 0.0, self.seed).nodes(data)

    def owners(self, data: Tabular, rows: Array) -> Array:
        """(rows,) int64 institution of each of these rows; a row's owner is the same in every selection.

        Raises:
            PlanError: there are fewer rows than parties.
        """
        return Quantity(self.parties, 0.0, self.seed).owners(data, rows)

    def names(self, data: Data) -> tuple[str, ...]:
        """Party 1, party 2, ..."""
        return _numbered(self.parties)


def favourites(data: Interactions) -> Array:
    """(customers,) int64 category in which each customer most exceeds its average share, in standard deviations."""
    flags = np.stack(list(data.categories.values()), axis=1).astype(np.float64)  # (items, categories)
    counts = np.stack(
        [np.bincount(data.customer, flags[data.item, one], data.customers) for one in range(flags.shape[1])], axis=1
    )
    average = counts.sum(0) / max(1.0, counts.sum())
    total = np.maximum(1.0, counts.sum(1, keepdims=True))
    excess = (counts / total - average) * np.sqrt(total / np.maximum(average, 1e-12))
    favourite: Array = np.argmax(excess, axis=1)
    return favourite


def _fill(owner: Array, parties: int) -> Array:
    """Give each empty party one member of the largest, so that none is empty."""
    for party in range(parties):
        sizes = np.bincount(owner, minlength=parties)
        if sizes[party] == 0:
            owner[np.flatnonzero(owner == np.argmax(sizes))[0]] = party
    return owner


def _numbered(parties: int) -> tuple[str, ...]:
    return tuple(f"party {number}" for number in range(1, parties + 1))


def _check_parties(parties: int) -> None:
    if parties < 1:
        raise PlanError(f"parties must be at least 1, got {parties}")


def _check_enough(members: int, parties: int) -> None:
    if members < parties:
        raise PlanError(f"{parties} parties need at least as many customers or rows, got {members}")
