"""LP302: values that a compiled step keeps, wherever the loss reads them, against the loss in NumPy."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossproof.capture.watch import Watch
from lossproof.findings.finding import Finding, Severity
from lossproof.pipeline import judge

from .strengths import PLACES, Assign, cell, penalised

ROWS = 32
"""One batch, so that NumPy sees what the rule sees."""
_random = np.random.default_rng(9)
X = _random.normal(size=(ROWS, 4)).astype("float32")
Y = (X @ _random.normal(size=(4, 1))).astype("float32")

Frozen = pytest.mark.backend("tensorflow", "jax")
"""PyTorch runs the Python code at each step."""


class Annealing(keras.callbacks.Callback):
    """Assigns 0, 0.5, 1.0, ... as the epochs begin."""

    def __init__(self, assign: Assign) -> None:
        super().__init__()
        self.assign = assign

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.assign(0.5 * epoch)


def model_of(model: type[keras.Model] = keras.Model) -> keras.Model:
    inputs = keras.Input((4,))
    return model(inputs, layers.Dense(1)(inputs))


def trained(model: keras.Model, *callbacks: keras.callbacks.Callback, **arguments: Any) -> list[Finding]:
    """What the rule says of a short training."""
    with Watch(shorten=True) as watch:
        model.compile(optimizer=keras.optimizers.SGD(0.01), **arguments)
        model.fit(X, Y, batch_size=ROWS, epochs=3, verbose=0, callbacks=list(callbacks))
    return said(watch)


def said(watch: Watch) -> list[Finding]:
    report = judge(watch.run, select=["LP302"])
    assert not report.crashed, report.crashed
    assert not watch.defects, watch.defects
    return list(report.findings)


def in_numpy(weights: list[np.ndarray], strength: float) -> float:
    kernel, bias = (weight.astype("float64") for weight in weights)
    p = X @ kernel + bias
    return float(np.mean((Y - p) ** 2 + strength * p**2))


# Guilty -------------------------------------------------------------------------------------------------------------


@Frozen
@pytest.mark.parametrize("name", PLACES)
def test_a_python_number_is_frozen_wherever_it_stands(name: str) -> None:
    loss, assign = PLACES[name]()
    model = model_of()
    start = model.get_weights()
    (found,) = trained(model, Annealing(assign), loss=loss)
    assert (found.code, found.severity) == ("LP302", Severity.ERROR)
    new = found.evidence["changed_to"]
    assert found.evidence["traced"] == 0.0
    assert isinstance(new, float)
    assert new > 0.0
    assert found.counterfactual.before == pytest.approx(in_numpy(start, 0.0), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(in_numpy(start, new), rel=1e-5)


@pytest.mark.backend("torch")
@pytest.mark.parametrize("name", PLACES)
def test_pytorch_follows(name: str) -> None:
    loss, assign = PLACES[name]()
    assert trained(model_of(), Annealing(assign), loss=loss) == []


class Weighing(keras.Model):
    """Reads a Python number of its own."""

    strength = 0.0

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        return ops.mean(penalised(y, y_pred, self.strength))


def decayed(regularizer: Any) -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(1, kernel_regularizer=regularizer)(inputs))


@Frozen
def test_the_strength_of_a_regularizer() -> None:
    regularizer = keras.regularizers.L2(0.0)
    model = decayed(regularizer)
    start = model.get_weights()
    (found,) = trained(model, Annealing(functools.partial(setattr, regularizer, "l2")), loss="mse")
    new = found.evidence["changed_to"]
    assert isinstance(new, float)
    penalty = new * float(np.sum(start[0].astype("float64") ** 2))
    assert found.counterfactual.before == pytest.approx(in_numpy(start, 0.0), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(in_numpy(start, 0.0) + penalty, rel=1e-5)


@pytest.mark.backend("torch")
def test_pytorch_follows_the_strength_of_a_regularizer() -> None:
    regularizer = keras.regularizers.L2(0.0)
    assign = functools.partial(setattr, regularizer, "l2")
    assert trained(decayed(regularizer), Annealing(assign), loss="mse") == []


@Frozen
def test_an_attribute_of_the_model() -> None:
    model = model_of(Weighing)
    model.strength = 0.0
    start = model.get_weights()
    (found,) = trained(model, Annealing(functools.partial(setattr, model, "strength")))
    assert found.counterfactual.before == pytest.approx(in_numpy(start, 0.0), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(in_numpy(start, float(found.evidence["changed_to"])), rel=1e-5)  # type: ignore[arg-type]
    assert found.where is not None
    assert found.where.expression == "self.strength"


def test_an_entry_of_loss_weights_is_copied_on_every_backend() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, {name: layers.Dense(1, name=name)(inputs) for name in ("a", "b")})
    weights = {"a": 1.0, "b": 0.0}
    p = {name: np.asarray(value, "float64") for name, value in model.predict(X, verbose=0).items()}
    error = {name: np.mean((value - Y) ** 2) for name, value in p.items()}
    with Watch(shorten=True) as watch:
        model.compile(optimizer="sgd", loss={"a": "mse", "b": "mse"}, loss_weights=weights)
        model.fit(
            X,
            {"a": Y, "b": Y},
            batch_size=ROWS,
            epochs=3,
            verbose=0,
            callbacks=[Annealing(functools.partial(weights.__setitem__, "b"))],
        )
    (found,) = said(watch)
    new = found.evidence["changed_to"]
    assert isinstance(new, float)
    assert found.counterfactual.before == pytest.approx(error["a"], rel=1e-5)
    assert found.counterfactual.after == pytest.approx(error["a"] + new * error["b"], rel=1e-5)


def variable() -> tuple[Any, Assign]:
    strength = keras.Variable(0.0, trainable=False)
    return lambda y_true, y_pred: penalised(y_true, y_pred, strength), strength.assign


@pytest.mark.backend("jax")
def test_a_variable_that_the_model_does_not_track() -> None:
    loss, assign = variable()
    model = model_of()
    start = model.get_weights()
    (found,) = trained(model, Annealing(assign), loss=loss)
    assert found.counterfactual.before == pytest.approx(in_numpy(start, 0.0), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(in_numpy(start, float(found.evidence["changed_to"])), rel=1e-5)  # type: ignore[arg-type]


class Reading(keras.Model):
    """Reads a weight of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.strength = self.add_weight(shape=(), initializer="zeros", trainable=False, name="strength")

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        return ops.mean(penalised(y, y_pred, self.strength))


