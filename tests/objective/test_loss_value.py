"""A loss called the short way gives what `Loss.__call__` gives, bit for bit, and is called where its call matters."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from lossproof import keras_private
from lossproof.objective.loss_value import loss_value

rng = np.random.default_rng(0)
A, B = (rng.normal(size=(11, 3)).astype("float32") for _ in range(2))


def scalar(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))


def masked(y_true, y_pred):
    values = ops.mean(ops.square(y_true - y_pred), axis=-1)
    keras_private.set_mask(values, ops.convert_to_tensor(np.arange(11) % 3 > 0))
    return values


class Own(keras.losses.Loss):
    """A loss whose call does more than Keras's."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        return 2 * super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)


LOSSES = {
    "object": keras.losses.Huber(0.3),
    "half": keras.losses.MeanSquaredError(dtype="float16"),
    "sum": keras.losses.MeanSquaredError(reduction="sum"),
    "weighted mean": keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"),
    "function": keras_private.loss_of_function(keras.losses.log_cosh, "f", "sum_over_batch_size", {}),
    "with constants": keras_private.loss_of_function(keras.losses.huber, "f", "mean", {"delta": 0.5}),
    "scalar": keras_private.loss_of_function(scalar, "f", "sum_over_batch_size", {}),
    "masked": keras_private.loss_of_function(masked, "f", "sum_over_batch_size", {}),
    "own": Own(),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("rows", [11, 0])
def test_bit_for_bit(name, rows):
    if name == "masked" and not rows:
        pytest.skip("its mask has 11 rows")
    loss, y_true, y_pred = LOSSES[name], ops.convert_to_tensor(A[:rows]), ops.convert_to_tensor(B[:rows])
    ours, theirs = loss_value(loss, y_true, y_pred, None, None), loss(y_true, y_pred)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs))


def test_targets_of_another_rank_and_type():
    loss = keras_private.loss_of_function(keras.losses.mean_squared_error, "f", "sum_over_batch_size", {})
    y_true, y_pred = np.arange(11), B[:, :1]
    ours, theirs = loss_value(loss, y_true, ops.convert_to_tensor(y_pred), None, None), loss(y_true, y_pred)
    assert float(ours) == float(theirs) == pytest.approx(np.square(y_true[:, None] - y_pred.astype("float64")).mean())


def test_a_call_that_somebody_listens_to_is_made(monkeypatch):
    heard, call = [], keras.losses.Loss.__call__

    def hear(self, *args):
        heard.append(self)
        return call(self, *args)

    monkeypatch.setattr(keras.losses.Loss, "__call__", hear)
    loss = keras.losses.Huber()
    loss_value(loss, ops.convert_to_tensor(A), ops.convert_to_tensor(B), None, None)
    assert heard == [loss]
