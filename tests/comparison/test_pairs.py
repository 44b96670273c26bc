"""Pairs of runs that differ in one thing: it must be named first, and giving it to the other run must remove it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof as lp

X = np.random.default_rng(5).normal(size=(24, 3)).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5]], "float32") + 0.1).astype("float32")


def network(seed: int = 1, dropout: int | None = None) -> Any:
    init = keras.initializers.GlorotUniform(seed)
    middle = [] if dropout is None else [layers.Dropout(0.5, seed=dropout)]
    hidden = layers.Dense(4, activation="tanh", kernel_initializer=init)
    last = layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed + 1))
    return keras.Sequential([layers.Input((3,)), hidden, *middle, last])


def training(
    model: Callable[[], Any] = network,
    loss: Any = "mse",
    optimizer: Callable[[], Any] = lambda: keras.optimizers.SGD(0.1),
    x: np.ndarray = X,
    y: np.ndarray = Y,
    before: Callable[[Any], None] = lambda _: None,
    compiled: dict[str, Any] | None = None,
    **fit: Any,
) -> Callable[[], None]:
    def run() -> None:
        built = model()
        built.compile(optimizer(), loss() if isinstance(loss, type) else loss, **(compiled or {}))
        before(built)
        built.fit(x, y, verbose=0, **{"batch_size": 8, "shuffle": False, **fit})

    return run


def own_mse(y_true, y_pred):
    """The same in other roundings."""
    return ops.mean(ops.square(3.0 * (y_true - y_pred)) / 9.0, axis=-1)


class Paired(keras.losses.Loss):
    """The mean over all pairs of rows: y_true of shape (B,) against (B, 1)."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(ops.reshape(y_true, (-1,)) - y_pred), axis=-1)


def half_stopped(y_true, y_pred):
    """The value of the squared error with half of its gradient."""
    mixed = 0.5 * y_pred + ops.stop_gradient(0.5 * y_pred)
    return ops.mean(ops.square(y_true - mixed), axis=-1)


def trained_before(model: Any) -> None:
    model.fit(X, Y, batch_size=8, verbose=0)
    model.compile(keras.optimizers.SGD(0.1), "mse")


def momentum() -> Any:
    return keras.optimizers.SGD(0.1, momentum=0.9)


def warm(model: Any) -> None:
    """Give the optimizer a history, and the weights their old values back."""
    weights = model.get_weights()
    model.fit(X, Y, batch_size=8, verbose=0)
    model.set_weights(weights)


