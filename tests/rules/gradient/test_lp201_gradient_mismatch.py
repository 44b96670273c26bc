"""LP201 against losses whose gradient is known: kinks, casts, stops and gradients of one's own are no mismatch."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.lab.gradient import slopes


def _beside(name: str) -> Any:
    """A module of this folder; it stays in `sys.modules`, as a user's would."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ON_PURPOSE = _beside("gradients_on_purpose").ON_PURPOSE
BACKEND = os.environ["KERAS_BACKEND"]
ROWS, COLUMNS = 24, 3
FLOAT = "float32"


def data(scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return tuple((scale * rng.normal(size=(ROWS, COLUMNS))).astype(FLOAT) for _ in range(2))  # type: ignore[return-value]


def mismatches(loss: Any, y_true: Any, y_pred: Any) -> list[Any]:
    report = lossproof.check_loss(loss, y_true, y_pred, select=["LP201"])
    assert not report.crashed, report.crashed
    return list(report.findings)


# Healthy: what a numeric derivative stumbles over -----------------------------------------------------------------


def quantile(y_true: Any, y_pred: Any) -> Any:
    error = y_true - y_pred
    return ops.mean(ops.maximum(0.9 * error, -0.1 * error), axis=-1)


def smooth_hinge(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.relu(1.0 - ops.sign(y_true) * y_pred), axis=-1)


def worst(y_true: Any, y_pred: Any) -> Any:
    return ops.max(ops.abs(y_true - y_pred), axis=-1)


def clipped(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - ops.clip(y_pred, -0.5, 0.5)), axis=-1)


def euclid(y_true: Any, y_pred: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(y_true - y_pred), axis=-1))


def constant(y_true: Any, y_pred: Any) -> Any:
    return 1e6 + ops.mean(ops.square(y_true - y_pred), axis=-1)


def cancelling(y_true: Any, y_pred: Any) -> Any:
    return (1e5 + ops.mean(ops.square(y_true - y_pred), axis=-1)) - 1e5


def through(dtype: str) -> Callable[[Any, Any], Any]:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(ops.cast(y_true, dtype) - ops.cast(y_pred, dtype)), axis=-1)

    return loss


def sorted_error(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(ops.sort(y_true, axis=0) - ops.sort(y_pred, axis=0)), axis=-1)


def log_cosh_cut(y_true: Any, y_pred: Any) -> Any:
    error = ops.abs(y_true - y_pred)
    return ops.mean(ops.where(error < 0.3, ops.square(error), 0.6 * error - 0.09), axis=-1)


def noisy(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred - 0.1 * keras.random.normal(ops.shape(y_pred))), axis=-1)


KINKED = {
    "absolute": "mae",
    "huber": "huber",
    "percentage": "mape",
    "quantile": quantile,
    "hinge": smooth_hinge,
    "worst": worst,
    "clipped": clipped,
    "euclid": euclid,
    "sorted": sorted_error,
    "pieces": log_cosh_cut,
    "constant": constant,
    "cancelling": cancelling,
    "float16": through("float16"),
    "bfloat16": through("bfloat16"),
    "float32": through("float32"),
    "noisy": noisy,
}


