"""LP103: weights that cannot act on a number, against weighted means in NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding, Severity

from .ways import SIZE, WAYS, WEIGHTS, X, Y, linear, predicted, subclass, two_heads

IDS = (np.arange(SIZE) % 3).astype("int32")


def findings(model: keras.Model, y: Any, sample_weight: Any = None, **data: Any) -> list[Finding]:
    report = lossproof.check(model, X, y, sample_weight, select=["LP103"], **data)
    assert not report.crashed, report.crashed
    return list(report.findings)


def error_of(model: keras.Model, y: Any, sample_weight: Any = None, **data: Any) -> Finding:
    (found,) = findings(model, y, sample_weight, **data)
    assert (found.code, found.severity) == ("LP103", Severity.ERROR)
    return found


def compiled(model: keras.Model, loss: Any = None, **arguments: Any) -> keras.Model:
    model.compile(optimizer="sgd", loss=loss, **arguments)
    return model


def whole(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred))


def each(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def squares(model: keras.Model, y: np.ndarray = Y) -> Any:
    """The mean square of each row, in float64."""
    return np.mean((predicted(model) - y.astype("float64")) ** 2, axis=-1)


# Guilty -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WAYS)
def test_weights_act_on_a_number_by_their_mean_alone(name: str) -> None:
    model = compiled(linear(3), WAYS[name](whole))
    found = error_of(model, Y, WEIGHTS)
    rows = squares(model)
    assert found.counterfactual.before == pytest.approx(rows.mean() * WEIGHTS.mean(dtype="float64"), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean(rows * WEIGHTS), rel=1e-5)
    (dealt,) = found.counterfactual.rows
    assert dealt.before == pytest.approx(found.counterfactual.before, rel=1e-5)
    assert dealt.after != pytest.approx(found.counterfactual.after, rel=1e-3)
    assert found.where is not None
    assert found.where.expression == "ops.mean(ops.square(y_true - y_pred))"


def test_what_keras_computes_with_the_finding_is_what_it_says() -> None:
    """The number in the progress bar is the one of the first column."""
    model = compiled(linear(3), whole)
    found = error_of(model, Y, WEIGHTS)
    assert model.evaluate(X, Y, sample_weight=WEIGHTS, verbose=0) == pytest.approx(
        found.counterfactual.before, rel=1e-5
    )


def test_class_weights_become_sample_weights() -> None:
    def picked(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(keras.losses.sparse_categorical_crossentropy(y_true, y_pred))

    weight_of = {0: 1.0, 1: 5.0, 2: 0.5}
    model = compiled(keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")]), picked)
    found = error_of(model, IDS, class_weight=weight_of)
    rows = -np.log(predicted(model)[np.arange(SIZE), IDS])
    weights = np.array([weight_of[int(i)] for i in IDS])
    assert found.counterfactual.before == pytest.approx(rows.mean() * weights.mean(), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean(rows * weights), rel=1e-5)


def test_of_one_number_in_a_vector_lp104_tells() -> None:
    """`axis=0` on a single output: shape (1,), which Keras broadcasts against the weights."""
    model = compiled(linear(1), lambda t, p: ops.mean(ops.square(t - p), axis=0))
    assert findings(model, Y[:, :1], WEIGHTS) == []


def test_only_the_output_that_returns_a_number_is_named() -> None:
    model = compiled(two_heads(3), {"a": each, "b": whole}, loss_weights={"a": 2.0, "b": 0.5})
    found = error_of(model, {"a": Y, "b": Y}, {"a": WEIGHTS, "b": WEIGHTS})
    rows = np.mean((predicted(model)["b"] - Y) ** 2, axis=-1)
    assert found.counterfactual.after == pytest.approx(np.mean(rows * WEIGHTS), rel=1e-5)
    assert found.where is not None
    assert found.where.scope == "whole"


def test_weights_that_are_all_the_same_could_not_act_either() -> None:
    model = compiled(linear(3), whole)
    found = error_of(model, Y, np.full(SIZE, 2.0, dtype="float32"))
    assert "from 0.5 to 1.5" in found.measured
    rows = squares(model)
    assert found.counterfactual.before == pytest.approx(rows.mean(), rel=1e-5)  # their mean is 1
    assert found.counterfactual.after == pytest.approx(np.mean(rows * np.linspace(0.5, 1.5, SIZE)), rel=1e-5)


def test_a_root_of_the_mean_is_a_number_too() -> None:
    def root(y_true: Any, y_pred: Any) -> Any:
        return ops.sqrt(ops.mean(ops.square(y_true - y_pred)))

    model = compiled(linear(3), root)
    found = error_of(model, Y, WEIGHTS)
    rows = squares(model)
    assert found.counterfactual.before == pytest.approx(np.sqrt(rows.mean()) * WEIGHTS.mean(dtype="float64"), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean(np.sqrt(rows) * WEIGHTS), rel=1e-5)


# Within a sample ----------------------------------------------------------------------------------------------------

STEPS = np.stack([Y, -Y, 2.0 * Y, Y - 1.0, 0.5 * Y], axis=1)
"""(SIZE, 5, 3)."""
STEP_WEIGHTS = np.random.default_rng(3).uniform(0.0, 2.0, size=(SIZE, 5)).astype("float32")


def steps_model() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(15), layers.Reshape((5, 3))])


def over_steps(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=(1, 2))


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("weights", [STEP_WEIGHTS, STEP_WEIGHTS[..., None]], ids=["(B, T)", "(B, T, 1)"])
def test_weights_of_steps_act_on_a_mean_over_steps_by_their_mean(name: str, weights: np.ndarray) -> None:
    def kept(y_true: Any, y_pred: Any) -> Any:  # (B, 1): Keras lets it meet (B, T)
        return ops.mean(over_steps(y_true, y_pred)[:, None], axis=-1, keepdims=True)

    model = compiled(steps_model(), WAYS[name](kept if weights.ndim == 2 else lambda t, p: kept(t, p)[..., None]))
    found = error_of(model, STEPS, weights)
    errors = np.mean((predicted(model) - STEPS) ** 2, axis=-1)
    assert found.counterfactual.before == pytest.approx(
        np.mean(errors.mean(axis=1) * STEP_WEIGHTS.mean(axis=1)), rel=1e-5
    )
    assert found.counterfactual.after == pytest.approx(np.mean(errors * STEP_WEIGHTS), rel=1e-5)
    (dealt,) = found.counterfactual.rows
    assert dealt.before == pytest.approx(found.counterfactual.before, rel=1e-5)
    assert dealt.after == pytest.approx(np.mean(errors * np.roll(STEP_WEIGHTS, 1, axis=1)), rel=1e-5)
    assert "axis 1" in found.title


def test_the_expression_that_gives_up_the_steps_is_named() -> None:
    model = compiled(steps_model(), lambda t, p: ops.mean(ops.square(t - p), axis=1)[..., :1])
    found = error_of(model, STEPS, STEP_WEIGHTS)
    assert found.where is not None
    assert found.where.expression == "ops.mean(ops.square(t - p), axis=1)"


def test_one_of_two_inner_axes() -> None:
    """Weights of pixels, and a loss that has averaged over the columns."""
    images = np.random.default_rng(5).normal(size=(SIZE, 4, 6, 1)).astype("float32")
    weights = np.random.default_rng(6).uniform(0.0, 2.0, size=(SIZE, 4, 6)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(24), layers.Reshape((4, 6, 1))])
    found = error_of(compiled(model, lambda t, p: ops.mean(ops.square(t - p), axis=2)), images, weights)
    errors = ((predicted(model) - images) ** 2)[..., 0]
    assert "axis 2" in found.title
    assert found.counterfactual.after == pytest.approx(np.mean(errors * weights), rel=1e-5)


@pytest.mark.parametrize("name", WAYS)
def test_a_value_for_each_step_is_weighted(name: str) -> None:
    assert findings(compiled(steps_model(), WAYS[name](each)), STEPS, STEP_WEIGHTS) == []


def test_weights_of_rows_written_out_for_each_step() -> None:
    repeated = np.repeat(WEIGHTS[:, None], 5, axis=1)
    loss = lambda t, p: over_steps(t, p)[:, None]  # noqa: E731
    assert findings(compiled(steps_model(), loss), STEPS, repeated) == []


def test_the_order_of_steps_matters() -> None:
    """A loss of jumps has no value for one step."""

    def jumps(y_true: Any, y_pred: Any) -> Any:
        error = y_true - y_pred
        return ops.mean(ops.square(error[:, 1:] - 0.5 * error[:, :-1]), axis=(1, 2))[:, None]

    assert findings(compiled(steps_model(), jumps), STEPS, STEP_WEIGHTS) == []


def test_a_step_uses_what_came_before_it_and_its_own_weight() -> None:
    def smoothed(y_true: Any, y_pred: Any) -> Any:
        before = ops.concatenate([y_pred[:, :1], y_pred[:, :-1]], axis=1)
        return ops.mean(ops.square(y_true - 0.5 * (y_pred + before)), axis=-1)

    assert findings(compiled(steps_model(), smoothed), STEPS, STEP_WEIGHTS) == []


# Innocent -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WAYS)
def test_a_value_for_each_row_is_weighted(name: str) -> None:
    assert findings(compiled(linear(3), WAYS[name](each)), Y, WEIGHTS) == []


@pytest.mark.parametrize("name", WAYS)
def test_without_weights_it_is_a_note(name: str) -> None:
    (note,) = findings(compiled(linear(3), WAYS[name](whole)), Y)
    assert note.severity == Severity.NOTE


@pytest.mark.parametrize("reduction", ["sum", "mean", "mean_with_sample_weight", "sum_over_batch_size"])
def test_a_subclass_with_any_reduction(reduction: str) -> None:
    assert findings(compiled(linear(3), subclass(each, reduction=reduction)), Y, WEIGHTS) == []


def test_finer_than_rows() -> None:
    steps = np.stack([Y, -Y], axis=1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6), layers.Reshape((2, 3))])
    weights = np.stack([WEIGHTS, WEIGHTS[::-1]], axis=1)
    assert findings(compiled(model, each), steps, weights) == []


def test_rows_that_know_of_each_other() -> None:
    def standardised(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), axis=-1) / ops.var(y_true)

    assert findings(compiled(linear(3), standardised), Y, WEIGHTS) == []


def test_a_number_that_is_the_same_for_every_row() -> None:
    """Weighting each row's own value would have the same outcome, however the weights are dealt."""

    def constant(y_true: Any, y_pred: Any) -> Any:
        return 0.0 * ops.mean(y_pred) + 1.0

    assert findings(compiled(linear(3), constant), Y, WEIGHTS) == []


def test_a_compute_loss_that_weighs_by_itself() -> None:
    class Weighing(keras.Model):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            return ops.sum(sample_weight * each(y, y_pred)) / ops.sum(sample_weight)

    assert findings(compiled(linear(3, Weighing)), Y, WEIGHTS) == []
