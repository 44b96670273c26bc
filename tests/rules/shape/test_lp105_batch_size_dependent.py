"""LP105: sums over the batch, however the loss is written, against the same sums in NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.capture.watch import Watch
from lossproof.findings.finding import Finding, Severity
from lossproof.pipeline import judge

from ..gradient.small_models import computing, stepping
from .ways import SIZE, WAYS, WEIGHTS, X, Y, linear, predicted, subclass, two_heads


def findings(model: keras.Model, y: Any, x: Any = X, **data: Any) -> list[Finding]:
    report = lossproof.check(model, x, y, select=["LP105"], **data)
    assert not report.crashed, report.crashed
    return list(report.findings)


def sum_of(model: keras.Model, y: Any, x: Any = X, **data: Any) -> Finding:
    (found,) = findings(model, y, x, **data)
    assert found.code == "LP105"
    before, after = found.counterfactual.before, found.counterfactual.after
    assert isinstance(before, float)
    assert after == pytest.approx(before / SIZE)
    for row, n in zip(found.counterfactual.rows, (2, 3), strict=True):
        assert (row.before, row.after) == (pytest.approx(n * before, rel=1e-5), pytest.approx(after, rel=1e-5))
    return found


def compiled(model: keras.Model, loss: Any = None, **arguments: Any) -> keras.Model:
    model.compile(optimizer="sgd", loss=loss, **arguments)
    return model


def total(y_true: Any, y_pred: Any) -> Any:
    return ops.sum(ops.square(y_true - y_pred))


def each(y_true: Any, y_pred: Any) -> Any:
    return ops.sum(ops.square(y_true - y_pred), axis=-1)


def squares(p: np.ndarray, y: np.ndarray = Y) -> Any:
    """Of all entries, summed, in float64."""
    return np.sum((p - y.astype("float64")) ** 2)


# Guilty -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WAYS)
def test_a_sum_over_the_batch(name: str) -> None:
    model = compiled(linear(3), WAYS[name](total))
    found = sum_of(model, Y)
    assert found.severity == Severity.WARNING
    assert found.counterfactual.before == pytest.approx(squares(predicted(model)), rel=1e-5)
    assert found.where is not None
    assert found.where.expression == "ops.sum(ops.square(y_true - y_pred))"


def test_a_sum_beside_a_penalty() -> None:
    """What is summed grows, what stands beside it does not: v(n) = penalty + n * sum."""
    model = compiled(linear(3), lambda t, p: total(t, p) + 7.0)
    (found,) = findings(model, Y)
    summed = squares(predicted(model))
    assert found.counterfactual.before == pytest.approx(summed + 7.0, rel=1e-5)
    assert found.counterfactual.after == pytest.approx(summed / SIZE + 7.0, rel=1e-5)
    assert [row.before for row in found.counterfactual.rows] == pytest.approx(
        [2 * summed + 7.0, 3 * summed + 7.0], rel=1e-5
    )


def test_a_check_counts_the_last_partial_batch() -> None:
    """The same as a fit on these rows: 20 and 12 of them."""
    (found,) = findings(compiled(linear(3), total), Y, batch_size=20)
    assert found.severity == Severity.ERROR
    assert "batches of 12, 20" in found.explanation


def test_what_keras_reports_grows_with_the_batch() -> None:
    model = compiled(linear(3), total)
    found = sum_of(model, Y)
    twice = model.evaluate(np.tile(X, (2, 1)), np.tile(Y, (2, 1)), batch_size=2 * SIZE, verbose=0)
    assert twice == pytest.approx(found.counterfactual.rows[0].before, rel=1e-5)


@pytest.mark.parametrize(("size", "severity"), [(SIZE, Severity.WARNING), (20, Severity.ERROR)])
def test_it_is_an_error_where_batches_of_several_sizes_are_met(size: int, severity: Severity) -> None:
    with Watch(shorten=True) as watch:
        model = compiled(linear(3), total, run_eagerly=True)
        model.fit(X, Y, batch_size=size, verbose=0)
    (found,) = judge(watch.run, select=["LP105"]).findings
    assert found.severity == severity
    assert ("12, 20" in found.explanation) == (severity == Severity.ERROR)


def test_a_sum_along_the_batch_axis_only() -> None:
    """One value for each output: Keras takes their mean, and the batch is summed all the same."""


def test_a_sum_along_the_batch_axis_is_told_by_lp104() -> None:
    """One value for each output: that is the mistake, and that it grows with the batch follows from it."""
    model = compiled(linear(3), lambda y_true, y_pred: ops.sum(ops.square(y_true - y_pred), axis=0))
    assert not findings(model, Y)


@pytest.mark.parametrize("make", [computing, stepping])
def test_a_sum_in_the_code_of_the_model(make: Any) -> None:
    model = compiled(linear(3, make(lambda *arguments: total(*arguments[-2:]))))
    assert sum_of(model, Y).counterfactual.before == pytest.approx(squares(predicted(model)), rel=1e-5)


def test_only_the_output_that_sums_is_named() -> None:
    model = compiled(two_heads(3), {"a": total, "b": each})
    found = sum_of(model, {"a": Y, "b": Y})
    assert found.counterfactual.before == pytest.approx(squares(predicted(model)["a"]), rel=1e-5)


def test_a_weighted_sum() -> None:
    class Weighing(keras.Model):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            return ops.sum(sample_weight * each(y, y_pred))

    model = compiled(linear(3, Weighing))
    rows = np.sum((predicted(model) - Y.astype("float64")) ** 2, axis=-1)
    found = sum_of(model, Y, sample_weight=WEIGHTS)
    assert found.counterfactual.before == pytest.approx(np.sum(rows * WEIGHTS), rel=1e-5)


def test_a_reduction_that_says_sum_is_a_note() -> None:
    (note,) = findings(compiled(linear(3), subclass(each, reduction="sum")), Y)
    assert note.severity == Severity.NOTE


# Innocent -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WAYS)
def test_a_sum_over_the_outputs_is_well(name: str) -> None:
    assert findings(compiled(linear(3), WAYS[name](each)), Y) == []


WELL = {
    "mean": lambda t, p: ops.mean(ops.square(t - p)),
    "divided by the rows": lambda t, p: ops.sum(ops.square(t - p)) / ops.cast(ops.shape(t)[0], "float32"),
    "share of a sum": lambda t, p: ops.sum(ops.square(t - p)) / ops.sum(ops.square(t)),
    "root of a sum": lambda t, p: ops.sqrt(ops.sum(ops.square(t - p))),
    "square of a sum": lambda t, p: ops.square(ops.sum(t - p)),
    "log of a sum": lambda t, p: ops.logsumexp(ops.square(t - p)),
    "a mean and a constant": lambda t, p: 10.0 + ops.mean(ops.square(t - p)),
    "largest": lambda t, p: ops.max(ops.abs(t - p)),
    "overlap": lambda t, p: 1.0 - 2.0 * ops.sum(t * p) / (ops.sum(t * t) + ops.sum(p * p)),
}


@pytest.mark.parametrize("name", WELL)
def test_what_is_no_sum_is_left_alone(name: str) -> None:
    assert findings(compiled(linear(3), WELL[name]), Y) == []


def test_zero_says_nothing() -> None:
    assert findings(compiled(linear(3), lambda t, p: 0.0 * ops.sum(p)), Y) == []


UNREDUCED = keras.losses.MeanSquaredError(reduction="none")


@pytest.mark.parametrize("make", [computing, stepping])
def test_values_for_each_row_that_the_user_reduces(make: Any) -> None:
    """`reduction="none"` in a loop of one's own: the mean is taken afterwards."""
    model = compiled(linear(3, make(lambda *arguments: ops.mean(UNREDUCED(*arguments[-2:])))))
    assert findings(model, Y) == []