class Drifting(keras.losses.Loss):
    """A loss that counts its calls in Python: frozen where it is traced."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, y_true, y_pred):
        self.calls += 1
        return float(1 + self.calls) * ops.mean(ops.square(y_true - y_pred), axis=-1)


BIG = training(compiled={"run_eagerly": True})
PAIRS = {
    "initial weights": (training(), training(model=lambda: network(7))),
    "initial weights, trained": (training(), training(before=trained_before)),
    "data order": (training(), training(x=X[::-1].copy(), y=Y[::-1].copy())),
    "batch": (training(), training(x=X * 2.0)),
    "batch, size": (training(), training(batch_size=6)),
    "batch, weights": (training(), training(sample_weight=np.linspace(0.5, 2.0, 24).astype("float32"))),
    "loss value": (training(), training(loss=Paired)),
    "loss value, reduction": (training(), training(loss=keras.losses.MeanSquaredError(reduction="sum"))),
    "gradient": (training(), training(loss=half_stopped)),
    "optimizer": (training(), training(optimizer=lambda: keras.optimizers.SGD(0.2))),
    "optimizer, class": (training(), training(optimizer=lambda: keras.optimizers.Adam(0.1))),
    "optimizer, state": (training(optimizer=momentum), training(optimizer=momentum, before=warm)),
    "rng": (training(model=lambda: network(dropout=3)), training(model=lambda: network(dropout=4))),
    "mode": (
        training(loss=Drifting, compiled={"run_eagerly": True}),
        training(loss=Drifting, compiled={"jit_compile": True}),
    ),
}


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "mode"])
def test_the_one_difference_is_named_first_and_its_transplant_removes_it(name: str) -> None:
    a, b = PAIRS[name]
    comparison = lp.compare(a, b)
    assert [one.kind for one in comparison.divergences] == [name.partition(",")[0]], str(comparison)
    assert comparison.first.proven, str(comparison)
    assert comparison.first.after == "nothing differs any more"


@pytest.mark.backend("tensorflow", "jax")
def test_a_value_frozen_by_tracing_is_the_mode() -> None:
    a, b = PAIRS["mode"]
    comparison = lp.compare(a, b)
    assert [one.kind for one in comparison.divergences] == ["mode"], str(comparison)
    assert comparison.first.proven


@pytest.mark.backend("tensorflow", "jax")
def test_a_loss_that_the_script_compiles_itself_is_the_mode() -> None:
    """`@tf.function` on the loss alone: the number that a callback moves is frozen in it."""
    scale = [1.0]

    def loss(y_true, y_pred):
        return scale[0] * ops.mean(ops.square(y_true - y_pred), axis=-1)

    class Rising(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            scale[0] = 1.0 + batch

    def run(decorated: Callable[..., Any]) -> Callable[[], None]:
        def begin(_: Any) -> None:
            scale[0] = 1.0

        return training(loss=decorated, compiled={"run_eagerly": True}, before=begin, callbacks=[Rising()])

    compiler = pytest.importorskip("tensorflow").function if keras.backend.backend() == "tensorflow" else None
    compiler = compiler or pytest.importorskip("jax").jit
    assert lp.compare(run(loss), run(loss)).same
    comparison = lp.compare(run(loss), run(compiler(loss)))
    assert [one.kind for one in comparison.divergences] == ["mode"], str(comparison)
    assert comparison.first.proven


class Unbuilt(keras.Model):
    """Built by its first step."""

    def __init__(self, seed):
        super().__init__()
        self.dense = layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed))

    def call(self, inputs):
        return self.dense(inputs)


def functional(units: int = 4) -> Callable[[], Any]:
    return lambda: keras.Sequential(
        [
            layers.Input((3,)),
            layers.Dense(units, kernel_initializer="zeros"),
            layers.Dense(1, kernel_initializer="zeros"),
        ]
    )


SAME = {
    "run again": (training(), training()),
    "own formula of the same loss": (training(), training(loss=own_mse)),
    "with adam, which divides rounding errors by themselves": (
        training(optimizer=lambda: keras.optimizers.Adam(0.01)),
        training(optimizer=lambda: keras.optimizers.Adam(0.01), loss=own_mse),
    ),
    "another mode": (training(), training(compiled={"run_eagerly": True})),
    "a momentum that has nothing to move yet": (training(optimizer=momentum), training(optimizer=momentum)),
}


@pytest.mark.parametrize("name", SAME)
def test_what_is_the_same_up_to_rounding_is_called_the_same(name: str) -> None:
    comparison = lp.compare(*SAME[name])
    assert comparison.same, str(comparison)


def test_a_model_that_its_first_step_builds() -> None:
    comparison = lp.compare(training(model=lambda: Unbuilt(1)), training(model=lambda: Unbuilt(2)))
    assert [one.kind for one in comparison.divergences] == ["initial weights"], str(comparison)
    assert comparison.first.proven
    assert comparison.first.after == "nothing differs any more"


def test_two_differences_are_named_one_after_the_other() -> None:
    other = training(model=lambda: network(7), optimizer=lambda: keras.optimizers.SGD(0.2), x=X * 2.0)
    comparison = lp.compare(training(), other)
    assert [one.kind for one in comparison.divergences] == ["initial weights", "batch", "optimizer"], str(comparison)
    assert all(one.proven for one in comparison.divergences)
    assert comparison.divergences[-1].after == "nothing differs any more"


def test_other_shapes_are_named_and_not_proven() -> None:
    comparison = lp.compare(training(model=functional(4)), training(model=functional(5)))
    assert comparison.first.kind == "model"
    assert not comparison.first.proven
    assert comparison.first.transplant is None


def test_two_trainings_of_one_run() -> None:
    def run() -> None:
        for loss in ("mse", "mae"):
            training(loss=loss)()

    comparison = lp.compare(run)
    assert [one.kind for one in comparison.divergences] == ["loss value"], str(comparison)
    assert comparison.first.proven
    assert lp.compare(run, fit_a=1, fit_b=1).same


def test_the_private_name_of_keras_that_batches_come_through() -> None:
    from lossproof import keras_private

    owner, name = keras_private.adapter_maker()
    adapter = getattr(owner, name)(x=X, y=Y, batch_size=8)
    assert all(hasattr(adapter, one) for one in ("get_tf_dataset", "get_jax_iterator", "get_torch_dataloader"))
