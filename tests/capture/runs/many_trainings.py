"""Trains in every way that Keras offers, and prints after each what would tell a change: see test_nothing_changes.py.

One line of JSON for each scenario: a digest of all variables, the history, and the next numbers of every generator.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

BACKEND = keras.backend.backend()
SCENARIOS: dict[str, Callable[[], tuple[list[Any], Any]]] = {}
if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "jax":
    import jax
else:
    import torch


def scenario(function: Callable[[], tuple[list[Any], Any]]) -> Callable[[], tuple[list[Any], Any]]:
    """One way to train; it returns what holds variables, and what was reported."""
    SCENARIOS[function.__name__] = function
    return function


def digest(owners: list[Any]) -> str:
    found = {}
    for owner in owners:
        for variable in [*owner.variables, *getattr(owner, "metrics_variables", [])]:
            found[id(variable)] = variable
        optimizer = getattr(owner, "optimizer", None)
        found.update({id(variable): variable for variable in getattr(optimizer, "variables", [])})
    marks = hashlib.blake2b(digest_size=16)
    for variable in found.values():
        value = ops.convert_to_numpy(variable)
        marks.update(f"{variable.path} {value.dtype} {value.shape}".encode())
        marks.update(np.ascontiguousarray(value).tobytes())
    return f"{len(found)} variables {marks.hexdigest()}"


def draws() -> list[float]:
    """The next number of every generator that a script may draw from."""
    numbers = [random.random(), float(np.random.rand()), float(ops.convert_to_numpy(keras.random.uniform(())))]
    if BACKEND == "tensorflow":
        numbers += [float(tf.random.uniform(())), float(tf.random.uniform((), seed=3))]
        numbers.append(float(tf.random.get_global_generator().uniform(())))
    elif BACKEND == "torch":
        numbers.append(float(torch.rand(())))
    return numbers


def rows(count: int = 40) -> tuple[Any, Any]:
    x = np.random.normal(size=(count, 4)).astype("float32")
    return x, (x[:, :1] * 2 - x[:, 1:2] + 0.1 * np.random.normal(size=(count, 1))).astype("float32")


def dense(*middle: Any, outputs: int = 1) -> Any:
    return keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu"), *middle, layers.Dense(outputs)])


def half_squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1) / 2


class HalfSquared(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return half_squared(y_true, y_pred)


@scenario
def arrays_shuffled() -> tuple[list[Any], Any]:
    x, y = rows()
    model = dense()
    model.compile("adam", half_squared, metrics=["mae"], weighted_metrics=["mse"])
    weight = np.random.uniform(size=len(x))
    history = model.fit(
        x, y, batch_size=8, epochs=3, validation_split=0.2, sample_weight=weight, validation_freq=2, verbose=0
    )
    return [model], [history.history, history.epoch, history.params, model.evaluate(x, y, 8, 0)]


@scenario
def positional_and_class_weight() -> tuple[list[Any], Any]:
    x, _ = rows()
    model = dense(outputs=3)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    history = model.fit(x, np.arange(40) % 3, 8, 2, 0, class_weight={0: 1.0, 1: 2.0, 2: 0.5})
    return [model], [history.history, model.evaluate(x, np.arange(40) % 3, 8, 0, return_dict=True)]


@scenario
def dropout_and_batch_normalization() -> tuple[list[Any], Any]:
    x, y = rows()
    model = dense(layers.BatchNormalization(), layers.Dropout(0.4), layers.GaussianNoise(0.1))
    model.compile("rmsprop", HalfSquared())
    return [model], model.fit(x, y, batch_size=8, epochs=2, verbose=0).history


@scenario
def augmentation() -> tuple[list[Any], Any]:
    x = np.random.uniform(size=(24, 8, 8, 1)).astype("float32")
    middle = [layers.RandomFlip(), layers.RandomTranslation(0.2, 0.2), layers.Conv2D(3, 3), layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 1)), *middle, layers.Dense(1)])
    model.compile("adam", half_squared)
    return [model], model.fit(x, x.mean((1, 2)), batch_size=8, epochs=2, verbose=0).history


@scenario
def python_generator() -> tuple[list[Any], Any]:
    taken, numbers = [], np.random.RandomState(random.randint(0, 9))

    def batches() -> Any:
        while True:
            x = numbers.normal(size=(8, 4)).astype("float32")
            taken.append(float(x[0, 0]))
            yield x, x.sum(1, keepdims=True)

    feed = batches()
    model = dense(layers.Dropout(0.2))
    model.compile("adam", half_squared)
    history = model.fit(feed, steps_per_epoch=3, epochs=2, verbose=0)
    if BACKEND == "tensorflow":  # which reads ahead in a thread, nobody knows how far
        return [model], [history.history, taken[:6]]
    return [model], [history.history, taken, float(next(feed)[0].sum())]


class Batches(keras.utils.PyDataset):
    def __init__(self, x: Any, y: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.x, self.y, self.asked = x, y, []

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        return self.x[index * 8 : index * 8 + 8], self.y[index * 8 : index * 8 + 8]

    def on_epoch_end(self) -> None:
        order = np.random.permutation(len(self.x))
        self.x, self.y = self.x[order], self.y[order]


@scenario
def py_dataset() -> tuple[list[Any], Any]:
    data = Batches(*rows())
    model = dense(layers.Dropout(0.2))
    model.compile("adam", half_squared)
    history = model.fit(data, epochs=3, shuffle=True, validation_data=Batches(*rows()), verbose=0)
    return [model], [history.history, data.asked]


@scenario
def py_dataset_with_workers() -> tuple[list[Any], Any]:
    data = Batches(*rows(), workers=2)
    data.on_epoch_end = lambda: None  # workers read on into the next epoch: what they met there is not repeatable
    model = dense()
    model.compile("adam", half_squared)
    return [model], model.fit(data, epochs=2, shuffle=False, verbose=0).history


@scenario
def long_short_term_memory() -> tuple[list[Any], Any]:
    x = np.random.normal(size=(24, 5, 2)).astype("float32")
    model = keras.Sequential([keras.Input((5, 2)), layers.LSTM(4, dropout=0.2, recurrent_dropout=0.2), layers.Dense(1)])
    model.compile("adam", half_squared)
    return [model], model.fit(x, x.sum((1, 2))[:, None], batch_size=8, epochs=2, verbose=0).history


class Noisy(keras.Model):
    """A subclassed model with its own `compute_loss` and its own tracker."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.last = layers.Dense(6, activity_regularizer="l2"), layers.Dense(1)
        self.seeds = keras.random.SeedGenerator(5)
        self.tracker = keras.metrics.Mean(name="noise")

    def call(self, x: Any, training: bool = False) -> Any:
        self.add_loss(0.01 * ops.mean(ops.square(x)))
        return self.last(self.hidden(x))

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
        noise = keras.random.normal(ops.shape(y_pred), seed=self.seeds)
        self.tracker.update_state(noise)
        return ops.mean(ops.square(y - y_pred - 0.1 * noise)) + sum(self.losses)


