"""What the averaging algorithms have in common: the split of initial values, the mean of deltas, the step."""

from __future__ import annotations

from tacit.core.protocols import LossModel, Model
from tacit.core.values import Array, Params, Schema, State
from tacit.learning.local_sgd import ROWS


def start(model: Model, schema: Schema, seed: int, private: tuple[str, ...]) -> State:
    """A state that holds the model's shared initial values."""
    return State({name: value for name, value in model.init(schema, seed).items() if name not in private})


def mean(total: Params, clients: float) -> dict[str, Array]:
    """Mean delta: by the summed `#rows` where it rides along, else by the number of clients.

    A sum of no clients moves nothing.
    """
    weight = float(total[ROWS]) if ROWS in total else float(clients)
    if weight <= 0.0:
        return {}
    return {name: value / weight for name, value in total.items() if name != ROWS}


def moved(shared: Params, step: Params) -> Params:
    """shared + step, computed in float64 and kept in each parameter's own type."""
    return {name: (value + step[name]).astype(value.dtype) if name in step else value for name, value in shared.items()}


def refuses(algorithm: object, model: Model, weighting: str = "uniform") -> str | None:
    """Why an algorithm of local gradient steps cannot learn this model, or None."""
    if weighting not in ("uniform", "rows"):
        return f"{type(algorithm).__name__}: weighting must be 'uniform' or 'rows', got {weighting!r}"
    if isinstance(model, LossModel):
        return None
    return (
        f"{type(algorithm).__name__} takes gradient steps, but {type(model).__name__} is solved from sums. "
        "Use SumOfStatistics, or a model with a loss."
    )


def refuses_personal(algorithm: object, model: Model, names: tuple[str, ...], weighting: str) -> str | None:
    """Why an algorithm cannot keep these parameters of a model on each client, or None."""
    if (why := refuses(algorithm, model, weighting)) is not None:
        return why
    assert isinstance(model, LossModel)
    known = set(model.init(Schema(model.serves, items=1, features=1), 0)) - {*model.constants, *model.tables}
    kind, what = type(algorithm).__name__, type(model).__name__
    if odd := sorted(set(names) - known):
        return f"{kind} cannot keep {odd} of {what} on each client; what it can keep is {sorted(known)}"
    if not model.tables and not known - set(personal(model, names)):
        return f"{kind} would keep every parameter of {what} on each client, so nothing would be learned together"
    return None


def personal(model: Model, names: tuple[str, ...]) -> tuple[str, ...]:
    """The private names of a personalised model: these, or its head, and what it keeps private anyway."""
    head = model.head if isinstance(model, LossModel) else ()
    return tuple(sorted({*(names or head), *model.private}))