@pytest.mark.parametrize("make", [computing, stepping])
def test_values_for_each_row_that_the_user_sums(make: Any) -> None:
    model = compiled(linear(3, make(lambda *arguments: ops.sum(UNREDUCED(*arguments[-2:])))))
    assert sum_of(model, Y).counterfactual.before == pytest.approx(squares(predicted(model)) / 3.0, rel=1e-5)


def test_unreduced_values_that_keras_is_left_with() -> None:
    """Nothing sums them: `evaluate` reports their mean, and only TensorFlow can differentiate them."""
    assert findings(compiled(linear(3), UNREDUCED), Y) == []


def test_a_sum_that_passes_through_a_compute_loss_is_said_once() -> None:
    class Passing(keras.Model):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return 0.5 * super().compute_loss(*args, **kwargs)

    model = compiled(linear(3, Passing), total)
    assert sum_of(model, Y).counterfactual.before == pytest.approx(squares(predicted(model)), rel=1e-5)


def test_penalties_do_not_hide_behind_the_batch() -> None:
    """Weight decay is the same for every batch; the loss is a mean."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_regularizer="l2")])
    assert findings(compiled(model, each), Y) == []


def test_sequences_of_padded_steps() -> None:
    steps = np.stack([Y, -Y], axis=1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6), layers.Reshape((2, 3))])
    assert findings(compiled(model, lambda t, p: ops.sum(ops.square(t - p), axis=(1, 2))), steps) == []