@scenario
def own_compute_loss() -> tuple[list[Any], Any]:
    model = Noisy()
    model.compile("adam")
    return [model], model.fit(*rows(), batch_size=8, epochs=2, verbose=0).history


class OwnStep(Noisy):
    """The same with its own `train_step` and `test_step`."""

    if BACKEND == "tensorflow":

        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            self.optimizer.apply_gradients(
                zip(tape.gradient(loss, self.trainable_weights), self.trainable_weights, strict=True)
            )
            self.tracker.update_state(loss)
            return {"own": loss, "tracked": self.tracker.result()}

        def test_step(self, data: Any) -> Any:
            return {"own": self.compute_loss(data[0], data[1], self(data[0]))}

    elif BACKEND == "torch":

        def train_step(self, data: Any) -> Any:
            x, y = data
            self.zero_grad()
            loss = self.compute_loss(x, y, self(x, training=True))
            loss.backward()
            with torch.no_grad():
                self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
            self.tracker.update_state(loss)
            return {"own": loss, "tracked": self.tracker.result()}

        def test_step(self, data: Any) -> Any:
            return {"own": self.compute_loss(data[0], data[1], self(data[0]))}

    else:

        def loss_and_updates(self, trainable: Any, fixed: Any, x: Any, y: Any) -> Any:
            y_pred, fixed, losses = self.stateless_call(trainable, fixed, x, training=True, return_losses=True)
            return ops.mean(ops.square(y - y_pred)) + sum(losses), fixed

        def train_step(self, state: Any, data: Any) -> Any:
            trainable, fixed, optimizer, metrics = state
            differentiated = jax.value_and_grad(self.loss_and_updates, has_aux=True)
            (loss, fixed), gradients = differentiated(trainable, fixed, *data)
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            return {"own": loss}, (trainable, fixed, optimizer, metrics)

        def test_step(self, state: Any, data: Any) -> Any:
            trainable, fixed, metrics = state
            loss, fixed = self.loss_and_updates(trainable, fixed, *data)
            return {"own": loss}, (trainable, fixed, metrics)


@scenario
def own_train_step() -> tuple[list[Any], Any]:
    x, y = rows()
    model = OwnStep()
    model.compile("adam")
    history = model.fit(x, y, batch_size=8, epochs=2, validation_data=(x[:8], y[:8]), verbose=0).history
    return [model], [history, model.evaluate(x, y, 8, 0, return_dict=True)]


