"""The one evaluation of an objective: values and gradients against NumPy, and nothing of the model moves."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lossproof import keras_private
from lossproof.capture.direct import captured_model
from lossproof.lab.backends import running_backend
from lossproof.lab.lab import Lab
from lossproof.lab.weight_gradients import weight_gradients

ROWS = 24


def lab_of(model: Any, x: Any, y: Any, **data: Any) -> Lab:
    given = {"x": x, "y": y, "sample_weight": None, "class_weight": None, "batch_size": ROWS, **data}
    run = captured_model(model, given)
    return Lab(run.captures[0], run)


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    return random.normal(size=(ROWS, 3)).astype("float32"), random.normal(size=(ROWS, 2)).astype("float32")


def linear(loss: Any = "mse") -> Any:
    regularized = layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.01))
    model = keras.Sequential([keras.Input((3,)), regularized])
    model.compile(optimizer="sgd", loss=loss)
    return model


def by_hand(model: Any, x: np.ndarray, y: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """The value and the gradient of mean squared error and the penalty."""
    kernel, bias = (np.asarray(w, "float64") for w in model.get_weights())
    gap = x.astype("float64") @ kernel + bias - y
    slope = 2.0 * gap / gap.size
    return float(np.mean(gap**2) + 0.01 * np.sum(kernel**2)), [x.T @ slope + 0.02 * kernel, slope.sum(axis=0)]


def test_values_and_gradients_are_those_of_numpy() -> None:
    model, (x, y) = linear(), data()
    total, gradients = by_hand(model, x, y)
    lab = lab_of(model, x, y)
    assert lab.total == pytest.approx(total, rel=1e-5)
    assert lab.forward_losses == pytest.approx(
        (0.01 * np.sum(model.get_weights()[0].astype("float64") ** 2),), rel=1e-5
    )
    for found, truth in zip(weight_gradients(lab), gradients, strict=True):
        np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-6)


@pytest.mark.backend("torch")  # the others trace it while the model is built
def test_a_loss_that_takes_its_values_out_still_has_a_value(backend: str) -> None:
    def through_numpy(y_true: Any, y_pred: Any) -> Any:
        values = keras.ops.convert_to_numpy(y_pred if backend != "torch" else y_pred.detach())
        return keras.ops.convert_to_tensor(np.mean(np.square(values - keras.ops.convert_to_numpy(y_true)), axis=-1))

    model, (x, y) = linear(through_numpy), data()
    assert lab_of(model, x, y).total == pytest.approx(by_hand(model, x, y)[0], rel=1e-5)


@pytest.mark.backend("torch")
def test_what_refuses_autodiff_still_has_a_value() -> None:
    def without_detach(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.convert_to_tensor(np.mean(np.square(y_pred.numpy() - y_true.numpy()), axis=-1))

    model, (x, y) = linear(without_detach), data()
    assert lab_of(model, x, y).total == pytest.approx(by_hand(model, x, y)[0], rel=1e-5)


def test_what_is_kept_has_no_history_and_stays_one_tensor() -> None:
    model, (x, y) = linear(), data()
    lab = lab_of(model, x, y)
    [heard] = lab.evaluation.losses
    assert heard.y_pred is lab.forward.y_pred
    assert running_backend().is_concrete(heard.y_pred)
    assert not running_backend().connected(heard.y_pred, lab.model.start)


def test_nothing_of_the_model_moves() -> None:
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(2)]
    )
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    x, y = data()
    before = [np.array(v) for v in map(keras.ops.convert_to_numpy, model.variables)]
    lab = lab_of(model, x, y)
    assert np.isfinite(lab.total)
    assert all(g is not None for g in weight_gradients(lab))
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(variable))


def test_a_mask_stays_with_the_predictions() -> None:
    words = np.array([[1, 2, 0, 0], [3, 1, 2, 0]], dtype="int32")
    model = keras.Sequential(
        [keras.Input((4,), dtype="int32"), layers.Embedding(5, 3, mask_zero=True), layers.Dense(1)]
    )
    model.compile(optimizer="sgd", loss="mse")
    run = captured_model(model, {"x": words, "y": np.ones((2, 4, 1), "float32")})
    lab = Lab(run.captures[0], run)
    [loss] = lab.losses
    mask = keras_private.mask_of(loss.y_pred)
    np.testing.assert_array_equal(np.asarray(running_backend().numpy(mask)), words != 0)
    assert lab.value(loss) == pytest.approx(lab.total, rel=1e-6)
