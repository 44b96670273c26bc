"""LP203: finite values with gradients that are not, against derivatives that are known."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding, Severity

from .small_models import BACKEND, BINARY, CLASSES, GAP, GAPPED, ONE_HOT, REAL, ROWS, X, compiled, network


def findings(model: keras.Model, y: Any, x: Any = X) -> list[Finding]:
    report = lossproof.check(model, x, y, select=["LP203", "LP204"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def gradient_of(model: keras.Model, y: Any, x: Any = X) -> Finding:
    (found,) = findings(model, y, x)
    assert found.code == "LP203"
    return found


# On the data ------------------------------------------------------------------------------------------------------


def over_missing(y_true: Any, y_pred: Any) -> Any:
    """The value of the branch that is not selected is NaN, and so is its derivative."""
    return ops.mean(ops.where(ops.isnan(y_true), 0.0, ops.square(y_true - y_pred)), axis=-1)


def over_replaced(y_true: Any, y_pred: Any) -> Any:
    missing = ops.isnan(y_true)
    return ops.mean(ops.where(missing, 0.0, ops.square(ops.where(missing, 0.0, y_true) - y_pred)), axis=-1)


def test_a_where_hides_the_value_and_not_the_derivative() -> None:
    y = REAL.copy()
    y[7, 1] = y[70, 2] = np.nan
    found = gradient_of(compiled(network(), over_missing), y)
    assert found.severity == Severity.ERROR
    assert set(found.evidence["rows"]) <= {7, 70}
    assert np.isnan(found.counterfactual.before)
    assert np.isfinite(found.counterfactual.after)
    assert found.where is not None
    assert found.where.expression == "ops.square(y_true - y_pred)"


def test_a_replaced_operand_is_well() -> None:
    y = REAL.copy()
    y[7, 1] = y[70, 2] = np.nan
    assert findings(compiled(network(), over_replaced), y) == []


def signed_root(x: Any) -> Any:
    return ops.where(x >= 0.0, ops.sqrt(x), -ops.sqrt(-x))


def test_a_where_that_spoils_every_row_is_held_against_differences() -> None:
    """No row can be left out, and no point is special: what is finite is the slope of the value."""
    model = compiled(network(), lambda t, p: ops.mean(ops.abs(signed_root(t) - signed_root(p)), axis=-1))
    found = gradient_of(model, REAL)
    p = np.asarray(model.predict(X[:32], verbose=0), "float64")
    assert np.isnan(found.counterfactual.before)
    root = np.sign(REAL[:32]) * np.sqrt(np.abs(REAL[:32]))
    slopes = np.sign(np.sign(p) * np.sqrt(np.abs(p)) - root) * 0.5 / np.sqrt(np.abs(p)) / p.size
    assert found.counterfactual.after == pytest.approx(slopes[0, 0], rel=0.01), found.counterfactual


def distance(y_true: Any, y_pred: Any) -> Any:
    """0 for a row without a valid entry, with an infinite slope."""
    valid = ops.cast(y_true != 0.0, "float32")
    return ops.sqrt(ops.sum(valid * ops.square(y_true - y_pred), axis=-1))


@pytest.mark.backend("jax", "torch")  # XLA turns the product with the mask into a select, and TensorFlow's kernel is 0
def test_the_row_with_a_distance_of_zero_is_found() -> None:
    found = gradient_of(compiled(network(), distance), GAPPED)
    assert found.evidence["rows"] == [GAP]
    assert found.where is not None
    assert (found.where.expression or "").startswith("ops.sqrt(")


def twins(epsilon: float) -> keras.Model:
    """The distance of two embeddings, computed in the model."""
    one, two = keras.Input((4,)), keras.Input((4,))
    embed = layers.Dense(3)

    def apart(pair: Any) -> Any:
        return ops.sqrt(ops.sum(ops.square(pair[0] - pair[1]), axis=-1, keepdims=True) + epsilon)

    return keras.Model([one, two], layers.Lambda(apart)([embed(one), embed(two)]))


def contrastive(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(y_true * ops.square(y_pred) + (1.0 - y_true) * ops.square(ops.relu(1.0 - y_pred)), axis=-1)


def test_a_pair_of_equals_is_found_in_the_code_of_the_layer() -> None:
    x = [X, X[::-1].copy()]
    x[1][50] = x[0][50]
    same = np.ones((ROWS, 1), dtype="float32")
    found = gradient_of(compiled(twins(0.0), contrastive), same, x)
    assert found.evidence["rows"] == [50]
    assert found.where is not None
    assert (found.where.expression or "").startswith("ops.sqrt(")
    # TensorFlow's own kernel gives 0 for 0 * sqrt'(0): there only XLA shows it.
    assert found.severity == (Severity.WARNING if BACKEND == "tensorflow" else Severity.ERROR)
    assert ("XLA" in found.explanation) == (BACKEND == "tensorflow")
    assert findings(compiled(twins(1e-7), contrastive), same, x) == []


def test_no_pair_of_equals_no_finding() -> None:
    x = [X, X[::-1].copy()]
    same = np.ones((ROWS, 1), dtype="float32")
    assert findings(compiled(twins(0.0), contrastive), same, x) == []


def test_weights_that_start_at_a_singular_point_are_found() -> None:
    class Length(layers.Layer):
        def call(self, z: Any) -> Any:
            return ops.sqrt(ops.sum(ops.square(z), axis=-1, keepdims=True))

    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_initializer="zeros"), Length()])
    found = gradient_of(compiled(model, "mse"), np.abs(REAL[:, :1]))
    assert found.severity == Severity.ERROR
    assert "weights" in found.counterfactual.change
    assert found.where is not None
    assert (found.where.expression or "").startswith("ops.sqrt(")


# Where training leads -----------------------------------------------------------------------------------------------


def focal(y_true: Any, y_pred: Any, gamma: float = 0.5) -> Any:
    missing = ops.where(y_true == 1.0, 1.0 - y_pred, y_pred)
    return ops.mean(missing**gamma * ops.binary_crossentropy(y_true, y_pred), axis=-1)


def sparse_focal(y_true: Any, y_pred: Any) -> Any:
    right = ops.sum(ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), 3) * y_pred, axis=-1)
    return (1.0 - right) ** 0.5 * -ops.log(right + 1e-7)


def root(y_true: Any, y_pred: Any) -> Any:
    return ops.sqrt(ops.mean(ops.square(y_true - y_pred), axis=-1))


SURE = {
    "power": (focal, BINARY, "sigmoid", "missing ** gamma"),
    "power over classes": (focal, ONE_HOT, "softmax", "missing ** gamma"),
    "class numbers": (sparse_focal, CLASSES, "softmax", "(1.0 - right) ** 0.5"),
    "root": (root, BINARY[:, :1], "sigmoid", "ops.sqrt(ops.mean(ops.square(y_true - y_pred), axis=-1))"),
}


@pytest.mark.parametrize("name", SURE)
def test_sure_and_right_predictions_are_a_warning(name: str) -> None:
    loss, y, activation, expression = SURE[name]
    outputs = 3 if y.ndim == 1 else y.shape[-1]
    found = gradient_of(compiled(network(outputs, activation), loss), y)
    assert found.severity == Severity.WARNING
    assert not np.isfinite(found.counterfactual.before)
    assert np.isfinite(found.counterfactual.after)
    assert found.where is not None
    assert (found.where.expression or "").replace("**", " ** ").replace("  ", " ") == expression


def test_the_gradient_beside_the_bound_is_that_of_calculus() -> None:
    """d/dp of |1 - p| is 1 in magnitude: the mean over 32 rows of one output leaves 1/32 at each of them."""
    found = gradient_of(compiled(network(1, "sigmoid"), root), BINARY[:, :1])
    assert found.counterfactual.after == pytest.approx(1.0 / 32.0, rel=1e-3)


NOT_REACHED = {
    "a flat power": (functools.partial(focal, gamma=2.0), BINARY, "sigmoid"),
    "a root in regression": (root, REAL, None),
    "a root of the whole batch": (lambda t, p: ops.sqrt(ops.mean(ops.square(t - p))), BINARY, "sigmoid"),
    "a kink": (lambda t, p: ops.mean(ops.abs(t - p), axis=-1), BINARY, "sigmoid"),
    "an epsilon": (lambda t, p: ops.sqrt(ops.mean(ops.square(t - p), axis=-1) + 1e-7), BINARY[:, :1], "sigmoid"),
}


@pytest.mark.parametrize("name", NOT_REACHED)
def test_what_training_does_not_reach_is_left_alone(name: str) -> None:
    loss, y, activation = NOT_REACHED[name]
    assert findings(compiled(network(y.shape[-1], activation), loss), y) == []
