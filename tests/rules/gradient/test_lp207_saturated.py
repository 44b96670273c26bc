"""LP207: clipped and saturated predictions are told from margins, robust losses and right predictions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses, ops

import lossproof
from lossproof.findings.finding import Finding

from .small_models import BACKEND, BINARY, CLASSES, ONE_HOT, REAL, X, compiled

OUTSIDE = np.where(BINARY > 0.0, -0.5, 0.5).astype("float32")
"""Below 0 where the label is 1, in range where it is 0."""
BOTH = (2.0 * REAL[::-1]).copy()


def of_loss(loss: Any, y_true: np.ndarray, y_pred: np.ndarray) -> list[Finding]:
    report = lossproof.check_loss(loss, y_true, y_pred, select=["LP207"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def of_model(
    outputs: int, activation: str | None, loss: Any, y: np.ndarray, scale: float, bias: float
) -> list[Finding]:
    inputs = keras.Input((4,))
    start = {
        "kernel_initializer": keras.initializers.Constant(scale),
        "bias_initializer": keras.initializers.Constant(bias),
    }
    model = keras.Model(inputs, layers.Dense(outputs, activation=activation, **start)(inputs))
    report = lossproof.check(compiled(model, loss), X, y, select=["LP207"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def clipped(t: Any, p: Any) -> Any:
    p = ops.clip(p, 1e-3, 1.0 - 1e-3)
    return -ops.mean(t * ops.log(p) + (1.0 - t) * ops.log(1.0 - p), axis=-1)


def clipped_by_hand(t: Any, p: Any) -> Any:
    return ops.mean(ops.square(t - ops.minimum(ops.maximum(p, 0.0), 1.0)), axis=-1)


def tukey(t: Any, p: Any) -> Any:
    return ops.mean(1.0 - (1.0 - ops.minimum(ops.square((t - p) / 0.3), 1.0)) ** 3, axis=-1)


GUILTY: dict[str, tuple[Any, np.ndarray, np.ndarray]] = {
    "clip": (clipped, BINARY, OUTSIDE),
    "clip, both sides": (clipped, BINARY, BOTH),
    "minimum and maximum": (clipped_by_hand, BINARY, BOTH),
    "built-in": ("binary_crossentropy", BINARY, BOTH),
    "one number for the batch": (lambda t, p: ops.mean(clipped(t, p)), BINARY, OUTSIDE),
    "classes": (lambda t, p: -ops.sum(t * ops.log(ops.clip(p, 1e-3, 1.0)), axis=-1), ONE_HOT, -np.abs(REAL)),
}


@pytest.mark.parametrize("name", GUILTY)
def test_predictions_outside_of_a_clip_are_found(name: str) -> None:
    (found,) = of_loss(*GUILTY[name])
    assert found.counterfactual.after < found.counterfactual.before


def test_the_dead_are_counted_and_their_share_is_that_of_a_calculation_by_hand() -> None:
    (found,) = of_loss(clipped, BINARY, OUTSIDE)
    dead = int((BINARY > 0.0).sum())
    assert (found.evidence["dead"], found.evidence["wrong"]) == (dead, BINARY.size)
    y, p = BINARY.astype("float64"), np.clip(OUTSIDE.astype("float64"), 1e-3, 1.0 - 1e-3)
    each = -(y * np.log(p) + (1.0 - y) * np.log(1.0 - p))
    least = -np.log(1.0 - 1e-3)
    assert found.counterfactual.before == pytest.approx(each.mean(), rel=1e-4)
    assert found.evidence["share_of_loss"] == pytest.approx(
        (each - least)[y > 0.0].sum() / (each - least).sum(), rel=1e-3
    )


INNOCENT: dict[str, tuple[Any, np.ndarray, np.ndarray]] = {
    "in range": (clipped, BINARY, (0.2 + 0.6 * BINARY[::-1]).astype("float32")),
    "hinge": ("hinge", 2.0 * BINARY - 1.0, 5.0 * REAL),
    "hinge, mostly met": ("hinge", 2.0 * BINARY - 1.0, REAL),
    "tolerance": (lambda t, p: ops.mean(ops.relu(ops.abs(t - p) - 1.0), axis=-1), REAL, BOTH),
    "outliers ignored": (tukey, 10.0 * REAL, BOTH),
    "truncated": (lambda t, p: ops.minimum(ops.mean(ops.square(t - p), axis=-1), 0.2), REAL, BOTH),
    "largest error": (lambda t, p: ops.max(ops.abs(t - p), axis=-1), REAL, BOTH),
    "masked": (lambda t, p: ops.mean(t * ops.square(t - p), axis=-1), BINARY, BOTH),
    "logits": (losses.BinaryCrossentropy(from_logits=True), BINARY, 50.0 * BOTH),
    "ids": (losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES, BOTH),
    "squared": ("mse", REAL, BOTH),
}


@pytest.mark.parametrize("name", INNOCENT)
def test_what_cannot_be_improved_or_is_ignored_on_purpose_is_left_alone(name: str) -> None:
    assert of_loss(*INNOCENT[name]) == []


def test_an_output_that_is_zero_for_every_sample_is_found() -> None:
    (found,) = of_model(3, "relu", "mse", np.abs(REAL), 0.1, -20.0)
    assert found.evidence["where"] == "output"
    assert of_model(3, "relu", "mse", np.abs(REAL), 0.5, 0.0) == []


def test_saturated_probabilities_are_out_of_reach_where_the_backend_does_not_go_back_to_logits() -> None:
    found = of_model(3, "sigmoid", "binary_crossentropy", BINARY, 500.0, 0.0)
    assert len(found) == (0 if BACKEND == "tensorflow" else 1)
    assert of_model(3, "sigmoid", "binary_crossentropy", BINARY, 0.5, 0.0) == []


def test_a_clip_over_an_output_that_is_at_its_end_for_every_sample_is_found() -> None:
    (found,) = of_model(3, "sigmoid", clipped, BINARY, 0.0, 200.0)
    assert found.evidence["where"] == "both"
    dead, count = found.evidence["dead"], 32 * 3  # of the first batch
    assert isinstance(dead, int)
    worst, best = -np.log(1e-3), -np.log(1.0 - 1e-3)
    assert 0 < dead < count
    assert found.counterfactual.before == pytest.approx((dead * worst + (count - dead) * best) / count, rel=1e-4)
    assert found.counterfactual.after == pytest.approx(best, rel=1e-3)
    assert of_model(3, "sigmoid", clipped, BINARY, 0.0, 2.0) == []
    assert of_model(3, "sigmoid", clipped, np.ones_like(BINARY), 0.0, 200.0) == []


def cut_off(t: Any, p: Any) -> Any:
    return ops.minimum(ops.mean(ops.square(t - p), axis=-1), 1e-4)


def of_parameters(t: Any, p: Any) -> Any:
    mean, log_scale = p[:, :1], p[:, 1:2]
    return ops.minimum(ops.square((t - mean) * ops.exp(-log_scale)) + 2.0 * log_scale, -50.0)


def test_a_loss_cut_off_below_what_it_is_is_found() -> None:
    (found,) = of_model(3, None, cut_off, 10.0 * REAL, 0.1, 0.0)
    assert found.evidence["where"] == "loss"
    assert found.counterfactual.before == pytest.approx(1e-4)
    assert found.counterfactual.after == pytest.approx(0.0, abs=1e-9)


def test_a_loss_that_never_moves_is_found_and_one_that_stands_for_none_is_not() -> None:
    (found,) = of_model(2, None, of_parameters, REAL[:, :1], 0.1, 0.0)
    assert found.evidence["where"] == "constant"
    assert found.counterfactual.before == found.counterfactual.after == pytest.approx(-50.0)
    assert of_model(2, None, lambda t, p: 0.0 * p, REAL[:, :2], 0.1, 0.0) == []


def test_a_margin_that_is_met_everywhere_is_no_level_loss() -> None:
    def triplet(t: Any, p: Any) -> Any:
        return ops.relu(ops.mean(p, axis=-1) - 5.0)

    assert of_model(2, None, triplet, 0.0 * REAL[:, :1], 0.1, 0.0) == []


def test_rows_that_weigh_nothing_are_no_level_loss() -> None:
    model = compiled(keras.Sequential([keras.Input((4,)), layers.Dense(3)]), "mse")
    report = lossproof.check(model, X, REAL, sample_weight=np.zeros(len(X), "float32"), select=["LP207"])
    assert not report.crashed
    assert not report.findings


def test_a_flat_output_beside_a_penalty_is_found() -> None:
    inputs = keras.Input((4,))
    start = {"bias_initializer": keras.initializers.Constant(-20.0), "kernel_regularizer": "l2"}
    model = keras.Model(inputs, layers.Dense(3, activation="relu", **start)(inputs))
    report = lossproof.check(compiled(model, "mse"), X, np.abs(REAL), select=["LP207"])
    assert not report.crashed
    assert [one.evidence["where"] for one in report.findings] == ["output"]


@pytest.mark.backend("jax", "torch")  # TensorFlow's Keras goes back to the logits, and trains without an effect
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1")
def test_a_softmax_over_a_single_unit_is_told_from_a_saturated_output() -> None:
    (found,) = of_model(1, "softmax", "binary_crossentropy", BINARY[:, :1], 0.5, 0.0)
    assert "does not depend on the weights" in found.title
    assert "sigmoid" in found.fix.text
    (other,) = of_model(1, "relu", "mse", np.abs(REAL[:, :1]) + 1.0, 0.5, -50.0)
    assert "is on its flat part" in other.title


def pinball(t: Any, p: Any) -> Any:
    error = t - p
    shares = ops.convert_to_tensor([0.1, 0.5, 0.9])
    return ops.mean(ops.maximum(shares * error, (shares - 1.0) * error), axis=-1)


def test_an_output_that_is_off_is_found_where_the_targets_do_not_say_what_is_right() -> None:
    y = np.full((len(X), 1), 2.0, "float32")
    (found,) = of_model(3, "relu", pinball, y, 0.1, -30.0)
    assert found.evidence["where"] == "output"
    # All predictions are 0: the loss is the mean of share times target, and falls as soon as one of them can rise.
    assert found.counterfactual.before == pytest.approx(np.mean([0.1, 0.5, 0.9]) * 2.0, rel=1e-5)
    assert found.counterfactual.after < found.counterfactual.before


def test_an_output_that_is_off_where_nothing_better_can_be_given_is_healthy() -> None:
    assert of_model(3, "relu", pinball, -np.abs(REAL[:, :1]) - 0.1, 0.1, -30.0) == []
