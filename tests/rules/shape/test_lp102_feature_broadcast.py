"""LP102: one target for several outputs and the reverse, beside losses that want just that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding, Severity

from ..gradient.small_models import computing
from .ways import SIZE, WAYS, X, Y, linear, predicted, subclass

ONE = Y[:, :1]
_random = np.random.default_rng(4)
STEPS = _random.normal(size=(SIZE, 5, 4)).astype("float32")


@pytest.fixture(autouse=True)
def _the_same_weights_each_time() -> None:
    keras.utils.set_random_seed(5)


def findings(model: keras.Model, y: Any, x: Any = X) -> list[Finding]:
    report = lossproof.check(model, x, y, select=["LP102"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def compiled(model: keras.Model, loss: Any = None) -> keras.Model:
    model.compile(optimizer="sgd", loss=loss)
    return model


def squares(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


@pytest.mark.parametrize("name", WAYS)
def test_one_target_for_three_outputs(name: str) -> None:
    model = compiled(linear(3), WAYS[name](squares))
    (found,) = findings(model, ONE)
    errors = (predicted(model) - ONE.astype("float64")) ** 2
    assert found.severity == Severity.ERROR
    assert found.counterfactual.before == pytest.approx(errors.mean(), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(errors[:, 0].mean(), rel=1e-5)
    assert found.where is not None
    assert found.where.expression == "y_true - y_pred"


@pytest.mark.parametrize("name", WAYS)
def test_one_output_for_three_targets(name: str) -> None:
    model = compiled(linear(1), WAYS[name](squares))
    (found,) = findings(model, Y)
    errors = (predicted(model) - Y.astype("float64")) ** 2
    assert found.counterfactual.before == pytest.approx(errors.mean(), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(errors[:, 0].mean(), rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "log_cosh"])
def test_losses_of_keras(loss: str) -> None:
    assert [one.severity for one in findings(compiled(linear(3), loss), ONE)] == [Severity.ERROR]


def test_all_steps_against_the_last() -> None:
    """`return_sequences=True`, and one target for each sequence: Keras drops the last axis of the predictions."""
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, layers.Dense(1)(layers.SimpleRNN(4, return_sequences=True)(inputs)))
    (found,) = findings(compiled(model, "mse"), ONE, STEPS)
    assert found.evidence["shapes"] == {"y_true": [SIZE, 1], "y_pred": [SIZE, 5]}


def test_channels_of_an_image() -> None:
    images = _random.normal(size=(SIZE, 4, 4, 1)).astype("float32")
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, layers.Conv2D(3, 3, padding="same")(inputs))
    (found,) = findings(compiled(model, squares), images, images)
    assert found.evidence["axis"] == 3


def test_in_compute_loss() -> None:
    model = compiled(linear(3, computing(lambda _, y, y_pred: ops.mean(ops.square(y - y_pred)))))
    assert [one.severity for one in findings(model, ONE)] == [Severity.ERROR]


def distance(y_true: Any, y_pred: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(y_true - y_pred), axis=-1) + 1e-9)


def test_outputs_in_one_length() -> None:
    """The gradient of each output depends on the others, and yet all of them are to be the one target."""
    model = compiled(linear(3), distance)
    (found,) = findings(model, ONE)
    lengths = np.sqrt(((predicted(model) - ONE.astype("float64")) ** 2).sum(axis=-1))
    assert found.counterfactual.before == pytest.approx(lengths.mean(), rel=1e-5)


def energy(y_true: Any, y_pred: Any) -> Any:
    """Continuous ranked probability score of an ensemble."""
    among = ops.mean(ops.abs(y_pred[:, :, None] - y_pred[:, None, :]), axis=(1, 2))
    return ops.mean(ops.abs(y_true - y_pred), axis=-1) - 0.5 * among


def fair_energy(y_true: Any, y_pred: Any) -> Any:
    among = ops.sum(ops.abs(y_pred[:, :, None] - y_pred[:, None, :]), axis=(1, 2)) / 6.0
    return ops.mean(ops.abs(y_true - y_pred), axis=-1) - 0.5 * among


def quantiles(y_true: Any, y_pred: Any) -> Any:
    level = ops.convert_to_tensor([0.1, 0.5, 0.9])
    error = y_true - y_pred
    return ops.mean(ops.maximum(level * error, (level - 1.0) * error), axis=-1)


def mixture(y_true: Any, y_pred: Any) -> Any:
    return -ops.logsumexp(-0.5 * ops.square(y_true - y_pred), axis=-1)


def best_of(y_true: Any, y_pred: Any) -> Any:
    return ops.min(ops.square(y_true - y_pred), axis=-1)


def mean_of_members(y_true: Any, y_pred: Any) -> Any:
    return ops.square(y_true[:, 0] - ops.mean(y_pred, axis=-1))


def gaussian(y_true: Any, y_pred: Any) -> Any:
    return y_pred[:, 1] + ops.square(y_true[:, 0] - y_pred[:, 0]) * ops.exp(-y_pred[:, 1])


def packed(y_true: Any, y_pred: Any) -> Any:
    return y_true[:, 1] * ops.square(y_true[:, 0] - y_pred[:, 0])


IDS = np.argmax(Y, axis=1).astype("int32")[:, None]
SILENT: dict[str, tuple[Any, Callable[[], keras.Model], np.ndarray]] = {
    "quantiles": (quantiles, lambda: linear(3), ONE),
    "mixture": (mixture, lambda: linear(3), ONE),
    "an ensemble": (energy, lambda: linear(3), ONE),
    "a fair ensemble": (fair_energy, lambda: linear(3), ONE),
    "best of several": (best_of, lambda: linear(3), ONE),
    "mean of the members": (mean_of_members, lambda: linear(3), ONE),
    "mean and variance": (gaussian, lambda: linear(2), ONE),
    "targets and weights": (packed, lambda: linear(1), np.abs(Y[:, :2])),
    "class ids": (keras.losses.SparseCategoricalCrossentropy(from_logits=True), lambda: linear(3), IDS),
    "equal shapes": (squares, lambda: linear(3), Y),
    "equal columns": (squares, lambda: linear(1), np.repeat(ONE, 3, axis=1)),
    "a label for all patches": (squares, lambda: linear(3), np.ones((SIZE, 1), "float32")),
    "ranks": (subclass(squares), lambda: linear(1), ONE[:, 0]),
}


@pytest.mark.parametrize("name", SILENT)
def test_silent_on(name: str) -> None:
    loss, build, y = SILENT[name]
    assert not findings(compiled(build(), loss), y)