@pytest.mark.parametrize("name", KINKED)
def test_kinks_casts_and_scales_are_no_mismatch(name: str) -> None:
    for scale, equal in ((1.0, 0), (1e-6, 0), (1e6, ROWS // 3), (1.0, ROWS)):
        y_true, y_pred = data(scale)
        y_pred[:equal] = y_true[:equal]
        assert not mismatches(KINKED[name], y_true, y_pred), (scale, equal)


FLAT = ("straight_through", "surrogate_of_value_zero", "tf_passed_through")
"""Their values do not tell near predictions apart, so there is no numeric slope."""


@pytest.mark.parametrize("name", ON_PURPOSE)
def test_gradients_made_on_purpose_are_no_mismatch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    y_true, y_pred = (part[:6] for part in data())
    assert not mismatches(ON_PURPOSE[name], y_true, y_pred)
    if name in FLAT:
        return
    # Whoever does not ask for the intention finds that the gradient is not the derivative.
    compared = slopes._compared
    monkeypatch.setattr(slopes, "_compared", lambda lab, subject, _: compared(lab, subject, careful=False))
    assert mismatches(ON_PURPOSE[name], y_true, y_pred)


# Guilty: a part of the loss leaves the backend -----------------------------------------------------------------------


def row_error(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def scaled_by_numpy(y_true: Any, y_pred: Any) -> Any:
    spread = np.std(ops.convert_to_numpy(y_pred))
    return row_error(y_true, y_pred) / float(spread) ** 2


def scaled_by_item(y_true: Any, y_pred: Any) -> Any:
    return row_error(y_true, y_pred) / ops.std(y_pred).item() ** 2


def scaled_by_float(y_true: Any, y_pred: Any) -> Any:
    return row_error(y_true, y_pred) / float(ops.std(y_pred)) ** 2


def scaled_by_numpy_function(y_true: Any, y_pred: Any) -> Any:
    import tensorflow as tf

    spread = tf.numpy_function(np.std, [y_pred], y_pred.dtype)
    return row_error(y_true, y_pred) / tf.square(spread)


LEAVING = {
    "torch": (scaled_by_numpy, scaled_by_item, scaled_by_float),
    "tensorflow": (scaled_by_numpy, scaled_by_float, scaled_by_numpy_function),
    "jax": (),  # refuses
}[BACKEND]


@pytest.mark.parametrize("loss", LEAVING)
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True to a scalar")
def test_a_part_that_leaves_the_backend_is_found(loss: Callable[[Any, Any], Any]) -> None:
    y_true, y_pred = data()
    (finding,) = mismatches(loss, y_true, y_pred)
    assert finding.severity == "error"
    assert finding.where.scope == loss.__name__
    assert "numpy" in finding.fix.text.lower()
    # The derivative of mean((t - p)^2) / var(p), and what is left of it with var(p) for a constant.
    t, p = y_true.astype("float64"), y_pred.astype("float64")
    spread = p.var()
    full = -2 * (t - p) / p.size / spread - np.mean((t - p) ** 2) / spread**2 * 2 * (p - p.mean()) / p.size
    part = -2 * (t - p) / p.size / spread
    direction = np.random.default_rng(0).uniform(-1.0, 1.0, size=p.shape) * np.abs(p)
    evidence = finding.evidence
    assert evidence["numeric"] == pytest.approx(float((full * direction).sum()), abs=evidence["numeric_error"])
    assert evidence["numeric_error"] < 1e-3 * abs(evidence["numeric"])
    assert evidence["autodiff"] == pytest.approx(float((part * direction).sum()), rel=1e-5)


# Guilty: a fused operation on recovered logits, on TensorFlow ------------------------------------------------------

IMPORTANCE = np.array([1.0, 5.0, 20.0], FLOAT)


def classes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(ROWS, 4)).astype(FLOAT)
    ids = rng.integers(0, 3, size=ROWS)
    return x, ids, np.eye(3, dtype=FLOAT)[ids]


def classifier(cls: type[Any] = keras.Model, activation: Any = "softmax") -> Any:
    inputs = keras.Input((4,))
    return cls(inputs, layers.Dense(3, activation=activation)(inputs))


def weighted_targets(y_true: Any, y_pred: Any) -> Any:
    return keras.losses.categorical_crossentropy(y_true * ops.convert_to_tensor(IMPORTANCE), y_pred)


class WeightedTargets(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.categorical_crossentropy(y_true * ops.convert_to_tensor(IMPORTANCE), y_pred)


class InComputeLoss(keras.Model):
    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
        return ops.mean(weighted_targets(y, y_pred))


class InTrainStep(keras.Model):
    def train_step(self, data: Any) -> Any:
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(weighted_targets(y, self(x, training=True)))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


def tensorflows_softmax(x: Any) -> Any:
    import tensorflow as tf

    return tf.nn.softmax(x)


FUSED = {
    "function": (weighted_targets, {}),
    "class": (WeightedTargets(), {}),
    "compute_loss": (None, {"cls": InComputeLoss}),
    "train_step": (None, {"cls": InTrainStep}),
    "keras softmax in a function": (weighted_targets, {"activation": lambda x: keras.activations.softmax(x)}),
    "ops.softmax": (weighted_targets, {"activation": lambda x: ops.softmax(x)}),
    "tf.nn.softmax": (weighted_targets, {"activation": tensorflows_softmax}),
}


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("form", FUSED)
def test_fused_softmax_on_weighted_targets_is_found(form: str) -> None:
    x, _, y = classes()
    loss, how = FUSED[form]
    model = classifier(**how)
    model.compile("sgd", loss=loss)
    report = lossproof.check(model, x, y, select=["LP201"])
    assert not report.crashed, report.crashed
    (finding,) = report.findings
    # d/db of mean(-sum(t log p)) is mean(p sum(t) - t); the fused operation says mean(p - t).
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    z = x.astype("float64") @ kernel + bias
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    t = y * IMPORTANCE.astype("float64")
    shown = {row.label: (row.before, row.after) for row in finding.counterfactual.rows}
    for i in range(3):
        fused = float((p - t).mean(axis=0)[i])
        right = float((p * t.sum(axis=1, keepdims=True) - t).mean(axis=0)[i])
        assert shown[f"gradient of output {i}"] == pytest.approx((fused, right), rel=1e-4, abs=1e-6)


def soft_counts(y_true: Any, y_pred: Any) -> Any:
    return keras.losses.categorical_crossentropy(3.0 * y_true, y_pred)


def masked(y_true: Any, y_pred: Any) -> Any:
    return keras.losses.categorical_crossentropy(y_true * ops.cast(y_true[:, :1] < 0.5, FLOAT), y_pred)


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("loss", [soft_counts, masked])
def test_targets_that_do_not_sum_to_one_are_found(loss: Any) -> None:
    x, _, y = classes()
    model = classifier()
    model.compile("sgd", loss=loss)
    (finding,) = lossproof.check(model, x, y, select=["LP201"]).findings
    assert "sum to 1" in finding.explanation


def weighted_rows(y_true: Any, y_pred: Any) -> Any:
    return ops.sum(y_true * ops.convert_to_tensor(IMPORTANCE), axis=-1) * keras.losses.categorical_crossentropy(
        y_true, y_pred
    )


def written_out(y_true: Any, y_pred: Any) -> Any:
    return -ops.sum(y_true * ops.convert_to_tensor(IMPORTANCE) * ops.log(y_pred + 1e-7), axis=-1)


def sparse(y_true: Any, y_pred: Any) -> Any:
    return keras.losses.sparse_categorical_crossentropy(ops.argmax(y_true, axis=-1), y_pred)


def weighted_columns(y_true: Any, y_pred: Any) -> Any:
    return keras.losses.binary_crossentropy(y_true * ops.convert_to_tensor(IMPORTANCE), y_pred)


HEALTHY_HEADS = {
    "weighted rows": (weighted_rows, "softmax"),
    "written out": (written_out, "softmax"),
    "sparse": (sparse, "softmax"),
    "smoothed": (keras.losses.CategoricalCrossentropy(label_smoothing=0.2), "softmax"),
    "logits": (keras.losses.CategoricalCrossentropy(from_logits=True), None),
    # Linear in its targets, so the fused gradient is right for any.
    "binary with weighted targets": (weighted_columns, "sigmoid"),
    "divergence": ("kl_divergence", "softmax"),
}


@pytest.mark.parametrize("scale", [1.0, 200.0], ids=["ordinary", "saturated"])
@pytest.mark.parametrize("form", HEALTHY_HEADS)
def test_healthy_heads_are_silent(form: str, scale: float) -> None:
    x, _, y = classes()
    loss, activation = HEALTHY_HEADS[form]
    model = classifier(activation=activation)
    model.compile("sgd", loss=loss)
    report = lossproof.check(model, scale * x, y, select=["LP201"])
    assert not report.crashed, report.crashed
    assert not report.findings


# Guilty and innocent: gradients that the user defines -------------------------------------------------------------------


def log_cosh_with(slope: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The logarithm of the hyperbolic cosine, written with a custom gradient `slope(error, upstream)`."""

    @ops.custom_gradient
    def log_cosh(error: Any) -> Any:
        size = ops.abs(error)
        value = size + ops.softplus(-2.0 * size) - 0.6931471805599453

        def grad(*args: Any, upstream: Any = None) -> Any:
            return slope(error, args[0] if upstream is None else upstream)

        return value, grad

    return lambda y_true, y_pred: ops.mean(log_cosh(y_pred - y_true), axis=-1)


def test_a_custom_gradient_that_ignores_what_arrives_from_above() -> None:
    y_true, y_pred = data()
    (finding,) = mismatches(log_cosh_with(lambda error, _: ops.tanh(error)), y_true, y_pred)
    assert "custom gradient" in finding.explanation
    error = y_pred.astype("float64") - y_true
    direction = np.random.default_rng(0).uniform(-1.0, 1.0, size=error.shape) * np.abs(y_pred)
    evidence = finding.evidence
    # The lost factor: each entry counts as often as there are entries in the mean.
    truth = float((np.tanh(error) * direction).mean())
    assert evidence["numeric"] == pytest.approx(truth, abs=max(evidence["numeric_error"], 1e-6))
    assert evidence["autodiff"] == pytest.approx(truth * error.size, rel=1e-4)


@pytest.mark.parametrize(
    "slope",
    [
        lambda error, upstream: upstream * ops.tanh(error),
        lambda error, upstream: ops.clip(upstream, -1e-3, 1e-3) * ops.tanh(error),
        lambda error, upstream: upstream * ops.clip(error, -0.1, 0.1),
    ],
    ids=["right", "clipped on the way", "a surrogate"],
)
def test_custom_gradients_that_hear_what_arrives_are_left_alone(slope: Callable[[Any, Any], Any]) -> None:
    assert not mismatches(log_cosh_with(slope), *data())


def angle(y_true: Any, y_pred: Any) -> Any:
    cosine = ops.sum(y_true * y_pred, axis=-1) / (ops.norm(y_true, axis=-1) * ops.norm(y_pred, axis=-1))
    return ops.arccos(ops.clip(cosine, -1.0, 1.0))


@pytest.mark.parametrize("distance", [1e-3, 1e-4, 1e-5])
def test_beside_a_pole_of_the_derivative_there_is_no_mismatch(distance: float) -> None:
    y_true, y_pred = data()
    near = y_true + distance * (y_pred - y_true)
    assert not mismatches(angle, y_true, near.astype("float32"))
