"""LP202: losses without a gradient are told from losses whose gradient is zero here and there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import lossproof
from lossproof.findings.finding import Finding

from .small_models import BACKEND, BINARY, REAL, X, compiled, computing, network, stepping, two_heads


def findings(model: keras.Model, y: Any, **data: Any) -> list[Finding]:
    report = lossproof.check(model, X, y, select=["LP202"], **data)
    assert not report.crashed, report.crashed
    return list(report.findings)


def of_loss(loss: Any, y_true: np.ndarray = REAL, y_pred: np.ndarray | None = None) -> list[Finding]:
    y_pred = 0.5 * REAL[::-1].copy() if y_pred is None else y_pred
    report = lossproof.check_loss(loss, y_true, y_pred, select=["LP202"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def error_rate(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - ops.cast(y_pred > 0.5, "float32")), axis=-1)


class Rounded(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - ops.round(y_pred)), axis=-1)


def through_numpy(y_true: Any, y_pred: Any) -> Any:
    squared = np.square(ops.convert_to_numpy(y_true) - ops.convert_to_numpy(y_pred))
    return ops.convert_to_tensor(squared.mean(axis=-1))


def by_asarray(y_true: Any, y_pred: Any) -> Any:
    return ops.convert_to_tensor(np.square(np.asarray(y_true) - np.asarray(y_pred)).mean(axis=-1))


GUILTY: dict[str, tuple[Callable[..., Any], str]] = {
    "sign": (lambda t, p: ops.mean(ops.abs(ops.sign(t) - ops.sign(p)), axis=-1), "ops.sign(p)"),
    "threshold": (error_rate, "y_pred > 0.5"),
    "class": (Rounded(), "ops.round(y_pred)"),
    "argmax": (lambda t, p: ops.cast(ops.argmax(t, -1) != ops.argmax(p, -1), "float32"), "ops.argmax(p, -1)"),
    "count": (lambda t, p: ops.sum(ops.cast(p > t, "int32"), axis=-1), "p > t"),
    "scalar": (lambda t, p: 1.0 - ops.mean(ops.cast(ops.round(p) == ops.round(t), "float32")), "ops.round(p)"),
    "partial": (
        functools.partial(lambda t, p, k: ops.mean(ops.abs(t - ops.floor(k * p)), -1), k=2.0),
        "ops.floor(k * p)",
    ),
    "numpy": (through_numpy, "ops.convert_to_numpy(y_pred)"),
    "asarray": (by_asarray, "np.asarray(y_pred)"),
    "float": (lambda t, p: float(ops.mean(ops.square(t - p))), "float(ops.mean(ops.square(t - p)))"),
    "all of it stopped": (lambda t, p: ops.mean(ops.square(t - ops.stop_gradient(p)), -1), "ops.stop_gradient(p)"),
}


@pytest.mark.parametrize("name", GUILTY)
def test_a_loss_without_a_gradient_is_found_where_the_derivative_ends(name: str) -> None:
    loss, expression = GUILTY[name]
    (found,) = of_loss(loss)
    assert found.where is not None
    assert found.where.expression == expression
    assert found.counterfactual.before != found.counterfactual.after


INNOCENT: dict[str, Callable[..., Any]] = {
    "squared": lambda t, p: ops.mean(ops.square(t - p), axis=-1),
    "margin met by all": lambda t, p: ops.mean(ops.relu(ops.abs(p) - 50.0), axis=-1),
    "clipped range that no prediction is in": lambda t, p: ops.mean(ops.square(ops.clip(p + 50.0, 0.0, 1.0) - t), -1),
    "never moves": lambda t, p: ops.mean(0.0 * p, axis=-1) + 1.0,
    "looks at the targets alone": lambda t, p: ops.mean(ops.square(t), axis=-1),
    "straight through": lambda t, p: ops.mean(ops.square(p + ops.stop_gradient(ops.round(p) - p) - t), axis=-1),
    "a decision as a weight": lambda t, p: ops.mean(ops.cast(p > 0.0, "float32") * ops.square(p - t), axis=-1),
    "part stopped": lambda t, p: ops.mean(ops.square(p - ops.stop_gradient(ops.round(p))), axis=-1),
    "nearly a step": lambda t, p: ops.mean(ops.sigmoid(1e3 * (p - t)), axis=-1),
    "flat but for a slope": lambda t, p: ops.mean(ops.clip(p - 3.0, 0.0, 1.0), axis=-1),
    "perfect": lambda t, p: ops.mean(ops.relu(ops.abs(p - t) - 5.0), axis=-1),
}


@pytest.mark.parametrize("name", INNOCENT)
def test_a_gradient_that_is_zero_here_and_there_is_none_of_it(name: str) -> None:
    assert of_loss(INNOCENT[name]) == []
    assert findings(compiled(network(), INNOCENT[name]), REAL) == []


def test_the_numbers_are_those_of_numpy() -> None:
    y_pred = np.random.default_rng(5).uniform(size=BINARY.shape).astype("float32")
    (found,) = of_loss(error_rate, BINARY, y_pred)

    def reference(predictions: np.ndarray) -> float:
        return float(np.mean(np.abs(BINARY.astype("float64") - (predictions > 0.5))))

    assert found.counterfactual.before == pytest.approx(reference(y_pred), abs=1e-6)
    assert found.counterfactual.after == pytest.approx(reference(BINARY), abs=1e-6)  # the farthest: no error at all
    width, jump = found.evidence["jump"]
    assert width < 1e-6
    assert abs(jump) * BINARY.size == pytest.approx(round(abs(jump) * BINARY.size), abs=1e-3)  # whole decisions
    assert abs(jump) * BINARY.size >= 1.0 - 1e-3


def test_targets_of_another_kind_say_nothing_of_where_predictions_lie() -> None:
    """Hazards of intervals 0 to 4: beyond [0, 1] the logarithms are NaN, within it there is a jump at one half."""
    random = np.random.default_rng(2)
    interval = random.integers(0, 5, size=(16, 1)).astype("float32")
    hazard = random.uniform(0.2, 0.8, size=(16, 5)).astype("float32")

    def decided(t: Any, p: Any) -> Any:
        p = ops.round(p)
        survived = ops.cast(ops.arange(5, dtype="float32") < t, "float32")
        return -ops.sum(survived * ops.log(1.0 - p + 1e-7), axis=-1)

    (found,) = of_loss(decided, interval, hazard)
    width, jump = found.evidence["jump"]
    assert width < 1e-6
    assert abs(jump) * 16 == pytest.approx(-np.log(1e-7), rel=1e-2)


def test_a_smooth_loss_out_of_sight_has_no_jump() -> None:
    (found,) = of_loss(through_numpy)
    assert found.evidence["jump"] is None
    assert "smoothly" in found.explanation


@pytest.mark.backend("torch", "jax")
def test_what_autodiff_refuses_is_named() -> None:
    (found,) = of_loss(by_asarray)
    expected = {"torch": "RuntimeError", "jax": "TracerArrayConversionError"}[BACKEND]
    assert found.evidence["autodiff raises"] == expected


def test_only_the_output_without_a_gradient_is_named() -> None:
    losses = {"a": "mse", "b": error_rate}
    (found,) = findings(compiled(two_heads(), losses), {"a": REAL, "b": BINARY})
    assert found.evidence["output"] == "b"
    assert "'b'" in found.title


def test_a_loss_that_does_not_count_is_left_alone() -> None:
    losses, y = {"a": "mse", "b": error_rate}, {"a": REAL, "b": BINARY}
    assert findings(compiled(two_heads(), losses, loss_weights={"a": 1.0, "b": 0.0}), y) == []


def test_a_loss_cut_off_on_purpose_is_left_alone_while_another_trains() -> None:
    watched = {"a": "mse", "b": lambda t, p: ops.mean(ops.square(t - ops.stop_gradient(p)), axis=-1)}
    assert findings(compiled(two_heads(), watched), {"a": REAL, "b": REAL}) == []


@pytest.mark.backend("tensorflow", "torch")  # in a step of JAX, a metric's variables are values like others
def test_a_metric_is_no_loss_and_keeps_its_state() -> None:
    metric = keras.metrics.MeanSquaredError()
    model = compiled(network(), metric)
    lossproof.check(model, X, REAL, select=["LP1"])
    before = [keras.ops.convert_to_numpy(v).copy() for v in metric.variables]
    (found,) = findings(model, REAL)
    assert found.severity == "error"
    for variable, value in zip(metric.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


COMPUTED: dict[str, tuple[Callable[..., Any], bool]] = {
    "rounded": (lambda model, y, p: ops.mean(ops.square(y - ops.round(p))), True),
    "rounded before a loss object": (lambda model, y, p: keras.losses.MeanSquaredError()(y, ops.round(p)), True),
    "a decision as a weight": (
        lambda model, y, p: ops.mean(ops.square(y - p)) * (1.0 + ops.mean(ops.cast(p > 0.0, "float32"))),
        False,
    ),
    "predictions looked at for a mask": (
        lambda model, y, p: ops.mean(ops.cast(p > 0.0, "float32") * ops.square(y - model(X[: len(y)]))),
        False,
    ),
    "a loss for the report alone": (
        lambda model, y, p: ops.mean(ops.square(y - p)) + 0.0 * keras.losses.MeanSquaredError()(y, ops.round(p)),
        False,
    ),
    "predictions not used": (lambda model, y, p: ops.mean(ops.square(model(X[: len(y)]))), False),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_a_compute_loss(name: str) -> None:
    objective, guilty = COMPUTED[name]
    found = findings(compiled(network(model=computing(objective))), REAL)
    assert len(found) == guilty


def test_penalties_do_not_hide_that_the_data_do_not_train() -> None:
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(3, kernel_regularizer="l2")(inputs)
    cls = computing(lambda model, y, p: ops.mean(ops.square(y - ops.round(p))) + sum(model.losses))
    (found,) = findings(compiled(cls(inputs, outputs)), REAL)
    assert found.where is not None
    assert found.where.expression == "ops.round(p)"


@pytest.mark.parametrize("guilty", [False, True])
def test_a_train_step(guilty: bool) -> None:
    decided: Callable[[Any], Any] = ops.round if guilty else ops.tanh
    cls = stepping(lambda y, p: ops.mean(ops.square(y - decided(p))))
    found = findings(compiled(network(model=cls)), REAL)
    assert len(found) == guilty
    assert all(one.where is not None and one.where.scope is not None for one in found)


SCRIPT = """
import keras
import numpy as np
from keras import layers, ops

