"""LP302: a loss, or its weights, assigned to the model instead of compiled, against the loss in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from .conftest import Caught, Watched

Do = Callable[[Any, int], None]


def absolute(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


class Stage(keras.callbacks.Callback):
    def __init__(self, do: Do) -> None:
        super().__init__()
        self.do = do

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.do(self.model, epoch)


class Switch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 5:
            self.model.loss = absolute


def line(kind: type[keras.Model] = keras.Model) -> keras.Model:
    inputs = keras.Input((3,))
    return kind(inputs, layers.Dense(1)(inputs))


def test_another_loss_at_an_epoch(caught: Caught, x: np.ndarray) -> None:
    model = line()
    kernel, bias = model.get_weights()
    told = {"loss": "mean_squared_error", "run_eagerly": True}
    (finding,) = caught("LP302", model, x, x[:, :1], told, epochs=9, callbacks=[Switch()], batch_size=32, shuffle=False)
    error = x @ kernel + bias - x[:, :1]
    assert finding.counterfactual.before == pytest.approx(np.mean(error**2), rel=1e-5)
    assert finding.counterfactual.after == pytest.approx(np.mean(np.abs(error)), rel=1e-5)
    assert finding.where is not None
    assert (finding.where.scope, finding.where.expression) == ("Switch.on_epoch_begin", "self.model.loss")


def test_another_loss_between_compile_and_fit(watched: Watched, x: np.ndarray) -> None:
    def script() -> None:
        model = line()
        model.compile(optimizer="sgd", loss="mse")
        model.loss = absolute
        model.fit(x, x[:, :1], verbose=0)

    assert len(watched("LP302", script)) == 1


def heavier(model: Any, epoch: int) -> None:
    model.loss_weights = [1.0, 10.0 * epoch]


def test_other_weights(caught: Caught, x: np.ndarray) -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, [layers.Dense(1, name="a")(inputs), layers.Dense(1, name="b")(inputs)])
    told = {"loss": ["mse", "mse"], "loss_weights": [1.0, 1.0]}
    (finding,) = caught("LP302", model, x, [x[:, :1], x[:, 1:2]], told, epochs=3, callbacks=[Stage(heavier)])
    assert "model.loss_weights" in finding.title


class Reading(keras.Model):
    """Trains what `self.loss` says."""

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        return ops.mean(self.loss(y, y_pred)) if self.compiled else self._compile_loss(y, y_pred)


class Weighing(keras.Model):
    """Has a number of its own under this name."""

    loss_weights = 0.5

    def call(self, inputs: Any, training: bool = False) -> Any:
        outputs = super().call(inputs)
        self.add_loss(self.loss_weights * ops.mean(ops.square(outputs)))
        return outputs


def same(model: Any, epoch: int) -> None:
    model.loss = "mean_squared_error"


def switch(model: Any, epoch: int) -> None:
    model.loss = absolute


def compiled_again(model: Any, epoch: int) -> None:
    if epoch == 1:
        model.loss = absolute
        model.compile(optimizer=model.optimizer, loss=absolute, run_eagerly=True)


def weigh(model: Any, epoch: int) -> None:
    model.loss_weights = 0.5 + epoch


@pytest.mark.parametrize(
    ("kind", "do"),
    [(keras.Model, same), (Reading, switch), (keras.Model, compiled_again), (Weighing, weigh)],
)
def test_an_assignment_that_changes_nothing_or_is_read(
    caught: Caught, x: np.ndarray, kind: type[keras.Model], do: Do
) -> None:
    told = {"loss": keras.losses.mean_squared_error, "run_eagerly": True}
    assert not caught("LP302", line(kind), x, x[:, :1], told, epochs=3, callbacks=[Stage(do)])
