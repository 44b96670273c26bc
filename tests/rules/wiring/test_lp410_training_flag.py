"""LP410: what a layer's mode changes, against Dropout and BatchNormalization by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lossproof.findings.finding import Severity

from .conftest import ROWS, Caught

BACKEND = os.environ["KERAS_BACKEND"]


def told(caught: Caught, model: Any, x: np.ndarray, y: np.ndarray) -> Any:
    return caught("LP410", model, x, y, batch_size=ROWS)


def built(model: Any, x: np.ndarray) -> Any:
    model(x[:2])
    return model


# Guilty -------------------------------------------------------------------------------------------------------------


class DeafDropout(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.drop = layers.Dropout(0.5)
        self.out = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        return self.out(self.drop(inputs))


class DeafNorm(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.norm = layers.BatchNormalization()
        self.out = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        return self.out(self.norm(inputs))


class ToldNot(keras.Model):
    """Takes the flag, and hands it on on TensorFlow and PyTorch only, where Keras does it."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = layers.Dropout(0.5)
        self.out = layers.Dense(1)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.out(self.drop(inputs))


def change_by_norm(x: np.ndarray) -> float:
    """Statistics of the batch instead of the moving ones, which are 0 and 1 at the start."""
    x = x.astype("float64")
    normed = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3)
    return float(np.max(np.abs(normed - x / np.sqrt(1.0 + 1e-3))))


def change_by_dropout(x: np.ndarray) -> float:
    """At a rate of a half a number is dropped or doubled: it moves by itself either way."""
    return float(np.max(np.abs(x)))


def step_of(training: Any) -> type[keras.Model]:
    """A model class whose own step calls the model with this flag; `...` for none."""
    flag = {} if training is ... else {"training": training}
    if BACKEND == "tensorflow":
        import tensorflow as tf

        class TensorFlowStep(keras.Model):
            def train_step(self, data: Any) -> Any:
                x, y = data
                with tf.GradientTape() as tape:
                    loss = self.compute_loss(x, y, self(x, **flag))
                weights = self.trainable_variables
                self.optimizer.apply(tape.gradient(loss, weights), weights)
                return {"objective": loss}

        return TensorFlowStep
    if BACKEND == "torch":
        import torch

        class TorchStep(keras.Model):
            def train_step(self, data: Any) -> Any:
                x, y = data
                self.zero_grad()
                loss = self.compute_loss(x, y, self(x, **flag))
                loss.backward()
                weights = self.trainable_variables
                with torch.no_grad():
                    self.optimizer.apply([v.value.grad for v in weights], weights)
                return {"objective": loss.detach()}

        return TorchStep
    import jax

    class JaxStep(keras.Model):
        def train_step(self, state: Any, data: Any) -> Any:
            trainable, others, of_optimizer, of_metrics = state
            x, y = data

            def loss_of(trainable: Any, others: Any) -> Any:
                y_pred, others = self.stateless_call(trainable, others, x, **flag)
                return self.compute_loss(x, y, y_pred), others

            (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, others)
            trainable, of_optimizer = self.optimizer.stateless_apply(of_optimizer, gradients, trainable)
            return {"objective": loss}, (trainable, others, of_optimizer, of_metrics)

    return JaxStep


def with_layer(kind: type[keras.Model], layer: keras.layers.Layer) -> Any:
    inputs = keras.Input((3,))
    return kind(inputs, layers.Dense(1)(layer(inputs)))


CHANGES: dict[str, tuple[Callable[[], keras.layers.Layer], Callable[[np.ndarray], float]]] = {
    "dropout": (lambda: layers.Dropout(0.5), change_by_dropout),
    "norm": (layers.BatchNormalization, change_by_norm),
}


@pytest.mark.parametrize(("kind", "change"), [(DeafDropout, change_by_dropout), (DeafNorm, change_by_norm)])
def test_a_call_without_the_flag(
    caught: Caught, x: np.ndarray, age: np.ndarray, kind: type[keras.Model], change: Callable[[np.ndarray], float]
) -> None:
    (found,) = told(caught, built(kind(), x), x, age)
    assert (found.code, found.severity) == ("LP410", Severity.ERROR)
    assert found.counterfactual.before == 0.0
    assert found.counterfactual.after == pytest.approx(change(x), rel=1e-5)
    assert found.where.source.strip() == "def call(self, inputs: Any) -> Any:"


