"""LP302 on values that the step changes itself: they change while the step is traced, and never again."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossproof.capture.watch import Watch
from lossproof.findings.finding import Finding
from lossproof.pipeline import judge

X = np.random.default_rng(2).normal(size=(64, 3)).astype("float32")
Y = X[:, :1] * 2.0


class Ramp(keras.losses.Loss):
    """Mean squared error times the number of calls so far."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0.0

    def call(self, y_true: Any, y_pred: Any) -> Any:
        self.calls += 1.0
        return self.calls * ops.mean(ops.square(y_true - y_pred), axis=-1)


class Counted(keras.losses.Loss):
    """The same without the factor: nothing depends on the counter."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def call(self, y_true: Any, y_pred: Any) -> Any:
        self.calls += 1
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


class Growing(keras.Model):
    """A penalty that grows by each step, by a Python number or by a weight of the model."""

    def __init__(self, weight: bool, **model: Any) -> None:
        super().__init__(**model)
        self.steps = self.add_weight(shape=(), trainable=False, name="steps") if weight else 0.0
        self.weight = weight

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        if self.weight:
            self.steps.assign_add(1.0)
        else:
            self.steps = self.steps + 1.0
        return ops.mean(ops.square(y - y_pred)) + 0.1 * self.steps * ops.mean(ops.square(y_pred))


def trained(model: keras.Model, **fit: Any) -> list[Finding]:
    with Watch(shorten=True) as watch:
        model.fit(X, Y, batch_size=16, verbose=0, **fit)
    assert watch.defects == []
    report = judge(watch.run, select=["LP302"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def plain(loss: Any, **compile_arguments: Any) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile(optimizer="sgd", loss=loss, **compile_arguments)
    return model


def growing(weight: bool) -> keras.Model:
    inputs = keras.Input((3,))
    model = Growing(weight, inputs=inputs, outputs=layers.Dense(1)(inputs))
    model.compile(optimizer="sgd")
    return model


def test_a_counter_of_the_loss(backend: str) -> None:
    found = trained(plain(Ramp()))
    if backend == "torch":
        assert not found
        return
    (finding,) = found
    assert finding.where.expression == "self.calls"
    assert "Python code runs only while it is traced" in finding.explanation
    # Before and after are whole multiples of one mean squared error: JAX may run the code twice in one trace.
    before, after = finding.counterfactual.before, finding.counterfactual.after
    assert after > before > 0.0
    assert any(after / before == pytest.approx(a / b, rel=1e-4) for b in (1, 2, 3) for a in range(b + 1, 2 * b + 3))


def test_a_counter_of_compute_loss(backend: str) -> None:
    found = trained(growing(weight=False))
    assert [one.code for one in found] == ([] if backend == "torch" else ["LP302"])


def test_run_eagerly_it_is_live() -> None:
    assert not trained(plain(Ramp(), run_eagerly=True))


def test_a_counter_that_nothing_reads() -> None:
    assert not trained(plain(Counted()))


def test_a_weight_of_the_model_is_live() -> None:
    assert not trained(growing(weight=True))


def test_the_audit_leaves_the_counter_alone(backend: str) -> None:
    loss = Ramp()
    model = plain(loss)
    with Watch(shorten=True) as watch:
        model.fit(X, Y, batch_size=16, verbose=0)
    before = loss.calls
    judge(watch.run)
    assert loss.calls == before
