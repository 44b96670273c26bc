"""LP101 and LP102 of axes that are missing inside of a loss: against all pairs in NumPy, beside pairs that are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding

from .ways import SIZE, X, linear, predicted, subclass

_random = np.random.default_rng(11)
EVENTS = np.stack([_random.exponential(size=SIZE), _random.random(SIZE) < 0.6], axis=1).astype("float32")
"""(SIZE, 2): a time, and whether something happened then."""
SIDE = 6
PICTURES = _random.normal(size=(SIZE, SIDE, SIDE, 1)).astype("float32")
WEIGHED = np.concatenate([0.5 * PICTURES, _random.uniform(0.0, 3.0, PICTURES.shape)], axis=-1).astype("float32")
"""(SIZE, SIDE, SIDE, 2): a picture and its weights."""


def findings(model: keras.Model, x: Any, y: Any, loss: Callable[[Any, Any], Any]) -> list[Finding]:
    model.compile(optimizer="sgd", loss=loss)
    report = lossproof.check(model, x, y, select=["LP101", "LP102"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def filtered() -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((SIDE, SIDE, 1)), layers.Conv2D(1, 3, padding="same")])


def scores() -> keras.Model:
    keras.utils.set_random_seed(3)
    return linear(1)


# Rows that meet rows ------------------------------------------------------------------------------------------------


def risk_sets(y_true: Any, y_pred: Any, status: Any) -> Any:
    theta = ops.reshape(y_pred, (-1,))
    seen = (theta - ops.log(ops.cumsum(ops.exp(theta)))) * status
    return -ops.sum(seen) / ops.sum(status)


def test_every_row_of_a_column_with_every_prediction() -> None:
    """A loss that couples the rows by itself: a row alone says nothing."""
    model = scores()
    (found,) = findings(model, X, EVENTS, subclass(lambda t, p: risk_sets(t, p, t[:, 1:])))
    theta = predicted(model)[:, 0]
    logs = theta - np.log(np.cumsum(np.exp(theta)))
    status = EVENTS[:, 1].astype("float64")
    assert found.code == "LP101"
    assert found.counterfactual.before == pytest.approx(-np.sum(logs[None] * status[:, None]) / status.sum(), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(-np.sum(logs * status) / status.sum(), rel=1e-5)
    assert found.evidence["pairs"] == SIZE * SIZE


def test_a_mean_over_all_pairs_of_a_column() -> None:
    model = scores()
    (found,) = findings(model, X, EVENTS, lambda t, p: ops.mean(ops.square(t[:, 0] - p) * t[:, 1], axis=-1))
    error = EVENTS[None, :, 0].astype("float64") - predicted(model)
    assert found.code == "LP101"
    assert found.counterfactual.before == pytest.approx(np.mean(error**2 * EVENTS[None, :, 1]), rel=1e-5)


def energy(y_true: Any, y_pred: Any) -> Any:
    flat = ops.reshape(y_pred, (-1,))
    return 2.0 * ops.mean(ops.abs(y_true[:, :1] - flat)) - ops.mean(ops.abs(y_pred - flat))


def concordance(y_true: Any, y_pred: Any) -> Any:
    flat, time = ops.reshape(y_pred, (-1,)), y_true[:, 0]
    comparable = ops.cast(y_true[:, :1] < time, "float32") * y_true[:, 1:]
    return ops.sum(comparable * ops.softplus(flat - y_pred)) / ops.sum(comparable)


PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    "the column as a vector": lambda t, p: risk_sets(t, p, t[:, 1]),
    "a distance between samples": energy,
    "an order of pairs": concordance,
    "the nearest prediction": lambda t, p: ops.min(ops.square(t[:, 0] - p), axis=0),
    "a softmax over the batch": lambda t, p: -ops.mean(ops.diagonal(ops.log_softmax(t[:, 0] * p, axis=-1))),
    "predictions against each other": lambda t, p: (
        ops.mean(ops.square(t[:, :1] - p)) - 0.1 * ops.mean(ops.abs(p - ops.reshape(p, (-1,))))
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_that_are_meant(name: str) -> None:
    assert findings(scores(), X, EVENTS, subclass(PAIRS[name])) == []


# A number of rows that hides it ---------------------------------------------------------------------------------------


def weighed(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(y_true[..., 1] * ops.square(y_true[..., :1] - y_pred), axis=(1, 2))


@pytest.mark.parametrize("rows", [1, SIDE])
def test_weights_without_the_last_axis(rows: int) -> None:
    """It runs for one picture, and for as many as a picture has lines."""
    model, x, y = filtered(), PICTURES[:rows], WEIGHED[:rows].astype("float64")
    (found,) = findings(model, x, WEIGHED[:rows], weighed)
    errors = (y[..., :1] - model.predict(x, verbose=0)) ** 2
    assert found.code == "LP102"
    assert found.counterfactual.before == pytest.approx(np.mean(y[..., 1] * errors), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean(y[..., 1:] * errors), rel=1e-5)
    assert found.where is not None
    assert "y_true[..., 1]" in found.title


def curve() -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((4,)), layers.Dense(7), layers.Reshape((7, 1))])


CURVE = _random.normal(size=(1, 7)).astype("float32")


def test_one_curve_without_the_last_axis() -> None:
    model = curve()
    loss = subclass(lambda t, p: ops.mean(ops.square(t - p), axis=(1, 2)))
    (found,) = findings(model, X[:1], CURVE, loss)
    p = model.predict(X[:1], verbose=0).astype("float64")
    assert found.code == "LP102"
    assert found.counterfactual.before == pytest.approx(np.mean((CURVE[0, None] - p[0]) ** 2), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean((CURVE[0, :, None] - p[0]) ** 2), rel=1e-5)


def chamfer(y_true: Any, y_pred: Any) -> Any:
    apart = ops.square(y_true - y_pred)
    return ops.mean(ops.min(apart, axis=1)) + ops.mean(ops.min(apart, axis=2))


def spread(y_true: Any, y_pred: Any) -> Any:
    points = y_pred[..., 0]
    return ops.mean(ops.square(y_true - points)) - ops.mean(ops.abs(points - y_pred))


@pytest.mark.parametrize("loss", [chamfer, spread])
def test_all_pairs_of_the_points_of_one_row(loss: Callable[[Any, Any], Any]) -> None:
    assert findings(curve(), X[:1], CURVE, subclass(loss)) == []


@pytest.mark.parametrize("rows", [1, SIDE, SIZE])
def test_weights_with_the_last_axis(rows: int) -> None:
    loss = lambda t, p: ops.mean(t[..., 1:] * ops.square(t[..., :1] - p), axis=(1, 2, 3))  # noqa: E731
    assert findings(filtered(), PICTURES[:rows], WEIGHED[:rows], loss) == []


def test_a_shape_that_is_written_down() -> None:
    """It takes one row only, and is right for that."""

    def flat(y_true: Any, y_pred: Any) -> Any:
        error = ops.reshape(y_true[..., :1] - y_pred, (1, SIDE, SIDE))
        return ops.mean(ops.square(error), axis=(1, 2))

    assert findings(filtered(), PICTURES[:1], WEIGHED[:1], flat) == []