@pytest.mark.parametrize("layer", CHANGES)
@pytest.mark.parametrize("training", [..., False, None])
def test_a_step_in_inference_mode(
    caught: Caught, x: np.ndarray, age: np.ndarray, layer: str, training: bool | None
) -> None:
    make, change = CHANGES[layer]
    (found,) = told(caught, with_layer(step_of(training), make()), x, age)
    assert (found.code, found.severity) == ("LP410", Severity.ERROR)
    assert found.counterfactual.before == 0.0
    assert found.counterfactual.after == pytest.approx(change(x), rel=1e-5)
    assert found.fix.code == "y_pred = self(x, training=True)"


@pytest.mark.backend("jax")
def test_a_flag_that_is_not_handed_on(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    (found,) = told(caught, built(ToldNot(), x), x, age)
    assert found.counterfactual.after == pytest.approx(change_by_dropout(x), rel=1e-5)


# Innocent -----------------------------------------------------------------------------------------------------------


@pytest.mark.backend("tensorflow", "torch")
def test_a_flag_that_keras_hands_on(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    assert not told(caught, built(ToldNot(), x), x, age)


@pytest.mark.parametrize("layer", CHANGES)
@pytest.mark.parametrize("own", [True, False], ids=["own step", "Keras's step"])
def test_a_step_in_training_mode(caught: Caught, x: np.ndarray, age: np.ndarray, layer: str, own: bool) -> None:
    kind = step_of(True) if own else keras.Model
    assert not told(caught, with_layer(kind, CHANGES[layer][0]()), x, age)


class HandsOn(DeafDropout):
    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.out(self.drop(inputs, training=training))


class FrozenBase(keras.Model):
    """Fine-tuning: the base works by its old statistics on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.base = keras.Sequential([layers.Dense(4), layers.BatchNormalization(), layers.Dropout(0.5)])
        self.drop = layers.Dropout(0.2)
        self.out = layers.Dense(1)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.out(self.drop(self.base(inputs, training=False), training=training))


class AlwaysDropping(DeafDropout):
    """Monte Carlo dropout."""

    def call(self, inputs: Any) -> Any:
        return self.out(self.drop(inputs, training=True))


class NothingToDrop(DeafDropout):
    """A rate of zero: its mode changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = layers.Dropout(0.0)


class Distilled(HandsOn):
    """A teacher that is asked, not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = keras.Sequential([layers.Dense(3), layers.BatchNormalization()])
        self.teacher.trainable = False

    def call(self, inputs: Any, training: Any = None) -> Any:
        return super().call(inputs + 0.1 * self.teacher(inputs, training=False), training=training)


class FrozenNorm(keras.Model):
    """A frozen BatchNormalization keeps its statistics whatever it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = layers.BatchNormalization(trainable=False)
        self.out = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        return self.out(self.norm(inputs))


INNOCENT = [HandsOn, FrozenBase, AlwaysDropping, NothingToDrop, Distilled, FrozenNorm]


@pytest.mark.parametrize("kind", INNOCENT)
def test_modes_on_purpose(caught: Caught, x: np.ndarray, age: np.ndarray, kind: type[keras.Model]) -> None:
    assert not told(caught, built(kind(), x), x, age)


def test_a_generator_through_a_frozen_discriminator(caught: Caught, x: np.ndarray) -> None:
    generator = keras.Sequential([keras.Input((3,)), layers.Dense(3), layers.BatchNormalization()])
    discriminator = keras.Sequential(
        [keras.Input((3,)), layers.Dropout(0.3), layers.BatchNormalization(), layers.Dense(1, activation="sigmoid")]
    )
    discriminator.trainable = False
    inputs = keras.Input((3,))
    combined = keras.Model(inputs, discriminator(generator(inputs)))
    assert not told(caught, combined, x, np.ones((ROWS, 1), "float32"))
