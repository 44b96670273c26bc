"""LP304: loops that compile in each round, and their healthy relatives."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from .conftest import Watched

ROUNDS = 7


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


class Scaled(keras.losses.Loss):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.factor * squared(y_true, y_pred)


def dense() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Dense(1)])


def loss_of(kind: str, factor: float) -> Any:
    return {
        "class": Scaled(factor),
        "closure": lambda y_true, y_pred: factor * squared(y_true, y_pred),
        "function": squared,
    }[kind]


@pytest.mark.backend("tensorflow", "jax")
@pytest.mark.parametrize("kind", ["class", "closure", "function"])
def test_compile_in_each_round(watched: Watched, x: np.ndarray, kind: str) -> None:
    def script() -> None:
        model = dense()
        for i in range(ROUNDS):
            model.compile(optimizer="sgd", loss=loss_of(kind, 0.1 * i + 0.1))
            model.train_on_batch(x, x[:, :1])

    (finding,) = watched("LP304", script)
    assert finding.counterfactual.before == ROUNDS
    assert finding.counterfactual.after == 1
    assert finding.where is not None
    assert "compile" in (finding.where.source or "")


@pytest.mark.backend("jax")
def test_a_new_length_in_each_step(watched: Watched, x: np.ndarray) -> None:
    def script() -> None:
        model = dense()
        model.compile(optimizer="sgd", loss="mse")
        for length in range(3, 3 + ROUNDS):
            model.train_on_batch(x[:length], x[:length, :1])

    (finding,) = watched("LP304", script)
    assert finding.counterfactual.before == ROUNDS


def test_a_few_lengths_met_often(watched: Watched, x: np.ndarray) -> None:
    def script() -> None:
        model = dense()
        model.compile(optimizer="sgd", loss="mse")
        for i in range(20):
            length = 3 + i % 4
            model.train_on_batch(x[:length], x[:length, :1])

    assert not watched("LP304", script)


def test_a_few_phases(watched: Watched, x: np.ndarray) -> None:
    def script() -> None:
        model = dense()
        for i in range(3):
            model.compile(optimizer="sgd", loss=Scaled(0.1 * i))
            model.fit(x, x[:, :1], verbose=0)

    assert not watched("LP304", script)


def test_a_comparison_that_puts_the_weights_back(watched: Watched, x: np.ndarray) -> None:
    def script() -> None:
        model = dense()
        start = model.get_weights()
        for i in range(ROUNDS):
            model.set_weights(start)
            model.compile(optimizer=keras.optimizers.SGD(0.01 * (i + 1)), loss="mse")
            model.train_on_batch(x, x[:, :1])

    assert not watched("LP304", script)


def test_a_new_model_in_each_round(watched: Watched, x: np.ndarray) -> None:
    def script() -> None:
        for _ in range(ROUNDS):
            model = dense()
            model.compile(optimizer="sgd", loss="mse")
            model.train_on_batch(x, x[:, :1])

    assert not watched("LP304", script)


def test_layers_thawed_one_by_one(watched: Watched, x: np.ndarray) -> None:
    def script() -> None:
        model = keras.Sequential([keras.Input((3,)), *(layers.Dense(3) for _ in range(ROUNDS)), layers.Dense(1)])
        for i in range(ROUNDS):
            for j, layer in enumerate(model.layers[:-1]):
                layer.trainable = j >= ROUNDS - i
            model.compile(optimizer="sgd", loss="mse")
            model.train_on_batch(x, x[:, :1])

    assert not watched("LP304", script)
