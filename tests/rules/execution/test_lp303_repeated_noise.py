"""LP303: noise with an integer for a seed, and the many innocent uses of numbers that stay."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from .conftest import Caught, Watched


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def dense(*before: Any) -> Any:
    return keras.Sequential([keras.Input((3,)), *before, layers.Dense(3, name="last")])


class Drawing(layers.Layer):
    """What a layer does with numbers that it draws, in training only or always."""

    def __init__(self, draw: Any, always: bool = False, seed: Any = 11) -> None:
        super().__init__()
        self.draw, self.always, self.seed = draw, always, seed

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.draw(inputs, self.seed) if training or self.always else inputs


def noise(x: Any, seed: Any) -> Any:
    return x + keras.random.normal(ops.shape(x), stddev=0.5, seed=seed)


def dropped(x: Any, seed: Any) -> Any:
    return keras.random.dropout(x, 0.5, seed=seed)


def faint(x: Any, seed: Any) -> Any:
    return x + keras.random.normal(ops.shape(x), stddev=1e-6, seed=seed)


def partners(x: Any, seed: Any) -> Any:
    order = ops.argsort(keras.random.uniform((ops.shape(x)[0],), seed=seed))
    return 0.7 * x + 0.3 * ops.take(x, order, axis=0)


def partners_by_number(x: Any, seed: Any) -> Any:
    rows = ops.shape(x)[0]
    return 0.7 * x + 0.3 * ops.take(x, keras.random.randint((rows,), 0, rows, seed=seed), axis=0)


def hidden(x: Any, seed: Any) -> Any:
    return x * ops.cast(keras.random.uniform((1, 3), seed=seed) < 0.5, x.dtype)


def projected(x: Any, seed: Any) -> Any:
    return ops.tanh(ops.matmul(x, keras.random.normal((3, 3), seed=seed)))


@pytest.mark.parametrize("draw", [noise, dropped])
def test_noise_for_the_rows(caught: Caught, x: np.ndarray, draw: Any) -> None:
    (finding,) = caught("LP303", dense(Drawing(draw)), x, x)
    assert finding.where is not None
    assert finding.where.scope == draw.__name__
    assert finding.evidence["seed"] == 11
    assert finding.evidence["shape"] == [16, 3]
    assert not caught("LP303", dense(Drawing(draw, seed=keras.random.SeedGenerator(11))), x, x)


def test_the_loss_is_that_of_the_numbers_drawn(caught: Caught, x: np.ndarray) -> None:
    keras.utils.set_random_seed(1)
    model = dense(Drawing(noise))
    before = []

    class Keep(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            before.extend(self.model.get_weights())

    (finding,) = caught("LP303", model, x, x, callbacks=[Keep()], shuffle=False)
    kernel, bias = before

    def loss(seed: int) -> float:
        drawn = ops.convert_to_numpy(keras.random.normal((16, 3), stddev=0.5, seed=seed))
        return float(np.mean(((x[:16] + drawn) @ kernel + bias - x[:16]) ** 2))

    assert finding.counterfactual.before == pytest.approx(loss(11), rel=1e-5)
    assert finding.counterfactual.after == pytest.approx(loss(12), rel=1e-5)


class Masked(keras.Model):
    """Hides two features in three, always the same ones, and reconstructs them."""

    def __init__(self, seed: Any) -> None:
        super().__init__()
        self.seed = seed
        self.inner = layers.Dense(6)

    def call(self, x: Any) -> Any:
        return self.inner(x)

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        numbers = keras.random.normal((1, 6), seed=self.seed)
        mask = ops.cast(numbers > 0.0, x.dtype)
        return ops.sum(mask * ops.square(self(x * (1.0 - mask)) - x)) / 16.0


def test_a_mask_that_keeps_weights_from_any_gradient(caught: Caught) -> None:
    data = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
    seed = 5

    def touched(seed: int) -> np.ndarray:
        """Rows of visible features and columns of hidden ones of the kernel (6 x 6), and the biases of hidden ones."""
        mask = ops.convert_to_numpy(keras.random.normal((6,), seed=seed)) > 0.0
        return np.concatenate([np.outer(~mask, mask), mask[None]])

    (finding,) = caught("LP303", Masked(seed), data, data)
    others = touched(seed + 1) | touched(seed + 2) | touched(seed + 3)
    assert finding.evidence["without_gradient"] == (others & ~touched(seed)).sum() > 0
    assert finding.where is not None
    assert finding.where.scope == "Masked.compute_loss"
    assert not caught("LP303", Masked(keras.random.SeedGenerator(seed)), data, data)


@pytest.mark.parametrize("draw", [faint, partners, partners_by_number])
def test_numbers_for_the_rows_that_do_no_harm(caught: Caught, x: np.ndarray, draw: Any) -> None:
    assert not caught("LP303", dense(Drawing(draw)), x, x)


@pytest.mark.parametrize("draw", [hidden, projected])
def test_numbers_that_predictions_use_as_well(caught: Caught, x: np.ndarray, draw: Any) -> None:
    assert not caught("LP303", dense(Drawing(draw, always=True)), x, x)


def random_features(y_true: Any, y_pred: Any) -> Any:
    weights = keras.random.normal((3, 8), seed=3)
    return squared(ops.cos(ops.matmul(y_true, weights)), ops.cos(ops.matmul(y_pred, weights)))


def random_signs(y_true: Any, y_pred: Any) -> Any:
    signs = ops.where(keras.random.uniform((3, 2), seed=3) < 0.5, -1.0, 1.0)
    return squared(ops.matmul(y_true, signs), ops.matmul(y_pred, signs))


@pytest.mark.parametrize("loss", [random_features, random_signs])
def test_a_fixed_sketch_in_the_loss(caught: Caught, x: np.ndarray, loss: Any) -> None:
    assert not caught("LP303", dense(), x, x, {"loss": loss})


def test_features_of_rows_that_are_always_the_same(caught: Caught, x: np.ndarray) -> None:
    assert not caught("LP303", dense(Drawing(noise)), x, x, batch_size=32, shuffle=False)


class Counting(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def call(self, inputs: Any) -> Any:
        self.calls += 1
        return noise(inputs, self.calls)


def test_a_seed_that_counts_up(caught: Caught, x: np.ndarray) -> None:
    assert not caught("LP303", dense(Counting()), x, x, {"loss": "mse", "run_eagerly": True})


class Reseed(keras.callbacks.Callback):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.layer.seed = 11 + epoch


def test_a_seed_that_a_callback_changes(caught: Caught, x: np.ndarray) -> None:
    layer = Drawing(noise)
    told = {"loss": "mse", "run_eagerly": True}
    assert not caught("LP303", dense(layer), x, x, told, epochs=3, callbacks=[Reseed(layer)])


class Showing(keras.Model):
    """Draws fixed numbers to look at, which are no part of what it minimises."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shown = keras.metrics.Mean(name="shown")

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        self.shown.update_state(ops.mean(self(noise(x, 4))))
        return ops.mean(squared(y, y_pred))


def test_numbers_for_a_display(watched: Watched, x: np.ndarray) -> None:
    def script() -> None:
        inputs = keras.Input((3,))
        model = Showing(inputs=inputs, outputs=layers.Dense(3)(inputs))
        model.compile(optimizer="sgd")
        model.fit(x, x, batch_size=16, verbose=0)

    assert not watched("LP303", script)