@scenario
def batch_by_batch() -> tuple[list[Any], Any]:
    x, y = rows()
    model = dense(layers.Dropout(0.3))
    model.compile("adam", half_squared, metrics=["mae"])
    seen = []
    for _ in range(5):
        index = np.random.choice(len(x), 8)
        seen.append(model.train_on_batch(x[index], y[index], sample_weight=np.full(8, 0.5)))
        seen.append(model.test_on_batch(x[:8], y[:8], return_dict=True))
    return [model], seen


class Annealed(keras.callbacks.Callback):
    """Assigns variables in every hook where scripts do it."""

    def __init__(self, weight: Any) -> None:
        super().__init__()
        self.weight, self.epochs, self.batches = weight, [], 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(epoch)
        self.weight.assign(0.1 * epoch)
        self.weight.assign_add(0.2)
        self.model.optimizer.learning_rate = 0.01 / (1 + epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        self.weight.assign(0.01 * self.batches)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.layers[0].set_weights([w * 0.9 for w in self.model.layers[0].get_weights()])


@scenario
def callbacks_that_assign() -> tuple[list[Any], Any]:
    weight = keras.Variable(0.0, name="beta", trainable=False)
    callback = Annealed(weight)
    model = dense()
    model.beta = weight
    model.compile("sgd", lambda y_true, y_pred: (1 + weight) * half_squared(y_true, y_pred))
    told = []
    plain = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: told.append([epoch, sorted(logs)]))
    rate = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
    history = model.fit(*rows(), batch_size=8, epochs=3, callbacks=[callback, plain, rate], verbose=0)
    return [model], [history.history, callback.epochs, callback.batches, callback.params, told]


@scenario
def callback_list_of_the_user() -> tuple[list[Any], Any]:
    model = dense()
    model.compile("sgd", half_squared)
    early = keras.callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True)
    container = keras.callbacks.CallbackList([early], add_history=True, model=model, epochs=4, steps=6)
    history = model.fit(*rows(), batch_size=8, epochs=4, callbacks=container, verbose=0)
    names = [type(callback).__name__ for callback in container.callbacks]
    return [model], [history.history, history is model.history, names, early.stopped_epoch, model.stop_training]


class Overriding(keras.Model):
    """`compile` and `fit` with arguments of their own, that call Keras's."""

    def compile(self, *args: Any, factor: float = 1.0, **kwargs: Any) -> None:
        super().compile(*args, **kwargs)
        self.factor = factor

    def fit(self, *args: Any, scale: float = 2.0, **kwargs: Any) -> Any:
        x, y, *rest = args
        return super().fit(x * scale * self.factor, y, *rest, **kwargs)


