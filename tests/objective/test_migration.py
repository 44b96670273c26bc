"""docs/migration.md: what the tricks of Keras 2 do in Keras 3, on this backend."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

X = np.random.default_rng(0).random((16, 3)).astype("float32")
Y = np.random.default_rng(1).random((16, 1)).astype("float32")


def model_and_layer() -> tuple[keras.Model, keras.layers.Layer]:
    inputs = keras.Input((3,))
    code = layers.Dense(4, name="code")
    return keras.Model(inputs, layers.Dense(1)(code(inputs))), code


def test_add_loss_on_tensors_raises_without_a_word() -> None:
    model, code = model_and_layer()
    with pytest.raises(NotImplementedError) as caught:
        model.add_loss(ops.mean(code.output))
    assert not str(caught.value)


def test_add_metric_raises() -> None:
    model, code = model_and_layer()
    with pytest.raises(NotImplementedError, match="add_metric"):
        model.add_metric(ops.mean(code.output), name="code")


def test_a_closure_over_a_layers_output_raises() -> None:
    model, code = model_and_layer()

    def loss(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), axis=-1) + ops.mean(code.output)

    model.compile("sgd", loss)
    with pytest.raises((ValueError, TypeError), match=r"KerasTensor|Failed to convert elements"):
        model.fit(X, Y, verbose=0)


def test_the_loss_as_an_output_runs() -> None:
    model, _ = model_and_layer()
    target = keras.Input((1,))
    loss = layers.Lambda(lambda pair: ops.square(pair[0] - pair[1]), output_shape=(1,))([target, model.output])
    trick = keras.Model([*model.inputs, target], loss)
    trick.compile("sgd", lambda y_true, y_pred: y_pred)
    assert np.isfinite(trick.fit([X, Y], np.zeros((16, 1)), verbose=0).history["loss"][0])


def test_a_variable_in_a_closure_is_frozen_on_jax_alone(backend: str) -> None:
    assert not hasattr(keras.backend, "variable")
    weight = keras.Variable(1.0)
    model, _ = model_and_layer()
    model.compile(keras.optimizers.SGD(0.0), lambda y_true, y_pred: weight * ops.square(y_true - y_pred))

    class Anneal(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            weight.assign(1.0 + epoch)

    first, second = model.fit(X, Y, epochs=2, verbose=0, callbacks=[Anneal()]).history["loss"]
    assert second / first == pytest.approx(1.0 if backend == "jax" else 2.0, rel=1e-5)


def test_a_float_in_a_closure_is_frozen_on_tensorflow_and_jax(backend: str) -> None:
    weight = [1.0]
    model, _ = model_and_layer()
    model.compile(keras.optimizers.SGD(0.0), lambda y_true, y_pred: weight[0] * ops.square(y_true - y_pred))

    class Anneal(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            weight[0] = 1.0 + epoch

    first, second = model.fit(X, Y, epochs=2, verbose=0, callbacks=[Anneal()]).history["loss"]
    assert second / first == pytest.approx(2.0 if backend == "torch" else 1.0, rel=1e-5)


def test_compiled_loss_is_there_on_tensorflow_alone(backend: str) -> None:
    model, _ = model_and_layer()
    model.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert hasattr(model, "compiled_loss") == (backend == "tensorflow")


def test_a_compute_loss_of_ones_own_loses_what_layers_add() -> None:
    class Adding(layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss(1000.0 * ops.mean(ops.square(inputs)))
            return inputs

    class Own(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # type: ignore[no-untyped-def]
            return ops.mean(ops.square(y - y_pred))

    inputs = keras.Input((3,))
    outputs = layers.Dense(1)(Adding()(inputs))
    losses = {}
    for kind in (keras.Model, Own):
        model = kind(inputs, outputs)
        model.compile(keras.optimizers.SGD(0.0), "mse")
        losses[kind] = model.fit(X, Y, verbose=0).history["loss"][0]
    added = 1000.0 * np.mean(X.astype("float64") ** 2)
    assert losses[keras.Model] - losses[Own] == pytest.approx(added, rel=1e-4)
