"""LP406 against cross-entropies computed in NumPy float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof

from ..gradient.small_models import stepping

SIZE, INPUTS = 32, 6
rng = np.random.default_rng(3)
X = rng.normal(size=(SIZE, INPUTS)).astype("float32")
YES = (X[:, :1] + X[:, 1:2] > 0.4).astype("float32")
TAGS = (X[:, :4] > 0.3).astype("float32")
CLASSES = rng.integers(0, 5, SIZE)
HOT = np.eye(5, dtype="float32")[CLASSES]
SAME_OPERATION = keras.backend.backend() == "tensorflow"  # there Keras finds the logits behind a plain softmax


def softplus(z: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, z)


def model(units: int, activation: str | None, scale: float = 1.0, reshaped: bool = False) -> Any:
    """Two dense layers; `reshaped` puts a Reshape behind them, through which no logits are found."""
    keras.utils.set_random_seed(5)
    start = keras.initializers.RandomNormal(stddev=scale, seed=1)
    stack = [keras.Input((INPUTS,)), layers.Dense(8, activation="tanh")]
    stack += [layers.Dense(units, activation=activation, kernel_initializer=start)]
    return keras.Sequential([*stack, layers.Reshape((units,))] if reshaped else stack)


def found(net: Any, loss: Any, y: Any, **kwargs: Any) -> list[Any]:
    net.compile(optimizer="sgd", loss=loss)
    report = lossproof.check(net, X, y, select=["LP406"], batch_size=SIZE, **kwargs)
    assert not report.crashed, report.crashed
    return list(report.findings)


def binary_logits(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.relu(y_pred) - y_pred * y_true + ops.log1p(ops.exp(-ops.abs(y_pred))), axis=-1)


def class_logits(y_true: Any, y_pred: Any) -> Any:
    return ops.logsumexp(y_pred, axis=-1) - ops.sum(y_true * y_pred, axis=-1)


def focal_logits(y_true: Any, y_pred: Any) -> Any:
    right = ops.sigmoid((2.0 * y_true - 1.0) * y_pred)
    return ops.mean(-ops.square(1.0 - right) * ops.log(right + 1e-7), axis=-1)


class Weighted(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean((1.0 + 3.0 * y_true) * ops.softplus((1.0 - 2.0 * y_true) * y_pred), axis=-1)


FOR_LOGITS = {
    "sigmoid and a function": (1, "sigmoid", binary_logits, YES),
    "sigmoid and a class": (1, "sigmoid", Weighted(), YES),
    "sigmoid and focal": (4, "sigmoid", focal_logits, TAGS),
    "tags": (4, "sigmoid", binary_logits, TAGS),
    "flat labels": (1, "sigmoid", binary_logits, YES[:, 0]),
    "smoothed labels": (1, "sigmoid", binary_logits, 0.9 * YES + 0.05),
    "softmax": (5, "softmax", class_logits, HOT),
    "sparse": (
        5,
        "softmax",
        lambda t, p: class_logits(ops.one_hot(ops.cast(ops.reshape(t, (-1,)), "int32"), 5), p),
        CLASSES,
    ),
    "built in, sparse": (5, "softmax", keras.losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES),
    "built in, one-hot": (5, "softmax", keras.losses.CategoricalCrossentropy(from_logits=True), HOT),
    "built in, binary": (1, "sigmoid", keras.losses.BinaryCrossentropy(from_logits=True), YES),
    "two classes": (
        2,
        "softmax",
        class_logits,
        HOT[:, :2] + np.stack([HOT[:, 2:].sum(axis=-1), 0.0 * HOT[:, 0]], axis=-1),
    ),
    "smoothed by the loss": (
        5,
        "softmax",
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        HOT,
    ),
}


@pytest.mark.parametrize("name", FOR_LOGITS)
def test_probabilities_in_a_loss_for_logits(name: str) -> None:
    units, activation, loss, y = FOR_LOGITS[name]
    (finding,) = found(model(units, activation, reshaped=True), loss, y)
    assert finding.evidence["taken for"] == "logits"
    assert "probabilities are taken for logits" in finding.title
    assert finding.counterfactual.before > (1.5 if "by the loss" in name else 10) * abs(finding.counterfactual.after)


def test_the_numbers_of_a_sigmoid_too_many() -> None:
    net = model(1, "sigmoid", reshaped=True)
    (finding,) = found(net, binary_logits, YES)
    y, p = YES[:, 0].astype("float64"), np.asarray(net.predict(X, verbose=0), "float64")[:, 0]
    sure = np.mean(np.where(y == 1.0, softplus(-1.0), softplus(0.0)))
    assert finding.counterfactual.before == pytest.approx(sure, rel=1e-5)
    (row,) = finding.counterfactual.rows
    assert row.before == pytest.approx(np.mean(softplus(p) - y * p), rel=1e-5)
    assert row.after == pytest.approx(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)), rel=1e-4)


def test_what_keras_repairs_on_tensorflow_is_no_mismatch_there() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert len(found(model(5, "softmax"), loss, CLASSES)) == (0 if SAME_OPERATION else 1)


class OwnObjective(keras.Model):
    """Overrides compute_loss."""

    def __init__(self, activation: str | None) -> None:
        super().__init__()
        self.head = layers.Dense(5, activation=activation)

    def call(self, inputs: Any) -> Any:
        return self.head(inputs) + 0.0

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        return ops.mean(class_logits(y, y_pred))


@pytest.mark.parametrize(("activation", "count"), [("softmax", 1), (None, 0)])
def test_in_an_objective_of_the_users(activation: str | None, count: int) -> None:
    net = OwnObjective(activation)
    net.compile(optimizer="sgd")
    report = lossproof.check(net, X, HOT, select=["LP406"])
    assert not report.crashed
    assert len(report.findings) == count


def clipped(y_true: Any, y_pred: Any) -> Any:
    p = ops.clip(y_pred, 1e-6, 1.0 - 1e-6)
    return -ops.mean(y_true * ops.log(p) + (1.0 - y_true) * ops.log(1.0 - p), axis=-1)


FOR_PROBABILITIES = {
    "binary": (1, "binary_crossentropy", YES),
    "tags": (4, keras.losses.BinaryCrossentropy(), TAGS),
    "own": (1, clipped, YES),
    "sparse": (5, "sparse_categorical_crossentropy", CLASSES),
    "one-hot": (5, "categorical_crossentropy", HOT),
}


@pytest.mark.parametrize("name", FOR_PROBABILITIES)
def test_logits_in_a_loss_for_probabilities(name: str) -> None:
    units, loss, y = FOR_PROBABILITIES[name]
    net = model(units, None)
    (finding,) = found(net, loss, y)
    assert finding.evidence["taken for"] == "probabilities"
    z = np.asarray(net.predict(X, verbose=0), "float64")
    if units != 5:
        assert finding.counterfactual.before == np.sum((z < 0.0) | (z > 1.0))


def dice(y_true: Any, y_pred: Any) -> Any:
    both = ops.sum(y_true * y_pred, axis=-1)
    return 1.0 - 2.0 * both / (ops.sum(y_true, axis=-1) + ops.sum(y_pred, axis=-1) + 1e-6)


def soft_f1(y_true: Any, y_pred: Any) -> Any:
    return dice(y_true, ops.sigmoid(10.0 * (y_pred - 0.5)))


def linear(y_true: Any, y_pred: Any) -> Any:
    return -ops.mean((2.0 * y_true - 1.0) * y_pred, axis=-1)


def poisson_rate(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(y_pred - y_true * ops.log(y_pred + 1e-7), axis=-1)


HEALTHY = {
    "sigmoid, crossentropy": (1, "sigmoid", "binary_crossentropy", YES),
    "linear, logits": (1, None, keras.losses.BinaryCrossentropy(from_logits=True), YES),
    "linear, own logits": (4, None, binary_logits, TAGS),
    "softmax, sparse": (5, "softmax", "sparse_categorical_crossentropy", CLASSES),
    "softmax, one-hot": (5, "softmax", "categorical_crossentropy", HOT),
    "linear, smoothed": (5, None, keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), HOT),
    "linear, classes": (5, None, keras.losses.CategoricalCrossentropy(from_logits=True), HOT),
    "smoothing": (5, "softmax", keras.losses.CategoricalCrossentropy(label_smoothing=0.1), HOT),
    "focal": (1, "sigmoid", keras.losses.BinaryFocalCrossentropy(), YES),
    "brier": (5, "softmax", "mse", HOT),
    "absolute": (1, "sigmoid", "mae", YES),
    "regression": (1, None, "mse", YES),
    "log-cosh": (1, "sigmoid", "log_cosh", YES),
    "hinge": (1, None, "hinge", YES),
    "dice": (4, "sigmoid", dice, TAGS),
    "dice by Keras": (4, "sigmoid", keras.losses.Dice(), TAGS),
    "tversky": (4, "sigmoid", keras.losses.Tversky(), TAGS),
    "soft F1": (4, "sigmoid", soft_f1, TAGS),
    "divergence": (5, "softmax", "kl_divergence", HOT),
    "critic": (1, None, linear, YES),
    "bounded reward": (1, "sigmoid", linear, YES),
    "poisson": (1, "softplus", poisson_rate, YES),
    "exponential scores": (1, None, lambda t, p: ops.exp(-(2.0 * t - 1.0) * p), YES),
    "autoencoder": (INPUTS, "sigmoid", "binary_crossentropy", 1.0 / (1.0 + np.exp(-X))),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_agrees_is_silent(name: str) -> None:
    units, activation, loss, y = HEALTHY[name]
    assert not found(model(units, activation), loss, y)


def test_a_loss_that_refuses_what_is_tried_is_none_of_it() -> None:
    """With its arguments exchanged torch's cross-entropy takes no prediction beyond 1."""
    assert not found(model(4, "sigmoid"), lambda t, p: keras.losses.binary_crossentropy(p, t), TAGS)


