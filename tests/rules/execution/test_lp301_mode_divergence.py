"""LP301: what the graph makes of a loss, against the same loss on values."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossproof.findings.finding import Severity

from .conftest import Caught

EPSILON = 1e-8


def shares(x: np.ndarray) -> np.ndarray:
    """Targets in (0, 1] of which one of each row is exactly 1, shape (rows, 3)."""
    y = np.abs(x) + 0.1
    return (y / y.max(axis=1, keepdims=True)).astype("float32")


def dense(units: int = 3, activation: str = "softplus") -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Dense(units, activation=activation)])


def lost_epsilon(y_true: Any, y_pred: Any) -> Any:
    return -ops.mean(y_pred * ops.log(1 - y_true + EPSILON), axis=-1)


def kept_epsilon(y_true: Any, y_pred: Any) -> Any:
    return -ops.mean(y_pred * ops.log(1 - y_true + 1e-6), axis=-1)


def maximum(y_true: Any, y_pred: Any) -> Any:
    return -ops.mean(y_pred * ops.log(ops.maximum(1 - y_true, EPSILON)), axis=-1)


def with_argument(y_true: Any, y_pred: Any, epsilon: float) -> Any:
    return -ops.mean(y_pred * ops.log((1.0 - y_true) + epsilon), axis=-1)


class Lost(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return lost_epsilon(y_true, y_pred)


class Own(keras.Model):
    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        return ops.mean(lost_epsilon(y, y_pred))


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize(
    "loss", [lost_epsilon, Lost(), functools.partial(with_argument, epsilon=1e-9), lambda t, p: lost_epsilon(t, p)]
)
def test_an_epsilon_that_the_graph_loses(caught: Caught, x: np.ndarray, loss: Any) -> None:
    (finding,) = caught("LP301", dense(), x, shares(x), {"loss": loss})
    assert finding.severity == Severity.ERROR
    assert np.isfinite(float(finding.counterfactual.after))
    assert not np.isfinite(float(finding.counterfactual.before))
    assert finding.evidence["passes"] == ["constant_folding"]
    assert finding.where is not None
    assert "1" in (finding.where.expression or "")


@pytest.mark.backend("tensorflow")
def test_the_eager_value_is_the_one_of_numpy(caught: Caught, x: np.ndarray) -> None:
    model, y = dense(), shares(x)
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    (finding,) = caught("LP301", model, x, y, {"loss": lost_epsilon}, batch_size=32, shuffle=False)
    predictions = np.logaddexp(0.0, x @ kernel + bias)
    expected = -np.mean(predictions * np.log(1 - y + np.float32(EPSILON)))
    assert finding.counterfactual.after == pytest.approx(expected, rel=1e-4)


@pytest.mark.backend("tensorflow")
def test_in_compute_loss(caught: Caught, x: np.ndarray) -> None:
    inputs = keras.Input((3,))
    model = Own(inputs, layers.Dense(3, activation="softplus")(inputs))
    (finding,) = caught("LP301", model, x, shares(x), {"loss": None})
    assert finding.where is not None
    assert finding.where.scope == "lost_epsilon"


@pytest.mark.backend("tensorflow")
def test_where_predictions_will_be_sure(caught: Caught, x: np.ndarray) -> None:
    def cross_entropy(y_true: Any, y_pred: Any) -> Any:
        return -ops.mean(y_true * ops.log(y_pred + 1e-8) + (1 - y_true) * ops.log((1 - y_pred) + 1e-8), axis=-1)

    (finding,) = caught("LP301", dense(3, "sigmoid"), x, (x > 0).astype("float32"), {"loss": cross_entropy})
    assert finding.severity == Severity.WARNING


@pytest.mark.backend("tensorflow")
def test_a_branch_on_an_open_shape(caught: Caught, x: np.ndarray) -> None:
    def scaled(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), axis=-1) / (y_pred.shape[0] or 1)

    (finding,) = caught("LP301", dense(), x[:30], shares(x[:30]), {"loss": scaled})
    ratio = float(finding.counterfactual.before) / float(finding.counterfactual.after)
    assert ratio == pytest.approx(16.0, rel=1e-4)
    assert not caught("LP301", dense(), x, shares(x), {"loss": scaled})  # 16 divides 32: the size is known


@pytest.mark.parametrize("loss", [kept_epsilon, maximum, "mse", "binary_crossentropy"])
def test_what_does_not_depend_on_the_mode(caught: Caught, x: np.ndarray, loss: Any) -> None:
    assert not caught("LP301", dense(3, "sigmoid"), x, shares(x), {"loss": loss})


def test_run_eagerly_is_what_is_compared_with(caught: Caught, x: np.ndarray) -> None:
    assert not caught("LP301", dense(), x, shares(x), {"loss": lost_epsilon, "run_eagerly": True})


def test_random_numbers_and_counts_are_not_compared(caught: Caught, x: np.ndarray) -> None:
    random = np.random.default_rng(0)
    calls: list[int] = []

    def noisy(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), axis=-1) * float(random.uniform(1.0, 2.0))

    def counted(y_true: Any, y_pred: Any) -> Any:
        calls.append(1)
        return ops.mean(ops.square(y_true - y_pred), axis=-1) * len(calls)

    def drawn(y_true: Any, y_pred: Any) -> Any:
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            y_pred = y_pred + tf.random.normal(tf.shape(y_pred))
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    for loss in (noisy, counted, drawn):
        assert not caught("LP301", dense(), x, shares(x), {"loss": loss})


def test_masks_and_ill_conditioned_values_agree(caught: Caught) -> None:
    words = np.random.default_rng(0).integers(0, 5, size=(30, 6))
    model = keras.Sequential([keras.Input((6,)), layers.Embedding(5, 4, mask_zero=True), layers.Dense(1)])

    def unstable(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square((1e4 + y_pred) - (1e4 + y_true)), axis=-1)

    assert not caught("LP301", model, words, words[..., None].astype("float32"), {"loss": unstable})