@pytest.mark.backend("jax")
def test_what_is_assigned_within_an_epoch_is_overwritten() -> None:
    model = model_of(Reading)

    class WithinAnEpoch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch:
                model.strength.assign(0.7)

    with Watch(shorten=True) as watch:
        model.compile(optimizer=keras.optimizers.SGD(0.01))
        model.fit(X, Y, batch_size=ROWS // 4, epochs=2, verbose=0, callbacks=[WithinAnEpoch()])
    assert float(ops.convert_to_numpy(model.strength)) == 0.0
    (found,) = said(watch)
    assert found.evidence["assigned"] == pytest.approx(0.7)
    before, after = found.counterfactual.before, found.counterfactual.after
    assert isinstance(before, float)
    assert isinstance(after, float)
    assert after > before  # by a penalty


# Innocent -----------------------------------------------------------------------------------------------------------


@pytest.mark.backend("tensorflow", "torch")
def test_elsewhere_a_variable_is_followed() -> None:
    loss, assign = variable()
    assert trained(model_of(), Annealing(assign), loss=loss) == []


def test_a_weight_of_the_model_is_followed() -> None:
    model = model_of(Reading)
    assert trained(model, Annealing(model.strength.assign)) == []


def test_an_assignment_through_the_callbacks_own_model_arrives() -> None:
    """`self.model` of a callback is a property: on JAX it brings the state back first, and the next step takes it up."""

    class WithinAnEpoch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch:
                self.model.strength.assign(0.7)

    model = model_of(Reading)
    with Watch(shorten=True) as watch:
        model.compile(optimizer=keras.optimizers.SGD(0.01))
        model.fit(X, Y, batch_size=ROWS // 4, epochs=2, verbose=0, callbacks=[WithinAnEpoch()])
    assert float(ops.convert_to_numpy(model.strength)) == pytest.approx(0.7)
    assert said(watch) == []


class Shrinking(layers.Layer):
    """Its strength is a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = self.add_weight(shape=(), initializer="zeros", trainable=False, name="strength")

    def call(self, inputs: Any) -> Any:
        self.add_loss(self.strength * ops.mean(ops.square(inputs)))
        return inputs


def test_a_weight_of_a_layer_is_followed() -> None:
    shrinking = Shrinking()
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1), shrinking])
    assert trained(model, Annealing(shrinking.strength.assign), loss="mse") == []


@pytest.mark.parametrize("name", ["attribute_of_a_loss", "cell", "item"])
def test_a_step_that_is_not_compiled_follows(name: str) -> None:
    loss, assign = PLACES[name]()
    assert trained(model_of(), Annealing(assign), loss=loss, run_eagerly=True) == []


def test_what_the_loss_does_not_use_may_change() -> None:
    class Counting(keras.losses.Loss):
        def __init__(self) -> None:
            super().__init__()
            self.calls, self.epoch = 0, 0.0

        def call(self, y_true: Any, y_pred: Any) -> Any:
            self.calls += 1
            return penalised(y_true, y_pred, 0.0 * self.epoch)

    loss = Counting()
    assert trained(model_of(), Annealing(functools.partial(setattr, loss, "epoch")), loss=loss) == []


def test_a_learning_rate_is_followed() -> None:
    model = model_of()

    def assign(value: float) -> None:
        model.optimizer.learning_rate = 0.1 / (1.0 + value)

    assert trained(model, Annealing(assign), loss="mse") == []


def test_compiled_anew_for_each_value() -> None:
    loss, assign = cell()
    model = model_of()
    with Watch(shorten=True) as watch:
        for strength in (0.0, 0.5, 1.0):
            assign(strength)
            model.compile(optimizer="sgd", loss=loss)
            model.fit(X, Y, batch_size=ROWS, verbose=0)
    assert said(watch) == []


def test_a_value_that_stays_as_it_is() -> None:
    loss, assign = cell()
    assert trained(model_of(), Annealing(lambda _: assign(0.0)), loss=loss) == []