@scenario
def overridden_fit_and_compile() -> tuple[list[Any], Any]:
    inputs = keras.Input((4,))
    model = Overriding(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", loss="mse", factor=0.5)
    return [model], model.fit(*rows(), 8, epochs=2, scale=1.5, verbose=0).history


@scenario
def saved_loaded_and_trained_on() -> tuple[list[Any], Any]:
    x, y = rows()
    model = dense(layers.Dropout(0.2))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(x, y, 8, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.keras"))
        loaded = keras.saving.load_model(Path(folder, "model.keras"))
    clone = keras.models.clone_model(model)
    clone.compile_from_config(model.get_compile_config())
    told = [loaded.compiled, clone.compiled, clone.get_compile_config() == model.get_compile_config()]
    return [model, loaded], [told, loaded.fit(x, y, 8, verbose=0).history]


@scenario
def several_outputs() -> tuple[list[Any], Any]:
    inputs = {"left": keras.Input((4,), name="left"), "right": keras.Input((4,), name="right")}
    hidden = layers.Dense(6, kernel_regularizer="l2")(layers.Concatenate()(list(inputs.values())))
    outputs = {"size": layers.Dense(1, name="size")(hidden), "kind": layers.Dense(2, name="kind")(hidden)}
    model = keras.Model(inputs, outputs)
    loss = {"size": HalfSquared(), "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    model.compile("adam", loss, loss_weights={"size": 0.3, "kind": 1.0}, metrics={"size": ["mae"]})
    x, y = rows()
    targets = {"size": y, "kind": (y > 0).astype("int32")}
    weights = {"size": np.random.uniform(size=40), "kind": np.ones(40)}
    return [model], model.fit(
        {"left": x, "right": -x}, targets, sample_weight=weights, batch_size=8, epochs=2, verbose=0
    ).history


@scenario
def half_precision() -> tuple[list[Any], Any]:
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = dense()
        model.compile("adam", half_squared, steps_per_execution=1)
        return [model], model.fit(*rows(), batch_size=8, epochs=2, verbose=0).history
    finally:
        keras.mixed_precision.set_global_policy("float32")


@scenario
def own_loop() -> tuple[list[Any], Any]:
    """No `fit` at all: the loop of the guides, once compiled and once eager where the backend allows."""
    x, y = rows(40)
    model, loss, optimizer = dense(layers.Dropout(0.3)), HalfSquared(), keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)
    tracker, reported = keras.metrics.Mean(), []
    if BACKEND == "tensorflow":

        def step(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                value = loss(y, model(x, training=True))
            gradients = tape.gradient(value, model.trainable_weights)
            if tf.reduce_sum(x) > 0:  # a Python `if` that autograph has to convert
                value = value * 1.0
            optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
            tracker.update_state(value)
            return value

        steps = [tf.function(step), step]
    elif BACKEND == "torch":

        def step(x: Any, y: Any) -> Any:
            model.zero_grad()
            value = loss(torch.from_numpy(y), model(x, training=True))
            value.backward()
            with torch.no_grad():
                optimizer.apply([v.value.grad for v in model.trainable_weights], model.trainable_weights)
            tracker.update_state(value)
            return value.detach()

        steps = [step]
    else:

        def total(trainable: Any, fixed: Any, x: Any, y: Any) -> Any:
            y_pred, fixed = model.stateless_call(trainable, fixed, x, training=True)
            return loss(y, y_pred), fixed

        @jax.jit
        def update(trainable: Any, fixed: Any, state: Any, x: Any, y: Any) -> Any:
            (value, fixed), gradients = jax.value_and_grad(total, has_aux=True)(trainable, fixed, x, y)
            trainable, state = optimizer.stateless_apply(state, gradients, trainable)
            return value, trainable, fixed, state

        def step(x: Any, y: Any) -> Any:
            groups = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
            value, *new = update(*([v.value for v in group] for group in groups), x, y)
            for group, values in zip(groups, new, strict=True):
                for variable, one in zip(group, values, strict=True):
                    variable.assign(one)
            tracker.update_state(value)
            return value

        steps = [step]
    for one in steps:
        for begin in range(0, 40, 8):
            reported.append(float(one(x[begin : begin + 8], y[begin : begin + 8])))
    return [model, optimizer, tracker], [reported, float(tracker.result())]


@scenario
def an_error_that_the_script_catches() -> tuple[list[Any], Any]:
    def broken(y_true: Any, y_pred: Any) -> Any:
        raise RuntimeError("not today")

    x, y = rows()
    model, told = dense(), []
    model.compile("sgd", broken)
    with contextlib.suppress(RuntimeError, ValueError):
        model.fit(x, y, 8, verbose=0)
        told.append("no error")
    with contextlib.suppress(TypeError):
        model.fit(x, y, no_such_argument=1)
        told.append("no error")
    model.compile("sgd", "mse")
    return [model], [told, model.fit(x, y, 8, verbose=0).history]


if BACKEND == "tensorflow":

    @scenario
    def tf_data() -> tuple[list[Any], Any]:
        data = tf.data.Dataset.from_tensor_slices(rows()).shuffle(40).map(lambda x, y: (x + tf.random.normal((4,)), y))
        data = data.batch(8)
        model = dense()
        model.compile("adam", half_squared)
        history = model.fit(data, epochs=3, validation_data=data.take(2), verbose=0)
        return [model], [history.history, [float(tf.reduce_sum(x)) for x, _ in data]]


if BACKEND == "torch":

    @scenario
    def data_loader() -> tuple[list[Any], Any]:
        data = torch.utils.data.TensorDataset(*map(torch.from_numpy, rows()))
        loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
        model = dense(layers.Dropout(0.2))
        model.compile("adam", half_squared)
        history = model.fit(loader, epochs=3, validation_data=loader, verbose=0)
        return [model], [history.history, [float(x.sum()) for x, _ in loader]]


def main() -> None:
    chosen = os.environ.get("ONLY", "").split()
    for name, run in SCENARIOS.items():
        if chosen and name not in chosen:
            continue
        keras.utils.clear_session()
        keras.utils.set_random_seed(11)
        if BACKEND == "tensorflow":
            tf.random.set_global_generator(tf.random.Generator.from_seed(4))
        owners, reported = run()
        named = [keras.layers.Dense(1).name, keras.optimizers.SGD().name]
        told = {"name": name, "variables": digest(owners), "reported": repr(reported), "draws": draws(), "names": named}
        print("#", json.dumps(told))


if __name__ == "__main__":
    main()
