"""LP104: reductions over the batch axis, against the same reductions in NumPy, and statistics of a batch beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding, Severity
from lossproof.pipeline import check_script

from .ways import SIZE, WAYS, X, Y, linear, predicted, two_heads

TAGS = (Y > 0.0).astype("float32")
SHARES = np.exp(Y) / np.exp(Y).sum(axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def _the_same_weights_each_time() -> None:
    keras.utils.set_random_seed(5)


def findings(model: keras.Model, y: Any, x: Any = X, select: tuple[str, ...] = ("LP104",)) -> list[Finding]:
    report = lossproof.check(model, x, y, select=list(select))
    assert not report.crashed, report.crashed
    return list(report.findings)


def compiled(model: keras.Model, loss: Any = None) -> keras.Model:
    model.compile(optimizer="sgd", loss=loss)
    return model


def soft(outputs: int = 3, activation: str = "softmax") -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(outputs, activation=activation)(inputs))


def distance(y_true: Any, y_pred: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(y_true - y_pred), axis=0))


@pytest.mark.parametrize("name", WAYS)
def test_one_value_per_feature(name: str) -> None:
    model = compiled(linear(3), WAYS[name](distance))
    (found,) = findings(model, Y)
    errors = (predicted(model) - Y.astype("float64")) ** 2
    assert found.severity == Severity.ERROR
    assert found.counterfactual.before == pytest.approx(np.sqrt(errors.sum(axis=0)).mean(), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.sqrt(errors.sum(axis=1)).mean(), rel=1e-5)
    assert found.counterfactual.rows[1].before == pytest.approx(np.sqrt(2.0 * errors.sum(axis=0)).mean(), rel=1e-5)
    assert found.where is not None
    assert found.where.expression == "ops.sum(ops.square(y_true - y_pred), axis=0)"


WRONG: dict[str, tuple[Callable[[Any, Any], Any], Callable[[], keras.Model], np.ndarray]] = {
    "a sum": (lambda t, p: ops.sum(ops.abs(t - p), axis=0), lambda: linear(3), Y),
    "the largest": (lambda t, p: ops.max(ops.abs(t - p), axis=0), lambda: linear(3), Y),
    "a logarithm": (lambda t, p: ops.log(1.0 + ops.mean(ops.square(t - p), axis=0)), lambda: linear(3), Y),
    "a divergence": (lambda t, p: ops.sum(t * ops.log(t / p), axis=0), soft, SHARES.astype("float32")),
    "a cross-entropy": (
        lambda t, p: -ops.sum(t * ops.log(p + 1e-7), axis=0),
        soft,
        np.eye(3, dtype="float32")[Y.argmax(axis=1)],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_reductions(name: str) -> None:
    loss, build, y = WRONG[name]
    (found,) = findings(compiled(build(), loss), y, select=("LP104", "LP105", "LP106"))
    assert (found.code, found.severity) == ("LP104", Severity.ERROR)


def test_a_mean_is_the_same_number() -> None:
    model = compiled(linear(3), lambda t, p: ops.mean(ops.square(t - p), axis=0))
    (found,) = findings(model, Y)
    assert found.severity == Severity.NOTE
    assert found.counterfactual.before == pytest.approx(found.counterfactual.after, rel=1e-5)


def test_a_single_column_with_weights() -> None:
    """The one value that is left is multiplied with every weight; without weights it is the mean of the rows."""
    trust = np.linspace(0.01, 1.0, SIZE).astype("float32")
    model = compiled(linear(1), lambda t, p: ops.mean(ops.square(t - p), axis=0))
    errors = ((predicted(model) - Y[:, :1].astype("float64")) ** 2).ravel()
    report = lossproof.check(model, X, Y[:, :1], sample_weight=trust, select=["LP103", "LP104"])
    (found,) = report.findings
    assert (found.code, found.severity) == ("LP104", Severity.ERROR)
    assert found.counterfactual.before == pytest.approx(errors.mean() * trust.mean(), rel=1e-4)
    assert found.counterfactual.after == pytest.approx((errors * trust).mean(), rel=1e-4)
    (note,) = findings(model, Y[:, :1])
    assert note.severity == Severity.NOTE


def test_steps_of_a_sequence() -> None:
    steps = np.stack([Y, 0.5 * Y, -Y, Y + 1.0], axis=1)
    inputs = keras.Input((4,))
    hidden = layers.Reshape((4, 3))(layers.Dense(12)(inputs))
    (found,) = findings(compiled(keras.Model(inputs, hidden), distance), steps)
    assert found.evidence["returned"] == [4, 3]
    assert found.severity == Severity.ERROR


def test_each_output_has_its_own() -> None:
    model = two_heads(3)
    model.compile(optimizer="sgd", loss={"a": "mse", "b": distance})
    (found,) = findings(model, {"a": Y, "b": Y})
    assert found.evidence["subject"] == "distance"


def f1_per_tag(t: Any, p: Any) -> Any:
    tp = ops.sum(t * p, axis=0)
    return 1.0 - 2.0 * tp / (ops.sum(t, axis=0) + ops.sum(p, axis=0) + 1e-7)


def r2_per_feature(t: Any, p: Any) -> Any:
    rest, all_of_it = ops.sum(ops.square(t - p), axis=0), ops.sum(ops.square(t - ops.mean(t, axis=0)), axis=0)
    return rest / all_of_it


def correlation_per_feature(t: Any, p: Any) -> Any:
    t, p = t - ops.mean(t, axis=0), p - ops.mean(p, axis=0)
    norm = ops.sqrt(ops.sum(t * t, axis=0) * ops.sum(p * p, axis=0))
    return 1.0 - ops.sum(t * p, axis=0) / (norm + 1e-7)


SILENT: dict[str, tuple[Any, Callable[[], keras.Model], np.ndarray]] = {
    "F1 per tag": (f1_per_tag, lambda: soft(3, "sigmoid"), TAGS),
    "R2 per feature": (r2_per_feature, lambda: linear(3), Y),
    "correlation per feature": (correlation_per_feature, lambda: linear(3), Y),
    "per sample": (lambda t, p: ops.sqrt(ops.sum(ops.square(t - p), axis=-1)), lambda: linear(3), Y),
    "scalar": (lambda t, p: ops.sqrt(ops.sum(ops.square(t - p))), lambda: linear(3), Y),
    "mae": ("mae", lambda: linear(3), Y),
}


@pytest.mark.parametrize("name", SILENT)
def test_silent_on(name: str) -> None:
    loss, build, y = SILENT[name]
    assert not findings(compiled(build(), loss), y)


def test_as_many_features_as_rows() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(SIZE)(inputs))
    y = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype("float32")
    assert findings(compiled(model, distance), y)[0].severity == Severity.ERROR
    assert not findings(compiled(model, "mse"), y)


def test_weights_that_cannot_be_applied(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        """
import keras
import numpy as np
from keras import layers, ops

x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")


def distance(y_true, y_pred):
    return ops.sqrt(ops.sum(ops.square(y_true - y_pred), axis=0))


model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
model.compile(optimizer="sgd", loss=distance)
model.fit(x, x[:, :2], sample_weight=np.linspace(0.5, 1.5, 40), verbose=0)
"""
    )
    report = check_script(script)
    assert [one.code for one in report.loud] == ["LP104"]
    assert report.script_error is not None
    assert report.script_error.explained_by == "LP104"
    assert report.loud[0].where is not None
    assert report.loud[0].where.line == 10
