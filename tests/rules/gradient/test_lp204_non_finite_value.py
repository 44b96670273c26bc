"""LP204: the rows to blame are those that NumPy finds, and what cannot happen in this script is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.capture.watch import Watch
from lossproof.findings.finding import Finding, Severity
from lossproof.pipeline import judge

from .small_models import (
    BINARY,
    CLASSES,
    COUNTS,
    GAP,
    GAPPED,
    ONE_HOT,
    REAL,
    ROWS,
    X,
    compiled,
    computing,
    guarded_error,
    masked_error,
    network,
    stepping,
    two_heads,
)


def findings(
    model: keras.Model, y: Any = None, x: Any = X, codes: tuple[str, ...] = ("LP203", "LP204"), **data: Any
) -> list[Finding]:
    report = lossproof.check(model, x, y, select=codes, **data)
    assert not report.crashed, report.crashed
    return list(report.findings)


def value_of(model: keras.Model, y: Any, **more: Any) -> Finding:
    (found,) = findings(model, y, **more)
    assert found.code == "LP204"
    return found


# On the data ------------------------------------------------------------------------------------------------------


def test_a_row_that_is_not_in_the_captured_batch_is_found() -> None:
    found = value_of(compiled(network(), masked_error), GAPPED)
    assert found.severity == Severity.ERROR
    assert found.evidence["rows"] == np.flatnonzero((GAPPED == 0.0).all(axis=1)).tolist() == [GAP]
    assert found.evidence["searched"] == ROWS
    assert np.isnan(found.counterfactual.before)
    assert np.isfinite(found.counterfactual.after)
    assert found.where is not None
    assert "ops.sum(valid, axis=-1)" in (found.where.expression or "")


def test_all_rows_to_blame_are_counted() -> None:
    y = REAL.copy()
    y[40:52, 0] = np.nan
    found = value_of(compiled(network(), "mse"), y)
    assert found.evidence["affected"] == int(np.isnan(y).any(axis=1).sum())
    assert set(found.evidence["rows"]) <= set(range(40, 52))
    assert "The targets are NaN" in found.explanation
    assert found.where is not None
    assert "lossproof.check" in (found.where.source or "")  # the call, since no expression is to blame


def test_a_guarded_divisor_is_well() -> None:
    assert findings(compiled(network(), guarded_error), GAPPED) == []


def test_a_weight_of_zero_does_not_help() -> None:
    weights = (np.arange(ROWS) != GAP).astype("float32")
    found = value_of(compiled(network(), masked_error), GAPPED, sample_weight=weights)
    assert found.evidence["rows"] == [GAP]


def test_inputs_that_are_not_finite_are_found() -> None:
    x = X.copy()
    x[17, 2] = np.nan
    found = value_of(compiled(network(), "mse"), REAL, x=x)
    assert found.evidence["rows"] == [17]
    assert "The inputs are NaN" in found.explanation


def test_the_output_to_blame_is_found() -> None:
    found = value_of(compiled(two_heads(), {"a": "mse", "b": masked_error}), {"a": REAL, "b": GAPPED})
    assert found.evidence["subject"] == "masked_error"
    assert found.evidence["rows"] == [GAP]


def test_a_compute_loss_and_a_train_step() -> None:
    for cls in (
        computing(lambda model, y, p: ops.mean(masked_error(y, p))),
        stepping(lambda y, p: ops.mean(masked_error(y, p))),
    ):
        found = value_of(compiled(network(model=cls)), GAPPED)
        assert found.evidence["rows"] == [GAP]


def test_a_scalar_loss_is_tried_on_batches_as_training_deals_them() -> None:
    def over_the_batch(y_true: Any, y_pred: Any) -> Any:
        valid = ops.cast(y_true != 0.0, "float32")
        return ops.sum(valid * ops.square(y_true - y_pred)) / ops.sum(valid)

    assert findings(compiled(network(), over_the_batch), GAPPED) == []  # no batch is empty, though a row is
    rare = np.where(np.arange(ROWS)[:, None] % 32 == 0, REAL, 0.0).astype("float32")
    found = value_of(compiled(network(), over_the_batch), rare, batch_size=8)
    assert np.isnan(found.counterfactual.before)


def test_a_dataset_is_asked_for_a_few_more_batches() -> None:
    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, i: int) -> Any:
            rows = slice(16 * i, 16 * i + 16)
            return X[rows], GAPPED[rows]

    assert GAP // 16 < 6
    found = value_of(compiled(network(), masked_error), None, x=Batches())
    assert found.evidence["rows"] == [GAP // 16 + 1]  # batches count from 1


def test_a_loss_alone() -> None:
    report = lossproof.check_loss(masked_error, GAPPED, REAL, select=["LP204"])
    assert [found.evidence["rows"] for found in report.findings] == [[GAP]]


@pytest.mark.parametrize(("row", "trained_on"), [(90, False), (33, True)])
def test_rows_kept_for_validation_are_not_trained_on(row: int, trained_on: bool) -> None:
    y = REAL.copy()
    y[row] = np.nan
    with Watch(shorten=True) as watch:
        compiled(network(), "mse").fit(X, y, validation_split=0.2, batch_size=16, verbose=0)
    report = judge(watch.run, select=["LP203", "LP204"])
    assert [found.code for found in report.findings] == ["LP204"] * trained_on


def test_where_each_row_is_bad_the_predictions_are_changed() -> None:
    def of_logarithms(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(ops.log(y_true) - ops.log(y_pred)), axis=-1)

    below = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Lambda(lambda z: -1.0 - ops.square(z))])
    found = value_of(compiled(below, of_logarithms), np.abs(REAL) + 1.0)
    assert found.evidence["affected"] == found.evidence["searched"]
    assert found.counterfactual.change == "predictions that are nearly right"
    assert found.counterfactual.after == pytest.approx(0.0, abs=1e-3)


# Where training leads -----------------------------------------------------------------------------------------------


def cross_entropy(y_true: Any, y_pred: Any) -> Any:
    return -ops.mean(y_true * ops.log(y_pred) + (1.0 - y_true) * ops.log(1.0 - y_pred), axis=-1)


def clipped_too_close(y_true: Any, y_pred: Any) -> Any:
    return cross_entropy(y_true, ops.clip(y_pred, 1e-8, 1.0 - 1e-8))  # 1 - 1e-8 is 1 in float32


def clipped(y_true: Any, y_pred: Any) -> Any:
    return cross_entropy(y_true, ops.clip(y_pred, 1e-7, 1.0 - 1e-7))


def categorical(y_true: Any, y_pred: Any) -> Any:
    return -ops.sum(y_true * ops.log(y_pred), axis=-1)


def counts(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(y_pred - y_true * ops.log(y_pred), axis=-1)


SURE = {
    "no epsilon": (cross_entropy, BINARY, "sigmoid"),
    "an epsilon below float32": (clipped_too_close, BINARY, "sigmoid"),
    "hard bounds": (cross_entropy, BINARY, "hard_sigmoid"),
}


@pytest.mark.parametrize("name", SURE)
def test_sure_and_right_predictions_are_a_warning(name: str) -> None:
    loss, y, activation = SURE[name]
    found = value_of(compiled(network(activation=activation), loss), y)
    assert found.severity == Severity.WARNING
    assert found.evidence["at"]["y_true"] == found.evidence["at"]["y_pred"]
    assert np.isfinite(found.counterfactual.after)
    assert found.where is not None
    assert "ops.log" in (found.where.expression or "")


NOT_REACHED = {
    "an epsilon": (clipped, BINARY, "sigmoid"),
    "softplus tends to 0 and never is": (counts, COUNTS, "softplus"),
    "exponential as well": (counts, COUNTS, "exponential"),
    "softmax is 0 long after it is 1": (categorical, ONE_HOT, "softmax"),
    "targets inside of the bounds": (cross_entropy, 0.1 + 0.8 * BINARY, "sigmoid"),
}


@pytest.mark.parametrize("name", NOT_REACHED)
def test_what_no_training_reaches_is_left_alone(name: str) -> None:
    loss, y, activation = NOT_REACHED[name]
    assert findings(compiled(network(activation=activation), loss), y) == []


def built_in() -> Iterator[tuple[str, np.ndarray, str | None]]:
    for name in ("mse", "mae", "mape", "msle", "log_cosh", "huber"):
        yield name, np.abs(REAL) + 0.5, "softplus"
    for name in ("binary_crossentropy", "binary_focal_crossentropy", "dice", "tversky"):
        yield name, BINARY, "sigmoid"
    for name in ("categorical_crossentropy", "categorical_focal_crossentropy", "kl_divergence", "categorical_hinge"):
        yield name, ONE_HOT, "softmax"
    for name in ("hinge", "squared_hinge"):
        yield name, 2.0 * BINARY - 1.0, "tanh"
    yield "sparse_categorical_crossentropy", CLASSES, "softmax"
    yield "poisson", COUNTS, "softplus"
    yield "cosine_similarity", REAL, None


@pytest.mark.parametrize(("name", "y", "activation"), [*built_in()], ids=[name for name, *_ in built_in()])
def test_the_losses_of_keras_are_well(name: str, y: np.ndarray, activation: str | None) -> None:
    assert findings(compiled(network(activation=activation), name), y) == []


# The last, smaller batch --------------------------------------------------------------------------------------------


def normalised(y_true: Any, y_pred: Any) -> Any:
    """The squared error in units of the variance of the targets, which a single row does not have."""
    return ops.mean(ops.square(y_true - y_pred), axis=-1) / ops.var(y_true, axis=0)[0]


@pytest.mark.parametrize(("rows", "left"), [(ROWS - 31, 1), (ROWS - 30, 2), (ROWS, 0)])
def test_a_single_row_left_for_the_last_batch(rows: int, left: int) -> None:
    model = compiled(network(), normalised)
    with Watch(shorten=True) as watch:
        model.fit(X[:rows], REAL[:rows], batch_size=32, verbose=0)
    report = judge(watch.run, select=["LP204"])
    assert not report.crashed, report.crashed
    assert [(one.code, one.evidence["rows"]) for one in report.findings] == (
        [("LP204", [rows - 1])] if left == 1 else []
    )
    if left == 1:
        assert np.isinf(report.findings[0].counterfactual.before)
        assert np.isfinite(report.findings[0].counterfactual.after)
        assert "a single row is left for the last batch" in report.findings[0].explanation
