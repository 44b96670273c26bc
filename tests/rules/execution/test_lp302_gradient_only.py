"""LP302: a value that no loss depends on, only its gradient, against the gradient in NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from .conftest import Caught


class Reversal(layers.Layer):
    """The identity, whose gradient is multiplied by -strength."""

    def __init__(self, kept: bool = False) -> None:
        super().__init__()
        self.strength: Any = self.add_weight(shape=(), initializer="zeros", trainable=False) if kept else 0.0
        self.calls = 0

    def call(self, inputs: Any) -> Any:
        self.calls += 1
        return ops.stop_gradient(inputs * (1.0 + self.strength)) - inputs * self.strength


class Raising(keras.callbacks.Callback):
    def __init__(self, layer: Reversal) -> None:
        super().__init__()
        self.layer = layer

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if isinstance(self.layer.strength, float):
            self.layer.strength = 0.25 * epoch
        else:
            self.layer.strength.assign(0.25 * epoch)


class Counting(keras.callbacks.Callback):
    """Changes a number that is read, and of which nothing comes."""

    def __init__(self, layer: Reversal) -> None:
        super().__init__()
        self.layer = layer

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.layer.calls = 100 * epoch


def found(caught: Caught, x: np.ndarray, layer: Reversal, callback: Any) -> tuple[list[Any], list[np.ndarray]]:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(layers.Dense(1)(inputs)))
    start = model.get_weights()
    told = {"batch_size": 32, "epochs": 3, "shuffle": False, "callbacks": [callback(layer)]}
    return caught("LP302", model, x, x[:, :1], **told), start


@pytest.mark.backend("tensorflow", "jax")
def test_the_strength_of_a_gradient_reversal(caught: Caught, x: np.ndarray) -> None:
    (finding,), (kernel, bias) = found(caught, x, Reversal(), Raising)
    error = (x @ kernel + bias - x[:, :1]).astype("float64")
    gradient = np.append(2.0 * x.T @ error / 32.0, 2.0 * error.mean())
    assert finding.evidence["changed_to"] == 0.5
    assert finding.counterfactual.before == 0.0
    assert finding.counterfactual.after == pytest.approx(0.5 * np.linalg.norm(gradient), rel=1e-4)
    assert finding.where is not None
    assert finding.where.scope == "Reversal.call"


@pytest.mark.backend("torch")
def test_pytorch_follows(caught: Caught, x: np.ndarray) -> None:
    assert not found(caught, x, Reversal(), Raising)[0]


def test_a_weight_of_the_layer_and_a_number_without_consequence(caught: Caught, x: np.ndarray) -> None:
    assert not found(caught, x, Reversal(kept=True), Raising)[0]
    assert not found(caught, x, Reversal(), Counting)[0]
