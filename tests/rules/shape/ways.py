"""The ways in which a loss is written, and one batch to try them on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

SIZE = 32
"""Rows: one batch, so that NumPy sees what the rule sees."""

_random = np.random.default_rng(7)
X = _random.normal(size=(SIZE, 4)).astype("float32")
Y = (X @ _random.normal(size=(4, 3)) + _random.normal(size=(SIZE, 3))).astype("float32")
WEIGHTS = _random.uniform(0.1, 2.0, SIZE).astype("float32")

Loss = Callable[[Any, Any], Any]


def closure(loss: Loss) -> Loss:
    def inner(y_true: Any, y_pred: Any) -> Any:
        return loss(y_true, y_pred)

    return inner


def partial(loss: Loss) -> Loss:
    def with_setting(y_true: Any, y_pred: Any, setting: float) -> Any:
        return setting * loss(y_true, y_pred)

    return functools.partial(with_setting, setting=1.0)


def method(loss: Loss) -> Loss:
    class Owner:
        def objective(self, y_true: Any, y_pred: Any) -> Any:
            return loss(y_true, y_pred)

    return Owner().objective


def decorated(loss: Loss) -> Loss:
    def noting(function: Loss) -> Loss:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @noting
    def wrapped(y_true: Any, y_pred: Any) -> Any:
        return loss(y_true, y_pred)

    return wrapped


def callable_object(loss: Loss) -> Loss:
    class Objective:
        def __call__(self, y_true: Any, y_pred: Any) -> Any:
            return loss(y_true, y_pred)

    return Objective()


def subclass(loss: Loss, **arguments: Any) -> keras.losses.Loss:
    class Own(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return loss(y_true, y_pred)

    return Own(**arguments)


FUNCTIONS: dict[str, Callable[[Loss], Loss]] = {
    "function": lambda loss: loss,
    "lambda": lambda loss: lambda y_true, y_pred: loss(y_true, y_pred),
    "closure": closure,
    "partial": partial,
    "method": method,
    "decorated": decorated,
    "callable object": callable_object,
}
"""Keras hands targets to these with the rank of the predictions."""

WAYS: dict[str, Callable[[Loss], Any]] = {**FUNCTIONS, "subclass": subclass}


def linear(outputs: int, model: type[keras.Model] = keras.Model) -> keras.Model:
    """One dense layer on 4 inputs."""
    inputs = keras.Input((4,))
    return model(inputs, layers.Dense(outputs)(inputs))


def two_heads(outputs: int = 1) -> keras.Model:
    """Outputs `a` and `b`."""
    inputs = keras.Input((4,))
    return keras.Model(inputs, {name: layers.Dense(outputs, name=name)(inputs) for name in ("a", "b")})


def predicted(model: keras.Model) -> Any:
    """The predictions for `X`, in float64."""
    return keras.tree.map_structure(lambda leaf: np.asarray(leaf, "float64"), model.predict(X, verbose=0))
