"""Small models and data for the tests of the gradient rules."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

ROWS = 96
BACKEND = os.environ["KERAS_BACKEND"]

_random = np.random.default_rng(3)
X = _random.normal(size=(ROWS, 4)).astype("float32")
REAL = _random.normal(size=(ROWS, 3)).astype("float32")
BINARY = (REAL > 0).astype("float32")
ONE_HOT = np.eye(3, dtype="float32")[_random.integers(0, 3, ROWS)]
CLASSES = ONE_HOT.argmax(axis=1).astype("int32")
COUNTS = _random.poisson(1.0, size=(ROWS, 3)).astype("float32")
GAP = 62
"""The row of `GAPPED` that holds zeros only."""
GAPPED = np.where(_random.random(REAL.shape) < 0.1, 0.0, REAL).astype("float32")
GAPPED[GAPPED[:, 0] == 0.0, 0] = 0.5
GAPPED[GAP] = 0.0


def network(outputs: int = 3, activation: str | None = None, model: type[keras.Model] = keras.Model) -> keras.Model:
    """Two dense layers on 4 inputs."""
    inputs = keras.Input((4,))
    hidden = layers.Dense(8, activation="tanh")(inputs)
    return model(inputs, layers.Dense(outputs, activation=activation)(hidden))


def two_heads() -> keras.Model:
    """Two outputs of three numbers, `a` and `b`."""
    inputs = keras.Input((4,))
    hidden = layers.Dense(8, activation="tanh")(inputs)
    return keras.Model(inputs, {"a": layers.Dense(3, name="a")(hidden), "b": layers.Dense(3, name="b")(hidden)})


def compiled(model: keras.Model, loss: Any = None, **arguments: Any) -> keras.Model:
    """The model, compiled with plain gradient descent."""
    model.compile(optimizer="sgd", loss=loss, **arguments)
    return model


def computing(objective: Callable[[keras.Model, Any, Any], Any]) -> type[keras.Model]:
    """A model class whose `compute_loss` returns `objective(model, y, y_pred)`."""

    class Computing(keras.Model):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            return objective(self, y, y_pred)

    return Computing


def stepping(objective: Callable[[Any, Any], Any]) -> type[keras.Model]:
    """A model class with a `train_step` of its own, which minimises `objective(y, y_pred)`."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        class TensorFlowStep(keras.Model):
            def train_step(self, data: Any) -> dict[str, Any]:
                x, y = data
                with tf.GradientTape() as tape:
                    loss = objective(y, self(x, training=True))
                weights = self.trainable_variables
                self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
                return {"loss": loss}

        return TensorFlowStep
    if BACKEND == "torch":
        import torch

        class TorchStep(keras.Model):
            def train_step(self, data: Any) -> dict[str, Any]:
                x, y = data
                self.zero_grad()
                loss = objective(y, self(x, training=True))
                loss.backward()
                weights = self.trainable_weights
                with torch.no_grad():
                    self.optimizer.apply([v.value.grad for v in weights], weights)
                return {"loss": loss}

        return TorchStep
    import jax

    class JaxStep(keras.Model):
        def train_step(self, state: Any, data: Any) -> Any:
            trainable, others, of_optimizer, of_metrics = state
            x, y = data

            def loss_of(trainable: Any, others: Any) -> Any:
                y_pred, others = self.stateless_call(trainable, others, x, training=True)
                return objective(y, y_pred), others

            (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, others)
            trainable, of_optimizer = self.optimizer.stateless_apply(of_optimizer, gradients, trainable)
            return {"loss": loss}, (trainable, others, of_optimizer, of_metrics)

    return JaxStep


def masked_error(y_true: Any, y_pred: Any) -> Any:
    """0/0 where a row has no valid entry."""
    valid = ops.cast(y_true != 0.0, "float32")
    return ops.sum(valid * ops.square(y_true - y_pred), axis=-1) / ops.sum(valid, axis=-1)


def guarded_error(y_true: Any, y_pred: Any) -> Any:
    """The same with a guarded divisor."""
    valid = ops.cast(y_true != 0.0, "float32")
    return ops.sum(valid * ops.square(y_true - y_pred), axis=-1) / ops.maximum(ops.sum(valid, axis=-1), 1.0)
