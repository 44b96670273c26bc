"""LP101: pairs of all rows, however the loss is written, against the same sums in NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding, Severity

from ..gradient.small_models import computing, stepping
from .ways import FUNCTIONS, SIZE, WAYS, WEIGHTS, X, Y, linear, predicted, subclass, two_heads

COLUMN = Y[:, 0]
IDS = (np.arange(SIZE) % 4).astype("int32")


def findings(model: keras.Model, y: Any, **data: Any) -> list[Finding]:
    report = lossproof.check(model, X, y, select=["LP101"], **data)
    assert not report.crashed, report.crashed
    return list(report.findings)


def broadcast_of(model: keras.Model, y: Any, **data: Any) -> Finding:
    (found,) = findings(model, y, **data)
    assert (found.code, found.severity) == ("LP101", Severity.ERROR)
    assert found.evidence["pairs"] == SIZE**2
    return found


def compiled(model: keras.Model, loss: Any = None, **arguments: Any) -> keras.Model:
    model.compile(optimizer="sgd", loss=loss, **arguments)
    return model


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def absolute(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def without_axis(y_true: Any, y_pred: Any) -> Any:
    """Keras gives the targets the rank of the predictions, and then the predictions lose it."""
    return ops.square(y_true - y_pred[:, 0])


def pairs(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Every prediction less every target, shape (rows, rows)."""
    return np.asarray(p.reshape(-1, 1) - y.astype("float64").reshape(1, -1))


# Pairs that the loss makes of any targets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        lambda t, p: ops.mean(ops.square(ops.expand_dims(t, 1) - p), axis=-1),
        lambda t, p: ops.mean(ops.square(t - ops.expand_dims(p, 1)), axis=-1),
        lambda t, p: ops.mean(ops.square(t[:, None, :] - p[None]), axis=(1, 2)),
    ],
    ids=["targets", "predictions", "both"],
)
def test_an_axis_too_many_pairs_rows_of_any_width(loss: Any) -> None:
    model = compiled(linear(3), loss)
    found = broadcast_of(model, Y)
    p, y = predicted(model).astype("float64"), Y.astype("float64")
    every = np.mean((p[:, None] - y[None]) ** 2)
    assert found.counterfactual.before == pytest.approx(every, rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean((p - y) ** 2), rel=1e-5)
    dealt, perfect = found.counterfactual.rows
    assert dealt.before == pytest.approx(every, rel=1e-5)
    assert perfect.before == pytest.approx(np.mean((y[:, None] - y[None]) ** 2), rel=1e-5)
    assert perfect.after == pytest.approx(0.0, abs=1e-9)
    assert found.where is not None
    assert found.where.file.endswith("test_lp101_batch_broadcast.py")


@pytest.mark.parametrize(
    "loss",
    [
        # The energy distance of two samples, and the greatest distance to the nearest (Hausdorff): sets, not rows.
        lambda t, p: (
            2.0 * ops.mean(ops.sqrt(ops.sum(ops.square(t[:, None] - p[None]), axis=-1) + 1e-6))
            - ops.mean(ops.sqrt(ops.sum(ops.square(p[:, None] - p[None]), axis=-1) + 1e-6))
            - ops.mean(ops.sqrt(ops.sum(ops.square(t[:, None] - t[None]), axis=-1) + 1e-6))
        ),
        lambda t, p: (
            ops.mean(ops.min(ops.sum(ops.square(t[:, None] - p[None]), axis=-1), axis=0))
            + ops.mean(ops.min(ops.sum(ops.square(t[:, None] - p[None]), axis=-1), axis=1))
        ),
        lambda t, p: ops.sum(ops.square(ops.mean(t, axis=0) - ops.mean(p, axis=0))),
    ],
    ids=["energy distance", "chamfer", "means"],
)
def test_a_distance_of_sets_is_meant(loss: Any) -> None:
    assert not findings(compiled(linear(3), loss), Y)


# Guilty -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_predictions_that_lose_their_axis_meet_all_targets(name: str) -> None:
    model = compiled(linear(1), FUNCTIONS[name](without_axis))
    found = broadcast_of(model, COLUMN)
    difference = pairs(predicted(model), COLUMN)
    assert found.counterfactual.before == pytest.approx(np.mean(difference**2), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean(np.diag(difference) ** 2), rel=1e-5)
    assert found.where is not None
    assert found.where.expression == "y_true - y_pred[:, 0]"


@pytest.mark.parametrize(("loss", "power"), [(squared, 2), (absolute, 1)])
def test_a_loss_subclass_meets_targets_of_rank_1(loss: Any, power: int) -> None:
    model = compiled(linear(1), subclass(loss))
    found = broadcast_of(model, COLUMN)
    difference = np.abs(pairs(predicted(model), COLUMN)) ** power
    assert found.counterfactual.before == pytest.approx(np.mean(difference), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean(np.diag(difference)), rel=1e-5)
    assert found.counterfactual.rows[-1].before > found.counterfactual.rows[-1].after == pytest.approx(0.0)


def test_the_mean_of_pairs_does_not_see_the_targets_dealt_anew() -> None:
    found = broadcast_of(compiled(linear(1), subclass(squared)), COLUMN)
    assert found.counterfactual.rows[0].before == pytest.approx(found.counterfactual.before, rel=1e-5)
    assert abs(found.counterfactual.rows[0].after - found.counterfactual.after) > 1e-3


