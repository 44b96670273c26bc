"""LP409: outputs that are losses, and what a dummy loss makes of them, against NumPy float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof

SIZE = 32
rng = np.random.default_rng(9)
X = rng.normal(size=(SIZE, 4)).astype("float32")
Y = rng.normal(size=(SIZE, 2)).astype("float32")
ZEROS = np.zeros((SIZE, 1), "float32")


class SquaredError(layers.Layer):
    """Shape (B, 1), or (B,)."""

    def __init__(self, keepdims: bool = True) -> None:
        super().__init__()
        self.keepdims = keepdims

    def call(self, y_pred: Any, y_true: Any) -> Any:
        return ops.sum(ops.square(y_pred - y_true), axis=-1, keepdims=self.keepdims)


def model(keepdims: bool = True) -> Any:
    inputs, labels = keras.Input((4,)), keras.Input((2,))
    return keras.Model([inputs, labels], SquaredError(keepdims)(layers.Dense(2)(inputs), labels))


def found(loss: Any, targets: Any = ZEROS, net: Any = None, x: Any = None, **kwargs: Any) -> list[Any]:
    net = net if net is not None else model()
    net.compile(optimizer="sgd", loss=loss)
    report = lossproof.check(net, [X, Y] if x is None else x, targets, select=["LP409"], **kwargs)
    assert not report.crashed, report.crashed
    return list(report.findings)


class Root(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.sqrt(ops.sum(y_pred))


GUILTY = {
    "root of the sum": (lambda t, p: ops.sqrt(ops.sum(p)), lambda p: np.sqrt(p.sum()), "bent"),
    "a class": (Root(), lambda p: np.sqrt(p.sum()), "bent"),
    "norm": (lambda t, p: ops.sqrt(ops.sum(ops.abs(p)) + 1e-9), lambda p: np.sqrt(p.sum()), "bent"),
    "square of the sum": (lambda t, p: ops.square(ops.sum(p)), lambda p: p.sum() ** 2, "bent"),
    "logarithm of the sum": (lambda t, p: ops.log(ops.sum(p)), lambda p: np.log(p.sum()), "bent"),
    "the first sample": (lambda t, p: p[0], lambda p: p[0], "partial"),
    "times the targets": (lambda t, p: t * p, lambda p: 0.0, "erased"),
}


@pytest.mark.parametrize("name", GUILTY)
@pytest.mark.parametrize("keepdims", [True, False])
def test_a_dummy_that_is_not_the_identity(name: str, keepdims: bool) -> None:
    loss, reference, kind = GUILTY[name]
    net = model(keepdims)
    (finding,) = found(loss, ZEROS if keepdims else ZEROS[:, 0], net)
    outputs = np.asarray(net.predict([X, Y], verbose=0), "float64").reshape(-1)
    assert finding.evidence["kind"] == kind
    assert finding.counterfactual.before == pytest.approx(float(reference(outputs)), rel=1e-4)
    assert finding.counterfactual.after == pytest.approx(outputs.mean(), rel=1e-5)


HEALTHY = {
    "identity": lambda t, p: p,
    "mean": lambda t, p: ops.mean(p),
    "mean of the last axis": lambda t, p: ops.mean(p, axis=-1),
    "identity with the targets": lambda t, p: p - 0.0 * t,
    "sum": lambda t, p: ops.sum(p),  # LP105 tells of what scales with the batch
    "absolute": "mae",
    "squared": "mse",
    "root of each": lambda t, p: ops.sqrt(p + 1e-7),
    "logarithm of each": lambda t, p: ops.log1p(p),
    "worst": lambda t, p: ops.max(p),
    "soft worst": lambda t, p: ops.logsumexp(p),
    "a rate": lambda t, p: ops.square(ops.mean(p) - 0.2),
    "root of the mean": lambda t, p: ops.sqrt(ops.mean(p)),
    "spread": lambda t, p: ops.std(p),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_hands_it_on_or_may_be_meant(name: str) -> None:
    assert not found(HEALTHY[name])


def test_a_loss_that_needs_its_targets() -> None:
    net = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="softplus")])
    assert not found(lambda t, p: ops.sqrt(ops.sum(ops.square(t - p))), Y[:, :1], net, X)
