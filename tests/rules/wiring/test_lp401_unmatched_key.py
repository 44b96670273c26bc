"""LP401: keys against the names of the outputs, and weights against what they do to the total."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from .conftest import ROWS, Caught, TwoHeads, functional

ONES = np.ones(ROWS, "float32")


def arrays(y: Any, price: np.ndarray, age: np.ndarray) -> Any:
    """`p` and `a` in a structure become the arrays."""
    named = {"p": price, "a": age, "1": ONES}
    return keras.tree.map_structure(lambda leaf: named[leaf], y) if y is not None else None


@pytest.mark.parametrize(
    ("outputs", "y", "told", "title"),
    [
        (
            "list",
            ["p", "a"],
            {"loss": {"price": "mse", "agee": "mse"}},
            "loss key 'agee' does not match any output: 'price', 'age'; did you mean 'age'?",
        ),
        (
            "list",
            {"price": "p", "ages": "a"},
            {"loss": "mse"},
            "target key 'ages' does not match any output: 'price', 'age'; did you mean 'age'?",
        ),
        (
            "list",
            {"price": "p", "age": "a", "id": "a"},
            {"loss": "mse"},
            "target key 'id' does not match any output: 'price', 'age'",
        ),
        (
            "list",
            ["p", "a"],
            {"loss": {"price": "mse", "age": "mse"}, "loss_weights": {"price": 1.0, "years": 2.0}},
            "loss_weights key 'years' does not match any output: 'price', 'age'; did you mean 'age'?",
        ),
        (
            "list",
            ["p", "a"],
            {"loss": "mse", "metrics": {"prices": ["mae"]}},
            "metrics key 'prices' does not match any output: 'price', 'age'; did you mean 'price'?",
        ),
        (
            "dict",
            {"price": "p", "age": "a"},
            {"loss": {"price": "mse", "years": "mse"}},
            "loss key 'years' does not match any output: 'price', 'age'; did you mean 'age'?",
        ),
        (
            "dict",
            {"Price": "p", "age": "a"},
            {"loss": "mse"},
            "target key 'Price' does not match any output: 'price', 'age'; did you mean 'price'?",
        ),
        (
            "dict1",
            {"label": "p"},
            {"loss": "mse"},
            "target key 'label' does not match any output: 'price'; did you mean 'price'?",
        ),
        (
            "one",
            "p",
            {"loss": {"label": "mse"}},
            "loss key 'label' does not match any output: 'price'; did you mean 'price'?",
        ),
        (  # the names of the layers, where the outputs are a dict under other keys
            "renamed",
            {"cost": "p", "years": "a"},
            {"loss": {"price": "mse", "age": "mse"}},
            "loss keys 'price', 'age' do not match any output: 'cost', 'years'; did you mean 'cost', 'years'?",
        ),
    ],
)
def test_a_key_that_names_no_output(
    caught: Caught,
    x: np.ndarray,
    price: np.ndarray,
    age: np.ndarray,
    outputs: str,
    y: Any,
    told: dict[str, Any],
    title: str,
) -> None:
    (finding,) = caught("LP401", functional(outputs), x, arrays(y, price, age), told)
    assert finding.title == title
    assert finding.evidence["explains_error"] is True
    assert isinstance(finding.counterfactual.before, str)
    assert np.isfinite(finding.counterfactual.after)


def test_the_value_with_the_key_renamed(caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray) -> None:
    model = functional("list")
    predicted = [np.asarray(value, "float64") for value in model.predict(x, verbose=0)]
    told = {"loss": {"price": "mse", "agee": "mae"}, "loss_weights": {"price": 0.5, "agee": 3.0}}
    (finding,) = caught("LP401", model, x, [price, age], told, batch_size=ROWS)
    assert finding.evidence["arguments"] == ["loss", "loss_weights"]
    expected = 0.5 * np.mean((predicted[0] - price) ** 2) + 3.0 * np.mean(np.abs(predicted[1] - age))
    assert finding.counterfactual.after == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("target", ["list", "dict"])
def test_sample_weights_by_name_for_a_list_of_outputs(
    caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray, target: str
) -> None:
    y = [price, age] if target == "list" else {"price": price, "age": age}
    weights = {"price": ONES, "age": ONES}
    (finding,) = caught("LP401", functional("list"), x, y, {"loss": "mse"}, sample_weight=weights)
    assert finding.title == "sample_weight is a dict, but the outputs are a list"


def test_sample_weights_under_a_wrong_name(caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray) -> None:
    y, weights = {"price": price, "age": age}, {"price": ONES, "years": ONES}
    (finding,) = caught("LP401", functional("dict"), x, y, {"loss": "mse"}, sample_weight=weights)
    assert "sample_weight key 'years' does not match any output" in finding.title


def test_names_for_outputs_without_names(caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray) -> None:
    told = {"loss": {"price": "mse", "age": "mae"}}
    (finding,) = caught("LP401", TwoHeads("list"), x, [price, age], told)
    assert finding.title == "loss is a dict, but the outputs are a list without names"


@pytest.mark.parametrize(
    ("outputs", "loss", "weights", "measured"),
    [
        ("list", ["mse", "mae"], {"price": 1.0, "age": 100.0}, {"price": 100.0, "age": 1.0}),
        ("dict", {"price": "mse", "age": "mae"}, {"price": 2.0, "years": 8.0}, {"price": 8.0, "age": 2.0}),
        ("dict", {"price": "mse", "age": "mae"}, {"cost": 2.0, "old": 8.0}, {"price": 8.0, "age": 2.0}),
    ],
)
def test_a_weight_that_acts_on_another_output(
    caught: Caught,
    x: np.ndarray,
    price: np.ndarray,
    age: np.ndarray,
    outputs: str,
    loss: Any,
    weights: dict[str, float],
    measured: dict[str, float],
) -> None:
    model = functional(outputs)
    predicted = model.predict(x, verbose=0)
    predicted = predicted if isinstance(predicted, dict) else dict(zip(("price", "age"), predicted, strict=True))
    y = [price, age] if outputs == "list" else {"price": price, "age": age}
    (finding,) = caught("LP401", model, x, y, {"loss": loss, "loss_weights": weights}, batch_size=ROWS)
    squares = np.mean((predicted["price"].astype("float64") - price) ** 2)
    absolutes = np.mean(np.abs(predicted["age"].astype("float64") - age))
    assert finding.evidence["measured"] == pytest.approx(measured, rel=1e-4)
    assert finding.counterfactual.before == pytest.approx(
        measured["price"] * squares + measured["age"] * absolutes, rel=1e-4
    )
    own = dict(zip(("price", "age"), weights.values(), strict=True))
    assert finding.counterfactual.after == pytest.approx(own["price"] * squares + own["age"] * absolutes, rel=1e-4)


@pytest.mark.parametrize(
    "told",
    [
        {"loss": ["mse", "mae"]},
        {"loss": {"price": "mse", "age": "mae"}, "loss_weights": [1.0, 100.0]},
        {"loss": ["mse", "mae"], "loss_weights": [1.0, 100.0]},
    ],
)
def test_a_list_for_a_dict_of_outputs(
    caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray, told: dict[str, Any]
) -> None:
    y = {"price": price, "age": age}
    model = functional("dict")
    predicted = {key: np.asarray(value, "float64") for key, value in model.predict(x, verbose=0).items()}
    (finding,) = caught("LP401", model, x, y, told, batch_size=ROWS)
    weight = 100.0 if "loss_weights" in told else 1.0
    after = np.mean((predicted["price"] - price) ** 2) + weight * np.mean(np.abs(predicted["age"] - age))
    assert finding.counterfactual.after == pytest.approx(after, rel=1e-4)
    assert finding.counterfactual.before != pytest.approx(after, rel=1e-2)
    assert not caught("LP401", functional("sorted"), x, y, told)


@pytest.mark.parametrize(
    ("outputs", "y", "told"),
    [
        ("one", "p", {"loss": {"price": "mse"}}),
        ("one", "p", {"loss": "mse", "metrics": {"anything": "mae"}}),  # Keras does not look at the key
        ("list", ["p", "a"], {"loss": {"age": "mse", "price": "mae"}, "loss_weights": {"age": 3.0, "price": 1.0}}),
        ("list", {"age": "a", "price": "p"}, {"loss": ["mse", "mae"], "loss_weights": [1.0, 3.0]}),
        ("list", ["p", "a"], {"loss": {"price": "mse", "age": "mae"}, "loss_weights": {"price": 1e-5, "age": 1e5}}),
        ("list", ["p", "a"], {"loss": "mse", "metrics": {"age": ["mae"]}}),
        ("dict", {"age": "a", "price": "p"}, {"loss": {"price": "mse"}, "metrics": {"price": ["mae"]}}),
        (
            "dict",
            {"age": "a", "price": "p"},
            {"loss": {"price": "mse", "age": "mae"}, "loss_weights": {"age": 7.0, "price": 1.0}},
        ),
        ("dict", {"age": "a", "price": "p"}, {"loss": {"age": "mse", "price": "mae"}, "loss_weights": [7.0, 1.0]}),
        ("dict", {"age": "a", "price": "p"}, {"loss": ["mse", "mse"]}),  # in another order, and the same
        ("renamed", {"cost": "p", "years": "a"}, {"loss": {"cost": "mse", "years": "mae"}}),
    ],
)
def test_keys_that_match(
    caught: Caught,
    x: np.ndarray,
    price: np.ndarray,
    age: np.ndarray,
    outputs: str,
    y: Any,
    told: dict[str, Any],
) -> None:
    assert not caught("LP401", functional(outputs), x, arrays(y, price, age), told)


def test_a_misspelt_weight_that_still_reaches_its_output(
    caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray
) -> None:
    told = {"loss": {"price": "mse", "age": "mae"}, "loss_weights": {"prices": 1.0, "ages": 5.0}}
    assert not caught("LP401", functional("dict"), x, {"price": price, "age": age}, told)


def test_an_output_left_out_is_not_misnamed(caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray) -> None:
    for y in ({"price": price}, {"price": price, "age": age}):
        assert not caught("LP401", functional("list"), x, y, {"loss": {"price": "mse"}})


def test_a_loss_that_fails_for_its_own_reasons(
    caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray
) -> None:
    def broken(y_true: Any, y_pred: Any) -> Any:
        raise RuntimeError("no")

    told = {"loss": {"price": broken, "age": "mse"}}
    assert not caught("LP401", functional("list"), x, [price, age], told)


def test_weights_changed_after_training_began_are_not_misread(
    caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray
) -> None:
    weights = {"price": 1.0, "age": 0.02}

    class Switch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                weights["price"], weights["age"] = 0.02, 1.0

    told = {"loss": {"price": "mse", "age": "mae"}, "loss_weights": weights}
    y = {"price": price, "age": age}
    assert not caught("LP401", functional("dict"), x, y, told, epochs=2, callbacks=[Switch()])


def test_a_compute_loss_that_scales_its_losses_weights_them_itself(
    caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray
) -> None:
    class Halved(keras.Model):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return 0.5 * super().compute_loss(*args, **kwargs)

    inputs = keras.Input((3,))
    heads = [layers.Dense(1, name="price")(inputs), layers.Dense(1, name="age")(inputs)]
    told = {"loss": {"price": "mse", "age": "mae"}, "loss_weights": {"price": 1.0, "age": 2.0}}
    assert not caught("LP401", Halved(inputs, heads), x, [price, age], told)
