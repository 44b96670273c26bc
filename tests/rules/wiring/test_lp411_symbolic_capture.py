"""LP411: objectives that read a symbolic tensor, however they hold it, and their value once it has one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from .conftest import ROWS, Caught

HELD: Any = None


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def size(activations: Any) -> Any:
    return ops.mean(ops.abs(activations), axis=-1)


def small_model() -> tuple[Any, Any]:
    """A model and the symbolic output of its layer `hidden`, shape (None, 4)."""
    inputs = keras.Input((3,))
    hidden = layers.Dense(4, activation="tanh", name="hidden")(inputs)
    return keras.Model(inputs, layers.Dense(1, name="head")(hidden)), hidden


def closure(_: Any, hidden: Any) -> Any:
    return lambda y_true, y_pred: squared(y_true, y_pred) + size(hidden)


def of_a_global(_: Any, hidden: Any) -> Any:
    global HELD  # noqa: PLW0603 - what a script does
    HELD = hidden

    def loss(y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred) + size(HELD)

    return loss


class Penalised(keras.losses.Loss):
    def __init__(self, activations: Any) -> None:
        super().__init__()
        self.activations = activations

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred) + size(self.activations)


def attribute(_: Any, hidden: Any) -> Any:
    return Penalised(hidden)


def default(_: Any, hidden: Any) -> Any:
    def loss(y_true: Any, y_pred: Any, activations: Any = hidden) -> Any:
        return squared(y_true, y_pred) + size(activations)

    return loss


def argument(_: Any, hidden: Any) -> Any:
    def loss(activations: Any, y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred) + size(activations)

    return functools.partial(loss, hidden)


def keyword(_: Any, hidden: Any) -> Any:
    def loss(y_true: Any, y_pred: Any, activations: Any = None) -> Any:
        return squared(y_true, y_pred) + size(activations)

    return functools.partial(loss, activations=hidden)


def entry_of_a_list(_: Any, hidden: Any) -> Any:
    held = [hidden]
    return lambda y_true, y_pred: squared(y_true, y_pred) + size(held[0])


def entry_of_a_tuple(model: Any, hidden: Any) -> Any:
    held = (hidden, model.outputs[0])
    return lambda y_true, y_pred: squared(y_true, y_pred) + size(held[0])


def entry_of_a_dict(_: Any, hidden: Any) -> Any:
    held = {"hidden": hidden}
    return lambda y_true, y_pred: squared(y_true, y_pred) + size(held["hidden"])


def decorated(_: Any, hidden: Any) -> Any:
    def named(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(y_true: Any, y_pred: Any) -> Any:
            return function(y_true, y_pred)

        return inner

    @named
    def loss(y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred) + size(hidden)

    return loss


def output_of_a_layer(model: Any, _: Any) -> Any:
    return lambda y_true, y_pred: squared(y_true, y_pred) + size(model.get_layer("hidden").output)


WAYS = [
    closure,
    of_a_global,
    attribute,
    default,
    argument,
    keyword,
    entry_of_a_list,
    entry_of_a_tuple,
    entry_of_a_dict,
    decorated,
    output_of_a_layer,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_however_it_is_held(caught: Caught, x: np.ndarray, age: np.ndarray, way: Any) -> None:
    model, hidden = small_model()
    weights = [np.asarray(w, "float64") for w in model.get_weights()]
    activations = np.tanh(x @ weights[0] + weights[1])
    expected = np.mean((activations @ weights[2] + weights[3] - age) ** 2) + np.mean(np.abs(activations))
    (finding,) = caught("LP411", model, x, age, {"loss": way(model, hidden)}, batch_size=ROWS)
    assert finding.counterfactual.after == pytest.approx(expected, rel=1e-4)
    assert isinstance(finding.counterfactual.before, str)
    assert finding.evidence["explains_error"] is True
    (symbol,) = finding.evidence["symbols"]
    assert symbol["layer"] == "hidden"
    assert symbol["shape"] == [None, 4]
    source = finding.where.source
    assert "size(" in source  # the line that reads it, not the call of fit
    assert source[finding.where.column : finding.where.end_column] == finding.where.expression


def test_every_symbolic_tensor_is_named(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    model, hidden = small_model()
    (inputs,) = model.inputs
    unused = model.outputs[0]

    def loss(y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred) * unused.shape[-1] + size(hidden) + size(inputs)

    (finding,) = caught("LP411", model, x, age, {"loss": loss}, batch_size=ROWS)
    assert {symbol["name"] for symbol in finding.evidence["symbols"]} == {"hidden", "inputs"}
    assert "symbolic tensors" in finding.title


def test_a_metric(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    model, hidden = small_model()

    def activity(y_true: Any, y_pred: Any) -> Any:
        return size(hidden)

    (finding,) = caught("LP411", model, x, age, {"loss": "mse", "metrics": [activity]})
    assert finding.where.scope.endswith("activity")


def test_a_compute_loss(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    inputs = keras.Input((3,))
    hidden = layers.Dense(4, name="hidden")(inputs)

    class Own(keras.Model):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            return ops.mean(squared(y, y_pred)) + ops.mean(size(hidden))

    (finding,) = caught("LP411", Own(inputs, layers.Dense(1)(hidden)), x, age, {"loss": None})
    assert finding.where.scope.endswith("compute_loss")


def test_the_same_forward_pass_where_layers_are_random(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    """The loss is the difference of the output and of what it was made from: 0, if both come from one pass."""
    inputs = keras.Input((3,))
    dropped = layers.Dropout(0.5)(layers.Dense(64)(inputs))
    model = keras.Model(inputs, layers.Identity()(dropped))

    def loss(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_pred - dropped), axis=-1)

    (finding,) = caught("LP411", model, x, age, {"loss": loss})
    assert finding.counterfactual.after == 0.0


def test_a_tensor_of_a_model_within_the_model(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    own_inputs = keras.Input((3,))
    encoder = keras.Model(own_inputs, layers.Dense(2, name="code")(own_inputs), name="encoder")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1)(encoder(2.0 * inputs)))
    kernel, bias = (np.asarray(w, "float64") for w in encoder.get_weights())

    def loss(y_true: Any, y_pred: Any) -> Any:
        return size(encoder.output) + 0.0 * squared(y_true, y_pred)

    (finding,) = caught("LP411", model, x, age, {"loss": loss}, batch_size=ROWS)
    expected = np.mean(np.abs(2.0 * x.astype("float64") @ kernel + bias))
    assert finding.counterfactual.after == pytest.approx(expected, rel=1e-4)


def test_what_only_reads_a_shape_is_silent(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    model, hidden = small_model()

    def loss(y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred) * hidden.shape[-1]

    assert not caught("LP411", model, x, age, {"loss": loss})


def test_another_error_is_not_explained(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    model, hidden = small_model()

    def loss(y_true: Any, y_pred: Any) -> Any:
        raise RuntimeError(str(hidden.shape))

    assert not caught("LP411", model, x, age, {"loss": loss})


def test_a_tensor_of_no_model_at_hand_is_silent(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    elsewhere = layers.Dense(2)(keras.Input((7,)))
    model, _ = small_model()

    def loss(y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred) + size(elsewhere)

    assert not caught("LP411", model, x, age, {"loss": loss})


def test_what_holds_it_is_left_as_it_was(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    model, hidden = small_model()
    held = [hidden]

    def loss(y_true: Any, y_pred: Any, activations: Any = hidden) -> Any:
        return squared(y_true, y_pred) + size(held[0]) + size(activations)

    partial = functools.partial(loss, activations=hidden)
    assert caught("LP411", model, x, age, {"loss": partial})
    assert held[0] is hidden
    assert loss.__defaults__ == (hidden,)
    assert partial.keywords["activations"] is hidden
    assert isinstance(model.get_layer("hidden").output, keras.KerasTensor)
