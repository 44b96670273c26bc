"""LP404: penalties that a `compute_loss` or `train_step` forgets or counts twice, against the same penalties in NumPy."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops, regularizers

import lossproof
from lossproof.findings.finding import Finding, Severity

BACKEND = os.environ["KERAS_BACKEND"]
ROWS, L2 = 32, 0.1

_random = np.random.default_rng(11)
X = _random.normal(size=(ROWS, 4)).astype("float32")
Y = _random.normal(size=(ROWS, 2)).astype("float32")

Objective = Callable[[keras.Model, Any, Any], Any]


def error(y: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y - y_pred))


# Models whose objective is written by the user ----------------------------------------------------------------------


def computing(objective: Objective) -> type[keras.Model]:
    class Computing(keras.Model):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            return objective(self, y, y_pred)

    return Computing


def building_on(factor: float) -> type[keras.Model]:
    """Calls `super().compute_loss`, which has added the penalties once, and adds them `factor` times again."""

    class Building(keras.Model):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            return loss + factor * sum(self.losses) if factor else loss

    return Building


def stepping(times: float) -> type[keras.Model]:
    """A `train_step` that adds the penalties `times` times to the error."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        class TensorFlowStep(keras.Model):
            def train_step(self, data: Any) -> dict[str, Any]:
                x, y = data
                with tf.GradientTape() as tape:
                    loss = error(y, self(x, training=True))
                    loss = loss + times * sum(self.losses) if times else loss
                self.optimizer.apply_gradients(
                    zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables, strict=True)
                )
                return {"loss": loss}

        return TensorFlowStep
    if BACKEND == "torch":
        import torch

        class TorchStep(keras.Model):
            def train_step(self, data: Any) -> dict[str, Any]:
                x, y = data
                self.zero_grad()
                loss = error(y, self(x, training=True))
                loss = loss + times * sum(self.losses) if times else loss
                loss.backward()
                with torch.no_grad():
                    self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
                return {"loss": loss}

        return TorchStep
    import jax

    class JaxStep(keras.Model):
        def train_step(self, state: Any, data: Any) -> Any:
            trainable, others, of_optimizer, of_metrics = state
            x, y = data

            def loss_of(trainable: Any, others: Any) -> Any:
                y_pred, others, losses = self.stateless_call(trainable, others, x, training=True, return_losses=True)
                loss = error(y, y_pred)
                return loss + times * sum(losses) if times else loss, others

            (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, others)
            trainable, of_optimizer = self.optimizer.stateless_apply(of_optimizer, gradients, trainable)
            return {"loss": loss}, (trainable, others, of_optimizer, of_metrics)

    return JaxStep