x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
model.compile(optimizer="sgd", loss=lambda t, p: ops.mean(ops.abs(t - ops.cast(p > 0, "float32")), axis=-1))
model.fit(x, np.sign(x[:, :2]), verbose=0)
"""


def test_it_explains_the_exception(check_script: Callable[..., Any]) -> None:
    checked = check_script(SCRIPT, options=("--select", "LP202"))
    assert checked.codes == ["LP202"]
    assert checked.status == 1
    error = checked.report["script_error"]
    assert (error is None) == (BACKEND == "jax")
    assert error is None or error["explained_by"] == "LP202"


# A term among others -----------------------------------------------------------------------------------------------


def squared(t: Any, p: Any) -> Any:
    return ops.mean(ops.square(t - p), axis=-1)


class WithPenalty(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred) - 0.5 * self.share(y_pred)

    def share(self, y_pred: Any) -> Any:
        return ops.mean(ops.cast(y_pred > 0.2, "float32"), axis=-1)


DEAD: dict[str, tuple[Callable[..., Any], str]] = {
    "decisions": (lambda t, p: squared(t, p) + 0.5 * error_rate(t, p), "0.5 * error_rate(t, p)"),
    "scalar": (lambda t, p: ops.mean(squared(t, p)) + ops.mean(ops.floor(4.0 * p)), "ops.mean(ops.floor(4.0 * p))"),
    "first": (lambda t, p: error_rate(t, p) + squared(t, p), "error_rate(t, p)"),
    "method": (WithPenalty(), "0.5 * self.share(y_pred)"),
    "of three": (
        lambda t, p: squared(t, p) + ops.mean(ops.sign(p), axis=-1) + ops.abs(p[:, 0]),
        "ops.mean(ops.sign(p), axis=-1)",
    ),
}


@pytest.mark.parametrize("name", DEAD)
def test_a_term_without_a_gradient_beside_others(name: str) -> None:
    loss, term = DEAD[name]
    (found,) = of_loss(loss)
    assert found.evidence["term"] == term
    assert found.evidence["change"] <= 1e-6


def test_the_term_in_numbers() -> None:
    """Doubled, the loss changes by the term."""
    y_pred = np.random.default_rng(5).uniform(size=BINARY.shape).astype("float32")
    (found,) = of_loss(DEAD["decisions"][0], BINARY, y_pred)
    wrong = np.mean(np.abs(BINARY.astype("float64") - (y_pred > 0.5)))
    error = np.mean((BINARY.astype("float64") - y_pred) ** 2)
    assert found.counterfactual.before == pytest.approx(error + 0.5 * wrong, rel=1e-5)
    assert found.counterfactual.after == pytest.approx(error + 1.0 * wrong, rel=1e-5)


ALIVE: dict[str, Callable[..., Any]] = {
    "to whole numbers": lambda t, p: squared(t, p) + 0.1 * ops.mean(ops.abs(p - ops.round(p)), axis=-1),
    "a decision as a weight": lambda t, p: ops.mean((1.0 + ops.cast(p > 0.2, "float32")) * ops.square(t - p), axis=-1),
    "a sum in a divisor": lambda t, p: (
        ops.sum(ops.square(t - p)) / (ops.sum(ops.abs(p)) + ops.sum(ops.cast(p > 0.2, "float32")))
    ),
    "straight through": lambda t, p: squared(t, p + ops.stop_gradient(ops.round(p) - p)),
    "shown, and stopped": lambda t, p: squared(t, p) + ops.stop_gradient(error_rate(t, p)),
    "a margin that most meet": lambda t, p: squared(t, p) + ops.mean(ops.relu(ops.abs(p) - 1.0), axis=-1),
    "a margin that all meet": lambda t, p: squared(t, p) + ops.mean(ops.relu(ops.abs(p) - 50.0), axis=-1),
    "of the targets": lambda t, p: squared(t, p) + ops.mean(ops.cast(t > 0.0, "float32"), axis=-1),
    "hard examples": lambda t, p: ops.mean(
        ops.where(ops.abs(t - p) > 0.5, ops.square(t - p), 0.1 * ops.abs(t - p)), -1
    ),
}


@pytest.mark.parametrize("name", ALIVE)
def test_terms_that_train_or_are_meant(name: str) -> None:
    assert of_loss(ALIVE[name]) == []