@pytest.mark.parametrize(("activation", "count"), [("sigmoid", 1), (None, 0)])
def test_in_a_step_of_the_users(activation: str | None, count: int) -> None:
    crossentropy = keras.losses.BinaryCrossentropy(from_logits=True)
    inputs = keras.Input((INPUTS,))
    outputs = layers.Reshape((1,))(layers.Dense(1, activation=activation)(inputs))
    net = stepping(crossentropy)(inputs, outputs)
    net.compile(optimizer="sgd")
    report = lossproof.check(net, X, YES, select=["LP406"], batch_size=SIZE)
    assert not report.crashed, report.crashed
    assert len(report.findings) == count


class Distilled(keras.Model):
    """A student that learns from the frozen teacher made after it; `shares` makes probabilities of logits."""

    def __init__(self, shares: Any) -> None:
        super().__init__()
        self.student, self.teacher = model(5, None), model(5, None, scale=2.0)
        self.teacher.trainable = False
        self.shares = shares
        self.divergence = keras.losses.KLDivergence()

    def call(self, inputs: Any) -> Any:
        return self.student(inputs)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        return self.divergence(self.shares(self.teacher(x)), self.shares(y_pred))


def test_a_divergence_of_two_rows_of_logits_is_found() -> None:
    net = Distilled(lambda logits: logits)
    (one,) = found(net, None, HOT)
    given = keras.ops.convert_to_numpy(net(X)).astype("float64")
    outside = int(((given < 0.0) | (given > 1.0)).sum())
    assert one.evidence["without gradient"] == outside
    assert one.counterfactual.before == outside
    # By hand: the divergence of the two softmaxes.
    t, p = (
        np.exp(z - z.max(axis=1, keepdims=True))
        for z in (ops.convert_to_numpy(net.teacher(X)).astype("float64"), given)
    )
    t, p = t / t.sum(axis=1, keepdims=True), p / p.sum(axis=1, keepdims=True)
    assert one.counterfactual.rows[0].after == pytest.approx(float((t * np.log(t / p)).sum(axis=1).mean()), rel=1e-4)


def test_a_divergence_of_two_softmaxes_is_healthy() -> None:
    assert found(Distilled(lambda logits: ops.softmax(logits / 2.0)), None, HOT) == []