def test_only_the_output_with_the_mistake_is_named() -> None:
    model = compiled(two_heads(), {"a": subclass(squared), "b": squared})
    found = broadcast_of(model, {"a": COLUMN, "b": Y[:, 1]})
    assert found.counterfactual.before == pytest.approx(np.mean(pairs(predicted(model)["a"], COLUMN) ** 2), rel=1e-5)


@pytest.mark.parametrize("make", [computing, stepping])
def test_code_that_keras_does_not_align_for(make: Any) -> None:
    def objective(*arguments: Any) -> Any:
        y, y_pred = arguments[-2:]
        return ops.mean(ops.square(y - y_pred))

    model = compiled(linear(1, make(objective)))
    found = broadcast_of(model, COLUMN)
    difference = pairs(predicted(model), COLUMN)
    assert found.counterfactual.before == pytest.approx(np.mean(difference**2), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean(np.diag(difference) ** 2), rel=1e-5)


def test_weights_of_rank_1_beside_errors_of_rank_2() -> None:
    class Weighing(keras.Model):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            return ops.mean(sample_weight * ops.square(y - y_pred))

    model = compiled(linear(1, Weighing))
    found = broadcast_of(model, COLUMN[:, None], sample_weight=WEIGHTS)
    errors = (predicted(model)[:, 0] - COLUMN) ** 2
    assert found.counterfactual.before == pytest.approx(np.mean(errors) * np.mean(WEIGHTS, dtype="float64"), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean(errors * WEIGHTS), rel=1e-5)


def test_the_same_function_is_well_as_a_loss_and_ill_as_a_metric() -> None:
    model = compiled(linear(1), squared, metrics=[squared])
    found = broadcast_of(model, COLUMN)
    assert found.counterfactual.label.startswith("metric")
    assert found.counterfactual.before == pytest.approx(np.mean(pairs(predicted(model), COLUMN) ** 2), rel=1e-5)


# Innocent -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_keras_aligns_for_functions(name: str) -> None:
    assert findings(compiled(linear(1), FUNCTIONS[name](squared)), COLUMN) == []


@pytest.mark.parametrize("name", WAYS)
def test_targets_with_the_axis_are_well(name: str) -> None:
    assert findings(compiled(linear(1), WAYS[name](squared)), COLUMN[:, None]) == []


def flat(y_true: Any, y_pred: Any) -> Any:
    return ops.square(ops.reshape(y_true, (-1,)) - ops.reshape(y_pred, (-1,)))


def ranked(y_true: Any, y_pred: Any) -> Any:
    """Every row with every other one, on purpose."""
    y, p = ops.reshape(y_true, (-1,)), ops.reshape(y_pred, (-1,))
    order = ops.sign(y[:, None] - y[None, :])
    return ops.mean(ops.relu(1.0 - order * (p[:, None] - p[None, :])), axis=-1)


def energy(y_true: Any, y_pred: Any) -> Any:
    """The distance of two samples, whose rows have no order."""
    y, p = ops.reshape(y_true, (-1, 1)), ops.reshape(y_pred, (-1, 1))
    mean = lambda a, b: ops.mean(ops.abs(a - ops.transpose(b)))  # noqa: E731
    return 2.0 * mean(p, y) - mean(p, p) - mean(y, y)


def centred(y_true: Any, y_pred: Any) -> Any:
    """A column beside a mean over the batch."""
    y, p = ops.reshape(y_true, (-1, 1)), y_pred
    return ops.square((y - ops.mean(y, axis=0)) - (p - ops.mean(p, axis=0)))[:, 0]


@pytest.mark.parametrize("loss", [flat, ranked, energy, centred])
def test_what_is_meant_is_left_alone(loss: Any) -> None:
    assert findings(compiled(linear(1), subclass(loss)), COLUMN) == []


def test_labels_that_are_compared_with_each_other() -> None:
    def contrastive(y_true: Any, y_pred: Any) -> Any:
        ids = ops.reshape(y_true, (-1,))
        same = ops.cast(ops.equal(ids[:, None], ids[None, :]), "float32")
        apart = ops.sum(ops.square(y_pred[:, None, :] - y_pred[None, :, :]), axis=-1)
        return ops.mean(same * apart + (1.0 - same) * ops.relu(1.0 - apart), axis=-1)

    assert findings(compiled(linear(3), subclass(contrastive)), IDS) == []


def test_as_many_outputs_as_rows() -> None:
    y = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype("float32")
    assert findings(compiled(linear(SIZE), subclass(squared)), y) == []


@pytest.mark.parametrize("loss", ["mse", keras.losses.Huber(), keras.losses.LogCosh()])
def test_losses_of_keras_are_aligned(loss: Any) -> None:
    assert findings(compiled(linear(1), loss, metrics=["mae"]), COLUMN) == []


def test_class_numbers_beside_probabilities() -> None:
    def picked(y_true: Any, y_pred: Any) -> Any:
        hot = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), 4)
        return -ops.sum(hot * ops.log_softmax(y_pred, axis=-1), axis=-1)

    model = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    assert findings(compiled(model, subclass(picked)), IDS) == []
