"""LP414: penalties that keep the variable are told from those that keep its value, against distances in NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding, Severity

STRENGTH = 0.3
_random = np.random.default_rng(4)
X = _random.normal(size=(32, 4)).astype("float32")
Y = X[:, :1]
OLD = _random.normal(size=(4, 1)).astype("float32")


class KeepsVariable(keras.regularizers.Regularizer):
    def __init__(self, strength: float = STRENGTH) -> None:
        self.strength = strength
        self.original: Any = None

    def __call__(self, weight: Any) -> Any:
        if self.original is None:
            self.original = weight
        return self.strength * ops.sum(ops.square(weight - self.original))


class KeepsValue(KeepsVariable):
    def __init__(self, strength: float = STRENGTH) -> None:
        super().__init__(strength)
        self.original = OLD


class Symmetric(keras.regularizers.Regularizer):
    """Reads its layer's weight and not what it is given, which comes to the same."""

    layer: Any = None

    def __call__(self, weight: Any) -> Any:
        return 0.0 if self.layer is None else ops.sum(ops.square(self.layer.kernel))


def findings(regularizer: Any, trained: bool = False) -> list[Finding]:
    keras.utils.set_random_seed(0)
    dense = layers.Dense(1, kernel_regularizer=regularizer)
    model = keras.Sequential([keras.Input((4,)), dense])
    if isinstance(regularizer, Symmetric):
        regularizer.layer = dense
    model.compile(optimizer="sgd", loss="mse")
    if trained:
        model.fit(X, Y, verbose=0)
    report = lossproof.check(model, X, Y, select=["LP414"])
    assert not report.crashed, report.crashed
    return list(report.findings)


@pytest.mark.parametrize("trained", [False, True])
def test_a_penalty_that_keeps_the_variable_is_found(trained: bool) -> None:
    (found,) = findings(KeepsVariable(), trained)
    assert found.severity is Severity.ERROR
    assert found.counterfactual.before == 0.0
    length = found.evidence["step"]
    assert isinstance(length, float)
    assert found.counterfactual.after == pytest.approx(STRENGTH * length**2, rel=1e-5)
    assert found.where is not None
    assert found.where.expression == "__call__"


@pytest.mark.parametrize(
    "regularizer",
    [KeepsValue(), KeepsVariable(0.0), KeepsValue(0.0), keras.regularizers.L1L2(0.1, 0.1), Symmetric(), "l2"],
    ids=["keeps the value", "off", "value, off", "built in", "its own layer", "by name"],
)
def test_penalties_that_follow_their_weight_or_are_off_are_left_alone(regularizer: Any) -> None:
    assert findings(regularizer, trained=True) == []


def test_without_a_regularizer_there_is_nothing_to_test() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    assert "LP414" in lossproof.check(model, X, Y, select=["LP414"]).skipped
