"""`lossproof.check` sees what a `fit` on the same data would meet in its first step, and leaves everything as it was."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof

_random = np.random.default_rng(4)
X = _random.normal(size=(24, 3)).astype("float32")
Y = _random.normal(size=(24, 2)).astype("float32")
IDS = _random.integers(0, 2, size=24)


def compiled(loss: Any, activation: str | None = None) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation=activation)])
    model.compile(optimizer="sgd", loss=loss)
    return model


def test_an_objective_that_raises_is_told_and_is_no_pass() -> None:
    def broken(y_true: Any, y_pred: Any) -> Any:
        raise KeyError("no such column")

    report = lossproof.check(compiled(broken), X, Y)
    assert not report.crashed, report.crashed
    assert report.script_error is not None
    assert "no such column" in report.script_error.traceback
    with pytest.raises(AssertionError, match="no such column"):
        report.raise_for_findings()


def test_a_rule_explains_what_the_first_step_raises() -> None:
    report = lossproof.check(compiled("categorical_crossentropy", "softmax"), X, IDS)
    assert [finding.code for finding in report.loud] == ["LP407"]
    assert report.script_error is not None
    assert report.script_error.explained_by == "LP407"


def test_a_healthy_objective_raises_nothing() -> None:
    report = lossproof.check(compiled("mse"), X, Y)
    assert report.script_error is None
    report.raise_for_findings()


@pytest.mark.backend("tensorflow", "jax")
def test_what_cannot_be_traced_is_found_without_a_fit() -> None:
    def branching(y_true: Any, y_pred: Any) -> Any:
        error = ops.mean(ops.square(y_true - y_pred), axis=-1)
        return error if float(ops.mean(y_pred)) < 1e6 else 2.0 * error

    report = lossproof.check(compiled(branching), X, Y)
    assert [finding.code for finding in report.loud] == ["LP306"]


class Counting(keras.losses.Loss):
    """Grows with each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0.0

    def call(self, y_true: Any, y_pred: Any) -> Any:
        self.calls += 1.0
        return self.calls * ops.mean(ops.square(y_true - y_pred), axis=-1)


@pytest.mark.backend("tensorflow", "jax")
def test_a_counter_that_the_trace_freezes_is_found_without_a_fit() -> None:
    report = lossproof.check(compiled(Counting()), X, Y, select=["LP302"])
    assert [finding.code for finding in report.loud] == ["LP302"]


def test_neither_weights_nor_counters_are_changed() -> None:
    loss = Counting()
    model = compiled(loss)
    before = [np.array(keras.ops.convert_to_numpy(one.value)) for one in model.variables]
    lossproof.check(model, X, Y)
    after = [np.array(keras.ops.convert_to_numpy(one.value)) for one in model.variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert loss.calls == 0.0
    assert model.optimizer.iterations == 0
    assert not model.optimizer.built
