"""LP412 against totals computed in NumPy: which losses are part of what Keras minimises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from .conftest import ROWS, Caught, TwoHeads, functional


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def absolute(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


class Absolute(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return absolute(y_true, y_pred)


def outputs(model: Any, x: np.ndarray, name: str) -> np.ndarray:
    """One output of `functional`, in float64, from its weights."""
    w, b = (np.asarray(v, "float64") for v in model.get_layer("hidden").get_weights())
    head_w, head_b = (np.asarray(v, "float64") for v in model.get_layer(name).get_weights())
    return np.tanh(x @ w + b) @ head_w + head_b


@pytest.mark.parametrize(
    "losses",
    [
        [squared, absolute],
        ["mse", "mae"],
        (squared, "mae"),
        [keras.losses.MeanSquaredError(), Absolute()],
        {"price": [squared, lambda y_true, y_pred: absolute(y_true, y_pred)]},
    ],
    ids=["functions", "strings", "tuple", "objects", "dict"],
)
@pytest.mark.parametrize("weight", [None, 0.25])
def test_the_second_loss_of_one_output_has_no_effect(
    caught: Caught, x: np.ndarray, price: np.ndarray, losses: Any, weight: float | None
) -> None:
    model = functional("one")
    error = price - outputs(model, x, "price")
    told = {"loss": losses}
    if weight is not None:
        told["loss_weights"] = {"price": [1.0, weight]} if isinstance(losses, dict) else [1.0, weight]
    (finding,) = caught("LP412", model, x, price, told, batch_size=ROWS)
    before, part = np.mean(error**2), np.mean(np.abs(error))
    assert finding.counterfactual.before == pytest.approx(before, rel=1e-5)
    assert finding.counterfactual.after == pytest.approx(before + (1.0 if weight is None else weight) * part, rel=1e-5)
    kept, dropped = finding.evidence["losses"]
    assert kept["measured weight"] == pytest.approx(1.0, rel=1e-5)
    assert dropped["measured weight"] == 0.0
    assert dropped["value"] == pytest.approx(part, rel=1e-5)
    assert "has no effect on the loss" in finding.title


def test_three_losses_drop_two(caught: Caught, x: np.ndarray, price: np.ndarray) -> None:
    (finding,) = caught("LP412", functional("one"), x, price, {"loss": [squared, absolute, "huber"]})
    assert finding.evidence["dropped"] == ["absolute", "huber"]
    assert "have no effect" in finding.title


def test_the_fix_is_the_weighted_sum(caught: Caught, x: np.ndarray, price: np.ndarray) -> None:
    told = {"loss": [squared, absolute], "loss_weights": [1.0, 0.5]}
    (finding,) = caught("LP412", functional("one"), x, price, told)
    assert finding.fix.code == "loss=lambda y_true, y_pred: squared(y_true, y_pred) + 0.5 * absolute(y_true, y_pred)"
    written: Callable[..., Any] = eval(
        finding.fix.code.removeprefix("loss="), {"squared": squared, "absolute": absolute}
    )
    assert not caught("LP412", functional("one"), x, price, {"loss": written})


@pytest.mark.parametrize("form", ["functional", "subclassed"])
def test_fewer_losses_than_outputs(
    caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray, form: str
) -> None:
    model = functional("list") if form == "functional" else TwoHeads("list")
    (finding,) = caught("LP412", model, x, [price, age], {"loss": [squared]}, batch_size=ROWS)
    assert finding.title == ("output 'age' is not trained" if form == "functional" else "output 2 is not trained")
    assert finding.counterfactual.after > finding.counterfactual.before


def test_fewer_losses_than_outputs_in_numbers(
    caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray
) -> None:
    model = functional("list")
    first = np.mean((price - outputs(model, x, "price")) ** 2)
    second = np.mean((age - outputs(model, x, "age")) ** 2)
    (finding,) = caught("LP412", model, x, [price, age], {"loss": [squared]}, batch_size=ROWS)
    assert finding.counterfactual.before == pytest.approx(first, rel=1e-5)
    assert finding.counterfactual.after == pytest.approx(first + second, rel=1e-5)


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        ("one", {"loss": squared}),
        ("one", {"loss": [squared]}),
        ("one", {"loss": [squared, absolute], "loss_weights": [1.0, 0.0]}),
        ("list", {"loss": [squared, absolute]}),
        ("list", {"loss": [squared, None]}),
        ("list", {"loss": "mse"}),
        ("list", {"loss": [[squared, absolute], "mse"]}),
        ("list", {"loss": [squared, absolute], "loss_weights": [1e-6, 1.0]}),
        ("list", {"loss": {"price": squared, "age": absolute}, "loss_weights": {"price": 1.0, "age": 1e4}}),
        ("dict", {"loss": {"price": [squared, absolute], "age": "mse"}}),
        ("dict", {"loss": {"price": squared}}),
    ],
)
def test_losses_that_all_count(
    caught: Caught,
    x: np.ndarray,
    price: np.ndarray,
    age: np.ndarray,
    outputs: str,
    told: dict[str, Any],
) -> None:
    y = {"one": price, "list": [price, age], "dict": {"price": price, "age": age}}[outputs]
    assert not caught("LP412", functional(outputs), x, y, told)


def test_an_output_without_target_is_left_out_on_purpose(caught: Caught, x: np.ndarray, price: np.ndarray) -> None:
    assert not caught("LP412", functional("list"), x, [price], {"loss": [squared]})


def test_a_compute_loss_that_scales_its_losses_drops_none(
    caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray
) -> None:
    class Halved(keras.Model):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return 0.5 * super().compute_loss(*args, **kwargs)

    inputs = keras.Input((3,))
    model = Halved(inputs, [layers.Dense(1)(inputs), layers.Dense(1)(inputs)])
    assert not caught("LP412", model, x, [price, age], {"loss": [squared, absolute]})
