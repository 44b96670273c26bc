"""LP306: code that needs values where tensors are traced, in the many places where people put it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from .conftest import Caught, Watched


def dense() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Dense(1)])


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def through_numpy(y_true: Any, y_pred: Any) -> Any:
    return np.mean(np.square(np.asarray(y_true) - np.asarray(y_pred)), axis=-1)


class ThroughNumpy(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return through_numpy(y_true, y_pred)


def branching(y_true: Any, y_pred: Any) -> Any:
    error = squared(y_true, y_pred)
    if ops.max(error) > 0:
        error = 2.0 * error
    return error


def counting(y_true: Any, y_pred: Any) -> Any:
    rows = [squared(y_true[i : i + 1], y_pred[i : i + 1]) for i in range(y_pred.shape[0])]
    return ops.concatenate(rows, axis=0)


def measured(y_true: Any, y_pred: Any) -> Any:
    return squared(y_true, y_pred) / float(ops.max(ops.abs(y_true)))


class Branching(keras.Model):
    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        loss = ops.mean(ops.square(y - y_pred))
        return 2.0 * loss if loss > 0 else loss


@pytest.mark.parametrize("loss", [through_numpy, ThroughNumpy(), lambda t, p: through_numpy(t, p)])
def test_numpy_cannot_be_traced_and_has_a_value(caught: Caught, x: np.ndarray, loss: Any) -> None:
    model = dense()
    weights = model.get_weights()
    (finding,) = caught("LP306", model, x, x[:, :1], {"loss": loss}, shuffle=False, batch_size=32)
    kernel, bias = (w.astype("float64") for w in weights)
    expected = np.mean((x[:, :1] - x.astype("float64") @ kernel - bias) ** 2)
    assert finding.counterfactual.after == pytest.approx(expected, rel=1e-5)
    assert finding.evidence["explains_error"]
    assert finding.where is not None
    assert "np.asarray" in (finding.where.source or "")


@pytest.mark.backend("tensorflow", "jax")
@pytest.mark.parametrize("loss", [branching, measured])
def test_a_value_that_is_asked_for(caught: Caught, x: np.ndarray, loss: Any) -> None:
    (finding,) = caught("LP306", dense(), x, x[:, :1] + 1.0, {"loss": loss})
    assert "loss on" not in finding.counterfactual.change
    assert finding.where is not None
    assert finding.where.scope == loss.__name__


@pytest.mark.backend("tensorflow")
def test_a_size_that_is_open_in_the_graph(caught: Caught, x: np.ndarray) -> None:
    (finding,) = caught("LP306", dense(), x[:30], x[:30, :1], {"loss": counting})
    assert finding.where is not None
    assert "y_pred.shape[0]" in (finding.where.source or "")


@pytest.mark.backend("tensorflow", "jax")
def test_in_compute_loss(caught: Caught, x: np.ndarray) -> None:
    inputs = keras.Input((3,))
    model = Branching(inputs, layers.Dense(1)(inputs))
    (finding,) = caught("LP306", model, x, x[:, :1], {"loss": None})
    assert finding.where is not None
    assert finding.where.scope == "Branching.compute_loss"


@pytest.mark.backend("tensorflow", "jax")
def test_in_a_metric(caught: Caught, x: np.ndarray) -> None:
    (finding,) = caught("LP306", dense(), x, x[:, :1], {"loss": "mse", "metrics": [through_numpy]})
    assert finding.evidence["part"] == "metric"


@pytest.mark.backend("tensorflow")
def test_in_a_train_step_of_tensorflow(caught: Caught, x: np.ndarray) -> None:
    import tensorflow as tf

    class Logging(keras.Model):
        def train_step(self, data: Any) -> Any:
            inputs, targets = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(targets - self(inputs, training=True)))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"loss": float(loss.numpy())}

    inputs = keras.Input((3,))
    (finding,) = caught("LP306", Logging(inputs, layers.Dense(1)(inputs)), x, x[:, :1], {"loss": None})
    assert finding.evidence["part"] == "train_step"
    assert finding.where is not None
    assert "loss.numpy()" in (finding.where.source or "")


@pytest.mark.backend("jax")
def test_in_a_train_step_of_jax(caught: Caught, x: np.ndarray) -> None:
    class Logging(keras.Model):
        def train_step(self, state: Any, data: Any) -> Any:
            logs, state = super().train_step(state, data)
            return {"loss": float(logs["loss"])}, state

    inputs = keras.Input((3,))
    (finding,) = caught("LP306", Logging(inputs, layers.Dense(1)(inputs)), x, x[:, :1])
    assert finding.where is not None
    assert "float(" in (finding.where.source or "")


@pytest.mark.parametrize("eagerly", [False, True])
def test_an_error_of_another_kind_is_none_of_ours(caught: Caught, x: np.ndarray, eagerly: bool) -> None:
    def wrong(y_true: Any, y_pred: Any) -> Any:
        return ops.matmul(y_true, ops.ones((7, 1))) - y_pred

    def missing(y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred)[:, {}["axis"]]

    for loss in (wrong, missing):
        assert not caught("LP306", dense(), x, x[:, :1], {"loss": loss, "run_eagerly": eagerly})


def test_data_that_do_not_fit_are_none_of_ours(caught: Caught, x: np.ndarray) -> None:
    assert not caught("LP306", dense(), x[:, :2], x[:, :1])


@pytest.mark.backend("tensorflow", "jax")
def test_run_eagerly_branches_as_it_likes(watched: Watched, x: np.ndarray) -> None:
    def script() -> None:
        model = dense()
        model.compile(optimizer="sgd", loss=branching, run_eagerly=True)
        model.fit(x, x[:, :1], verbose=0)

    assert not watched("LP306", script)
