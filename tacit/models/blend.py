"""Two recommenders learned from the same rounds, scores standardised for each customer and added.

Y. Koren: "The BellKor Solution to the Netflix Grand Prize", 2009, on blending models of different kinds. Differs from
the paper: two fixed weights instead of a learned combination, so that nothing needs a further pass over anybody's
rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tacit.core.arrays import standard
from tacit.core.protocols import Recommender, StatisticsModel
from tacit.core.values import Array, Params, Population, Schema


@dataclass(frozen=True, slots=True)
class Blend:
    """scores(u) = z(first) + weight * z(second) + affinity * z(local taste in public item features).

    Both parts are statistics models; a part that is solved in one round is solved in the first.
    """

    first: Any = None  # a statistics model that recommends; None = nothing learned
    second: Any = None
    weight: float = 0.5
    affinity: float = 0.0
    prior: float = 20.0

    def __post_init__(self) -> None:
        for part in self._parts().values():
            if not isinstance(part, StatisticsModel) or not isinstance(part, Recommender) or part.private:
                raise ValueError(f"Blend mixes recommenders solved from sums without private state, got {part!r}")

    def _parts(self) -> dict[str, Any]:
        return {name: part for name, part in (("first", self.first), ("second", self.second)) if part is not None}

    @property
    def serves(self) -> Literal["interactions", "tabular"]:
        """Interactions."""
        return "interactions"

    @property
    def private(self) -> tuple[str, ...]:
        """The parts keep nothing private but the history."""
        return ()

    @property
    def ranges(self) -> dict[str, float]:
        """The parts' own."""
        found: dict[str, float] = {}
        for name, part in self._parts().items():
            found |= {f"{name}/{key}": value for key, value in getattr(part, "ranges", {}).items()}
        return found

    @property
    def whole(self) -> tuple[str, ...]:
        """The parts' counts."""
        return tuple(f"{name}/{key}" for name, part in self._parts().items() for key in getattr(part, "whole", ()))

    def init(self, schema: Schema, seed: int) -> Params:
        """Both parts' initial values under first/ and second/."""
        return {f"{n}/{key}": value for n, p in self._parts().items() for key, value in p.init(schema, seed).items()}

    def broadcast(self, shared: Params) -> Params:
        """Without what a closed-form part has learned already: one value stands for it."""
        return {key: v[:1, :1] if key.endswith("/weights") and v.size else v for key, v in shared.items()}

    def statistics(self, shared: Params, own: Params, clients: Population) -> tuple[Params, Params]:
        """Both parts' sums; a closed-form part is silent once it is solved."""
        sums: dict[str, Array] = {}
        for name, part in self._parts().items():
            mine = _under(shared, name)
            if not _solved(part, mine):
                sums |= {f"{name}/{key}": value for key, value in part.statistics(mine, {}, clients)[0].items()}
        return sums, {}

    def solve(self, shared: Params, total: Params, clients: float) -> Params:
        """Each part from its sums."""
        out = dict(shared)
        for name, part in self._parts().items():
            if sums := _under(total, name):
                out |= {f"{name}/{key}": v for key, v in part.solve(_under(shared, name), sums, clients).items()}
        return out

    def central(self, train: Population, seed: int, rounds: int) -> tuple[Params, Params]:
        """Each part's own centralised solution."""
        out: dict[str, Array] = {}
        for name, part in self._parts().items():
            if hasattr(part, "central"):
                solved = part.central(train, seed, rounds)[0]
            else:
                initial = part.init(train.schema, seed)
                solved = part.solve(initial, part.statistics(initial, {}, train)[0], len(train))
            out |= {f"{name}/{key}": value for key, value in solved.items()}
        return out, {}

    def scores(self, shared: Params, own: Params, clients: Population) -> Array:
        """(clients, items) float32."""
        out = np.zeros((len(clients), clients.schema.items), np.float32)
        for name, part in self._parts().items():
            factor = 1.0 if name == "first" else self.weight
            out += factor * np.asarray(standard(part.scores(_under(shared, name), own, clients)), np.float32)
        features = clients.schema.item_features
        if self.affinity and features is not None:
            history = np.zeros_like(out)
            history[clients.owner(), clients.fields["item"]] = 1.0
            share = features.mean(axis=0) + 1e-9
            taste = (history @ features + self.prior * share) / (clients.sizes[:, None] + self.prior)
            out += self.affinity * np.asarray(standard(np.log(taste / share) @ features.T), np.float32)
        return out


def _under(params: Params, name: str) -> dict[str, Array]:
    return {key.removeprefix(f"{name}/"): value for key, value in params.items() if key.startswith(f"{name}/")}


def _solved(part: Any, shared: Params) -> bool:
    """A part that starts without values (size 0) and has some now was solved in closed form."""
    return "weights" in shared and shared["weights"].size > 0
