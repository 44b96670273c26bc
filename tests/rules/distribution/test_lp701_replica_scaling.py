"""LP701: what replicas minimise together, against one device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from .conftest import Watched

pytestmark = pytest.mark.backend("tensorflow")


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def scalar(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred))


class Scalar(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return scalar(y_true, y_pred)


def summed(y_true: Any, y_pred: Any) -> Any:
    return ops.sum(ops.square(y_true - y_pred))


def contrasted(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_pred - ops.transpose(y_pred)), axis=-1) + squared(y_true, y_pred)


class Own(keras.Model):
    divide = False

    def train_step(self, data: Any) -> Any:
        import tensorflow as tf

        inputs, targets = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(targets - self(inputs, training=True)))
            if self.divide:
                loss = loss / tf.distribute.get_strategy().num_replicas_in_sync
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


class Divided(Own):
    divide = True


def trained(x: np.ndarray, loss: Any, distributed: bool = True, kind: Any = keras.Model) -> Callable[[], None]:
    import tensorflow as tf

    def script() -> None:
        strategy = tf.distribute.MirroredStrategy(["CPU:0"]) if distributed else tf.distribute.get_strategy()
        with strategy.scope():
            inputs = keras.Input((3,))
            model = kind(inputs, layers.Dense(1)(inputs))
            model.compile(optimizer="sgd", loss=loss)
        model.fit(x, x[:, :1], verbose=0)

    return script


@pytest.mark.parametrize("loss", [scalar, Scalar(), lambda t, p: scalar(t, p)])
def test_a_scalar_is_doubled(watched: Watched, x: np.ndarray, loss: Any) -> None:
    (finding,) = watched("LP701", trained(x, loss))
    assert finding.evidence["same_batch"] == pytest.approx(2.0 * finding.evidence["one_device"])  # type: ignore[operator]
    assert finding.evidence["scalar"]


def test_a_step_of_their_own(watched: Watched, x: np.ndarray) -> None:
    (finding,) = watched("LP701", trained(x, None, kind=Own))
    assert finding.where is not None
    assert finding.where.scope == "Own.train_step"
    assert not watched("LP701", trained(x, None, kind=Divided))


@pytest.mark.parametrize("loss", [squared, "mse", summed, contrasted, keras.losses.MeanSquaredError(reduction="sum")])
def test_what_is_right_on_any_number_of_replicas(watched: Watched, x: np.ndarray, loss: Any) -> None:
    assert not watched("LP701", trained(x, loss))


def test_without_a_strategy_nothing_is_said(watched: Watched, x: np.ndarray) -> None:
    assert not watched("LP701", trained(x, scalar, distributed=False))
