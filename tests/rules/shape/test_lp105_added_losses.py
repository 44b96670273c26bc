"""LP105 on `add_loss`: Keras sums what it is given, whatever its shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding, Severity

ROWS = 24
X = np.random.default_rng(5).normal(size=(ROWS, 3)).astype("float32")
Y = X[:, :1] - X[:, 1:2]


def penalised(penalty: Callable[[Any], Any], loss: Any = "mse", **layer: Any) -> keras.Model:
    class Penalised(layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss(penalty(inputs))
            return inputs

    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, **layer), Penalised(), layers.Dense(1)])
    model.compile(optimizer="sgd", loss=loss)
    return model


def findings(model: keras.Model) -> list[Finding]:
    report = lossproof.check(model, X, Y, select=["LP105"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def hidden(model: keras.Model) -> np.ndarray:
    kernel, bias = (w.astype("float64") for w in model.get_weights()[:2])
    return X.astype("float64") @ kernel + bias


@pytest.mark.parametrize(
    ("penalty", "said"),
    [
        (lambda h: 0.1 * ops.mean(ops.square(h), axis=-1), "values of shape (24,)"),
        (lambda h: 0.025 * ops.square(h), "values of shape (24, 4)"),
        (lambda h: 0.025 * ops.sum(ops.square(h)), "a sum over the batch"),
    ],
    ids=["per sample", "per entry", "summed"],
)
def test_what_is_summed_over_the_batch(penalty: Callable[[Any], Any], said: str) -> None:
    model = penalised(penalty)
    (found,) = findings(model)
    assert found.severity == Severity.WARNING
    assert said in found.explanation
    assert "add_loss" in found.where.expression
    value = 0.025 * float(np.sum(hidden(model) ** 2))
    assert found.counterfactual.before == pytest.approx(value, rel=1e-4)
    assert found.counterfactual.after == pytest.approx(value / ROWS, rel=1e-4)


@pytest.mark.parametrize(
    "penalty",
    [
        lambda h: 0.1 * ops.mean(ops.square(h)),
        lambda h: 0.1 * ops.max(ops.square(h)),
        lambda h: ops.convert_to_tensor(0.0) * ops.sum(h),
    ],
    ids=["mean", "maximum", "nothing"],
)
def test_what_is_not_summed(penalty: Callable[[Any], Any]) -> None:
    assert not findings(penalised(penalty))


def test_a_penalty_of_keras_itself_is_not_the_users() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, activity_regularizer="l2"), layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    assert not findings(model)


def test_a_penalty_on_weights_does_not_know_the_batch() -> None:
    class Shrunk(layers.Dense):
        def call(self, inputs: Any) -> Any:
            self.add_loss(0.1 * ops.sum(ops.square(self.kernel)))
            return super().call(inputs)

    model = keras.Sequential([keras.Input((3,)), Shrunk(1)])
    model.compile(optimizer="sgd", loss="mse")
    assert not findings(model)


def test_under_dropout_the_sum_is_still_seen() -> None:
    class Noisy(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = layers.Dropout(0.5)

        def call(self, inputs: Any, training: bool = False) -> Any:
            outputs = self.dropout(inputs, training=training)
            self.add_loss(ops.sum(ops.square(outputs)))
            return outputs

    model = keras.Sequential([keras.Input((3,)), Noisy(), layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    assert [found.code for found in findings(model)] == ["LP105"]
