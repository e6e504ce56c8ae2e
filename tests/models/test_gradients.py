"""Hand-written gradients equal autograd, for every model that brings them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit import models
from tacit.core.protocols import HasGradients, LossModel
from tacit.core.values import Schema
from tacit.federation.vocabulary import components

CLASSES = [cls for cls in components(models, "serves", "init").values() if isinstance(cls(), LossModel)]
SMALL = {"dim": 3, "hidden": 5, "l2": 0.3}
MODELS: list[Any] = [
    replace(cls(), **{name: value for name, value in SMALL.items() if name in cls.__dataclass_fields__})
    for cls in CLASSES
]
EVERY = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
ITEMS, FEATURES = 7, 4


def stacked(model: Any, seed: int, clients: int, batch: int) -> tuple[dict[str, Any], dict[str, Any], torch.Tensor]:
    """Random parameters, a random batch and random weights of stacked clients, float64."""
    random = np.random.default_rng(seed)
    init = model.init(Schema(model.serves, items=ITEMS, features=FEATURES), 0)
    params = {name: torch.tensor(random.standard_normal((clients, *np.shape(v)))) for name, v in init.items()}
    if "scale" in params:
        params["scale"] = params["scale"].abs() + 0.5
    rows: dict[str, Any] = {}
    if model.serves == "interactions":
        item = torch.tensor(random.integers(0, ITEMS, (clients, batch)))
        rows = {"item": item, "place": item + ITEMS * torch.arange(clients)[:, None]}
        rows["label"] = torch.tensor(random.integers(0, 2, (clients, batch)).astype(float))
    else:
        rows = {"x": torch.tensor(random.standard_normal((clients, batch, FEATURES)))}
        rows["y"] = torch.tensor(random.integers(0, 2, (clients, batch)).astype(float))
    weight = torch.tensor(random.random((clients, batch)) * (random.random((clients, batch)) < 0.8))
    return params, rows, weight


def dense(gradient: Any, like: torch.Tensor) -> torch.Tensor:
    """A gradient as an array of the parameter's shape: examples of a table added into the rows that they name."""
    if not isinstance(gradient, tuple):
        return gradient  # type: ignore[no-any-return]
    place, values = gradient
    out = torch.zeros_like(like).flatten(0, 1)
    return out.index_add(0, place.flatten(), values.flatten(0, 1)).reshape(like.shape)


def test_the_folder_holds_models_with_gradients() -> None:
    assert len(MODELS) >= 4 and all(isinstance(model, HasGradients) for model in MODELS)


@EVERY
@given(seed=st.integers(0, 2**31), clients=st.integers(1, 4), batch=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_gradients_by_hand_equal_autograd(model: Any, seed: int, clients: int, batch: int) -> None:
    params, rows, weight = stacked(model, seed, clients, batch)
    trained = {name: value.clone().requires_grad_() for name, value in params.items() if name not in model.constants}
    total = torch.zeros((), dtype=torch.float64)
    for c in range(clients):
        mine = {name: {**params, **trained}[name][c] for name in params}
        total = total + (model.loss(mine, {name: value[c] for name, value in rows.items()}) * weight[c]).sum()
    expected = dict(zip(trained, torch.autograd.grad(total, list(trained.values())), strict=True))
    found = model.gradients(params, rows, weight)
    assert found.keys() == expected.keys(), "every trained parameter has a gradient, and no constant"
    for name, gradient in found.items():
        torch.testing.assert_close(dense(gradient, params[name]), expected[name], rtol=1e-9, atol=1e-12)


@EVERY
def test_gradients_do_not_change_what_they_read(model: Any) -> None:
    params, rows, weight = stacked(model, 0, 3, 4)
    before = {name: value.clone() for name, value in {**params, **rows, "weight": weight}.items()}
    model.gradients(params, rows, weight)
    for name, value in {**params, **rows, "weight": weight}.items():
        assert torch.equal(value, before[name]), name


@EVERY
def test_the_loss_is_one_finite_number_per_example_even_at_extreme_scores(model: Any) -> None:
    params, rows, _ = stacked(model, 1, 1, 6)
    for scale in (1.0, 1e3):
        mine = {name: value[0] * (scale if name not in model.constants else 1.0) for name, value in params.items()}
        losses = model.loss(mine, {name: value[0] for name, value in rows.items()})
        assert losses.shape == (6,) and bool(torch.isfinite(losses).all()) and bool((losses >= 0.0).all())


@EVERY
def test_what_a_model_says_of_its_parameters_fits_them(model: Any) -> None:
    init = model.init(Schema(model.serves, items=ITEMS, features=FEATURES), 0)
    for names in (model.private, model.constants, model.head, model.tables):
        assert set(names) <= set(init)
    assert not set(model.private) & set(model.constants) and not set(model.head) & set(model.constants)
    assert all(value.dtype == np.float32 and np.all(np.isfinite(value)) for value in init.values())
    again = model.init(Schema(model.serves, items=ITEMS, features=FEATURES), 0)
    assert all(np.array_equal(again[name], value) for name, value in init.items())
