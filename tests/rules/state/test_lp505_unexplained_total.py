"""LP505: what is in the total and in no other number, against totals computed in NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops, regularizers

from lossproof.findings.finding import Finding, Severity

from .own_steps import ROWS, Judging, X, Y, errors, findings, linear

OTHER = np.abs(Y) + 1.0


def trained(model: Any, y: Any = Y, **told: Any) -> list[Finding]:
    def script() -> None:
        model.compile(**{"optimizer": "sgd", "loss": "mse", "run_eagerly": True, **told})
        model.fit(X, y, batch_size=ROWS, verbose=0)

    return findings("LP505", script)


def with_layer(**arguments: Any) -> Any:
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dense(1, **arguments)(inputs))


def two_heads() -> Any:
    inputs = keras.Input((3,))
    return keras.Model(inputs, [layers.Dense(1, name="first")(inputs), layers.Dense(1, name="second")(inputs)])


class Adding(keras.layers.Layer):
    """Adds the mean square of what it is given."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(0.3 * ops.mean(ops.square(inputs)))
        return inputs


# Guilty -------------------------------------------------------------------------------------------------------------


def test_a_penalty_on_weights() -> None:
    model = with_layer(kernel_regularizer=regularizers.L1L2(0.01, 0.1), bias_regularizer="l2")
    kernel, bias = model.get_weights()
    kernel = kernel.astype("float64")
    (found,) = trained(model)
    mean = float(np.mean(errors([kernel, bias]) ** 2))
    penalty = float(0.01 * np.sum(np.abs(kernel)) + 0.1 * np.sum(kernel**2))
    assert (found.code, found.severity) == ("LP505", Severity.NOTE)
    assert found.counterfactual.before == pytest.approx(mean + penalty, rel=1e-5)
    assert found.counterfactual.after == pytest.approx(mean, rel=1e-5)
    assert sum(found.evidence["penalties"]) == pytest.approx(penalty, rel=1e-5)


def test_a_penalty_on_outputs() -> None:
    """Keras divides an activity penalty by the rows of the batch."""
    model = with_layer(activity_regularizer=regularizers.L2(0.5))
    error = errors(model.get_weights())
    (found,) = trained(model)
    mean, penalty = np.mean(error**2), 0.5 * np.sum((Y - error) ** 2) / ROWS
    assert found.counterfactual.before == pytest.approx(mean + penalty, rel=1e-5)
    assert found.counterfactual.after == pytest.approx(mean, rel=1e-5)


def test_a_term_of_add_loss() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1)(Adding()(inputs)))
    error = errors(model.get_weights())
    (found,) = trained(model)
    mean, penalty = np.mean(error**2), 0.3 * np.mean(X.astype("float64") ** 2)
    assert found.counterfactual.before == pytest.approx(mean + penalty, rel=1e-5)
    assert found.counterfactual.after == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("form", ["list", "dict"])
def test_weighted_outputs(form: str) -> None:
    model = two_heads()
    weights = model.get_weights()
    first = float(np.mean(errors(weights[:2]) ** 2))
    second = float(np.mean(np.abs(errors(weights[2:], y=OTHER))))
    told: dict[str, Any] = {"loss": ["mse", "mae"], "loss_weights": [3.0, 0.2]}
    if form == "dict":
        told = {key: dict(zip(("first", "second"), value, strict=True)) for key, value in told.items()}
    (found,) = trained(model, [Y, OTHER], **told)
    assert found.severity is Severity.NOTE
    assert found.counterfactual.before == pytest.approx(3.0 * first + 0.2 * second, rel=1e-5)
    assert found.counterfactual.after == pytest.approx(first + second, rel=1e-5)
    assert [row.after for row in found.counterfactual.rows] == pytest.approx([3.0 * first, 0.2 * second], rel=1e-5)


def test_another_metric_does_not_explain_the_total() -> None:
    assert trained(with_layer(kernel_regularizer="l2"), metrics=["mae"])


# Innocent -----------------------------------------------------------------------------------------------------------


def root(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


@pytest.mark.parametrize(
    "told",
    [
        {"metrics": ["mse"]},
        {"metrics": [keras.metrics.MeanSquaredError(name="error")]},
        {"metrics": ["mae", root]},
        {"loss": root, "metrics": [root]},
        {"loss": keras.losses.MeanSquaredError(), "metrics": [root]},
    ],
    ids=["name", "object", "function", "own", "loss object"],
)
def test_the_loss_is_shown_beside_its_total(told: dict[str, Any]) -> None:
    assert not trained(with_layer(kernel_regularizer=regularizers.L2(0.1)), **told)


def test_no_penalty() -> None:
    assert not trained(linear())
    assert not trained(with_layer(kernel_regularizer=regularizers.L2(0.0)))


def test_outputs_that_add_up() -> None:
    assert not trained(two_heads(), [Y, OTHER], loss=["mse", "mae"])
    assert not trained(two_heads(), [Y, OTHER], loss=["mse", "mae"], loss_weights=[1.0, 1.0])


def test_layers_with_a_mode() -> None:
    """The total in training mode is another one than in inference mode; nothing is missing from it."""
    inputs = keras.Input((3,))
    outputs = layers.Dense(1)(layers.BatchNormalization()(layers.Dropout(0.5)(inputs)))
    assert not trained(keras.Model(inputs, outputs))


class Own(Judging):
    """Its step says what it reports."""

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        return {"total": loss}


class OwnObjective(keras.Model):
    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *args: Any, **kwargs: Any) -> Any:
        return 2.0 * super().compute_loss(x, y, y_pred, *args, **kwargs)


@pytest.mark.parametrize("kind", [Own, OwnObjective])
def test_code_of_ones_own_explains_itself(kind: type[keras.Model]) -> None:
    inputs = keras.Input((3,))
    assert not trained(kind(inputs, layers.Dense(1, kernel_regularizer="l2")(inputs)))


def test_weights_of_rows() -> None:
    """They are in the mean that is shown, too."""
    model = linear()

    def script() -> None:
        model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
        model.fit(X, Y, sample_weight=np.linspace(0.1, 2.0, ROWS), batch_size=ROWS, verbose=0)

    assert not findings("LP505", script)