class Pressing(layers.Layer):
    """Adds a penalty of its own: a tenth of the mean square of what passes."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(0.1 * ops.mean(ops.square(inputs)))
        return inputs


def weight_decay(model: type[keras.Model], strength: float = L2) -> keras.Model:
    inputs = keras.Input((4,))
    return model(inputs, layers.Dense(2, kernel_regularizer=regularizers.L2(strength))(inputs))


def with_add_loss(model: type[keras.Model]) -> keras.Model:
    inputs = keras.Input((4,))
    return model(inputs, Pressing()(layers.Dense(2)(inputs)))


def with_both(model: type[keras.Model]) -> keras.Model:
    inputs = keras.Input((4,))
    hidden = Pressing()(layers.Dense(3, kernel_regularizer=regularizers.L2(L2))(inputs))
    return model(inputs, layers.Dense(2)(hidden))


def nested(model: type[keras.Model]) -> keras.Model:
    """The penalty is of a model within the model."""
    inputs = keras.Input((4,))
    part = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_regularizer=regularizers.L2(L2))])
    return model(inputs, layers.Dense(2)(part(inputs)))


MODELS = {"weight decay": weight_decay, "add_loss": with_add_loss, "both": with_both, "nested": nested}


def in_order(model: keras.Model) -> list[layers.Layer]:
    return [one for layer in model.layers for one in (in_order(layer) if isinstance(layer, keras.Model) else [layer])]


def penalty(model: keras.Model) -> float:
    """What the penalties of the model come to on the batch, in float64."""
    total = 0.0
    value = X.astype("float64")
    for layer in in_order(model):
        if isinstance(layer, layers.Dense):
            kernel, bias = (np.asarray(weight, "float64") for weight in layer.get_weights())
            value = value @ kernel + bias
            total += L2 * np.sum(kernel**2) if layer.kernel_regularizer else 0.0
        elif isinstance(layer, Pressing):
            total += 0.1 * np.mean(value**2)
    return total


def mean_square(model: keras.Model) -> float:
    return float(np.mean((np.asarray(model.predict(X, verbose=0), "float64") - Y) ** 2))


def findings(model: keras.Model, **arguments: Any) -> list[Finding]:
    model.compile(optimizer="sgd", **arguments)
    report = lossproof.check(model, X, Y, select=["LP404"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def wrong(model: keras.Model, counted: int, **arguments: Any) -> Finding:
    """The finding, whose numbers are those of NumPy."""
    (found,) = findings(model, **arguments)
    assert (found.code, found.severity) == ("LP404", Severity.ERROR)
    assert found.evidence["counted"] == counted
    assert sum(found.evidence["self.losses"]) == pytest.approx(penalty(model), rel=1e-5)  # type: ignore[call-overload]
    once = mean_square(model) + penalty(model)
    assert found.counterfactual.before == pytest.approx(once + (counted - 1) * penalty(model), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(once, rel=1e-5)
    return found


# Guilty -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
def test_a_compute_loss_that_forgets_them(kind: str) -> None:
    found = wrong(MODELS[kind](computing(lambda model, y, y_pred: error(y, y_pred))), counted=0)
    assert found.where is not None
    assert (found.where.scope or "").endswith("compute_loss")


@pytest.mark.parametrize("kind", MODELS)
def test_a_train_step_that_forgets_them(kind: str) -> None:
    found = wrong(MODELS[kind](stepping(0.0)), counted=0)
    assert found.where is not None
    assert (found.where.scope or "").endswith("train_step")


@pytest.mark.parametrize("kind", MODELS)
def test_a_compute_loss_that_adds_them_to_what_has_them(kind: str) -> None:
    wrong(MODELS[kind](building_on(1.0)), counted=2, loss="mse")


def test_a_train_step_that_adds_them_twice() -> None:
    wrong(weight_decay(stepping(2.0)), counted=2)


def test_a_compute_loss_that_calls_a_loss_of_keras_alone() -> None:
    class Calling(keras.Model):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            return keras.losses.MeanSquaredError()(y, y_pred)

    wrong(weight_decay(Calling), counted=0)


def test_doubling_the_penalties_shows_it() -> None:
    model = weight_decay(building_on(1.0))
    (row,) = wrong(model, counted=2, loss="mse").counterfactual.rows
    assert row.before == pytest.approx(mean_square(model) + 4.0 * penalty(model), rel=1e-5)
    assert row.after == pytest.approx(mean_square(model) + 2.0 * penalty(model), rel=1e-5)


# Innocent -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
def test_penalties_that_are_added_once(kind: str) -> None:
    adding = computing(lambda model, y, y_pred: error(y, y_pred) + sum(model.losses))
    assert findings(MODELS[kind](adding)) == []
    assert findings(MODELS[kind](building_on(0.0)), loss="mse") == []
    assert findings(MODELS[kind](stepping(1.0))) == []


def test_penalties_of_another_strength_on_purpose() -> None:
    assert findings(weight_decay(computing(lambda model, y, y_pred: error(y, y_pred) + 0.3 * sum(model.losses)))) == []
    assert findings(weight_decay(stepping(0.3))) == []


def test_the_objective_of_keras() -> None:
    assert findings(weight_decay(keras.Model), loss="mse") == []


def test_no_penalty_no_finding() -> None:
    forgetting = computing(lambda model, y, y_pred: error(y, y_pred))
    inputs = keras.Input((4,))
    assert findings(forgetting(inputs, layers.Dense(2)(inputs))) == []
    assert findings(weight_decay(forgetting, strength=0.0)) == []


def test_a_penalty_within_rounding_of_the_loss_is_not_judged() -> None:
    large = computing(lambda model, y, y_pred: 1e9 * error(y, y_pred))
    assert findings(weight_decay(large)) == []
