"""LP307: an objective in half precision, against the same one in NumPy's float64 on the predictions that it got."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding

ROWS = 16
X = np.random.default_rng(4).normal(size=(ROWS, 4)).astype("float32")
PRICES = (90_000.0 + 9_000.0 * X[:, :1]).astype("float32")
IDS = 301 + 2 * np.arange(ROWS)[:, None]  # odd numbers above 256
TABLE = np.sin(np.arange(400.0)).astype("float32")


@pytest.fixture(autouse=True)
def _policy() -> Iterator[None]:
    yield
    keras.mixed_precision.set_dtype_policy("float32")


Loss = Callable[[Any, Any], Any]


def model_of(policy: str, loss: Loss, units: int = 1, scale: float = 1.0, output: str | None = None) -> keras.Model:
    """A model under a policy that computes its loss in a `compute_loss`."""

    class Own(keras.Model):
        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, **_: Any) -> Any:
            return loss(y, y_pred)

    return built(Own, policy, units, scale, output)


def built(kind: Any, policy: str, units: int, scale: float = 1.0, output: str | None = None) -> keras.Model:
    keras.mixed_precision.set_dtype_policy(policy)
    keras.utils.set_random_seed(7)
    inputs = keras.Input((4,))
    hidden = layers.Dense(3)(inputs)
    normal = keras.initializers.RandomNormal(stddev=scale, seed=1)
    model = kind(inputs, layers.Dense(units, dtype=output, kernel_initializer=normal)(hidden))
    model.compile(optimizer="sgd")
    return model


def findings(model: keras.Model, y: Any = PRICES) -> list[Finding]:
    report = lossproof.check(model, X, y, select=["LP307"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def predicted(model: keras.Model) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.cast(model(X, training=True), "float32"))).astype("float64")


def test_targets_that_float16_does_not_hold() -> None:
    model = model_of("mixed_float16", lambda y, p: ops.mean(ops.abs(ops.cast(y, p.dtype) - p) / 1000.0))
    (found,) = findings(model)
    assert found.evidence["kind"] == "not finite"
    assert found.counterfactual.before == np.inf
    assert found.counterfactual.after == pytest.approx(np.mean(np.abs(PRICES - predicted(model))) / 1000.0, rel=1e-4)
    assert found.where is not None
    assert found.where.expression == "ops.cast(y, p.dtype)"


def test_a_sum_that_float16_does_not_hold() -> None:
    model = model_of("mixed_float16", lambda _, p: ops.sum(ops.square(p)) / (ROWS * 64), units=64, scale=30.0)
    (found,) = findings(model, X)
    assert found.counterfactual.after == pytest.approx(np.mean(predicted(model) ** 2), rel=1e-2)


def test_ids_that_bfloat16_rounds() -> None:
    def looked_up(y: Any, p: Any) -> Any:
        row = ops.cast(ops.cast(y, p.dtype), "int32")
        return ops.mean(ops.square(ops.take(TABLE, row, axis=0) - ops.cast(p, "float32")))

    model = model_of("mixed_bfloat16", looked_up)
    (found,) = findings(model, IDS)
    assert found.evidence["dtype"] == "bfloat16"
    expected = np.mean((TABLE[IDS] - predicted(model)) ** 2)
    assert found.counterfactual.after == pytest.approx(expected, rel=1e-3)
    assert abs(found.counterfactual.before - expected) > 0.1 * expected  # type: ignore[operator]


def test_an_epsilon_that_float16_does_not_hold() -> None:
    def surprise(_: Any, p: Any) -> Any:
        share = ops.softmax(p)
        return ops.mean(-ops.log(share + 1e-8))

    model = model_of("mixed_float16", surprise, units=3, scale=40.0)
    (found,) = findings(model, X)
    assert found.counterfactual.before == np.inf
    assert np.isfinite(found.counterfactual.after)


class Energy(layers.Layer):
    """Adds the sum of squares of what passes to the losses."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(1e-4 * ops.sum(ops.square(inputs)))
        return inputs


def test_a_loss_that_a_layer_adds() -> None:
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    inputs = keras.Input((4,))
    hidden = Energy()(layers.Dense(64, kernel_initializer=keras.initializers.Constant(20.0))(inputs))
    model = keras.Model(inputs, layers.Dense(1, dtype="float32")(hidden))
    model.compile(optimizer="sgd", loss="mse")
    (found,) = findings(model, X[:, :1])
    assert found.counterfactual.before == np.inf
    penalty = 1e-4 * 64 * np.sum((20.0 * X.astype("float64").sum(axis=1)) ** 2)
    assert found.counterfactual.after > penalty * 0.99  # type: ignore[operator]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("output", [None, "float32"])
def test_a_loss_of_keras_computes_in_float32(policy: str, output: str | None) -> None:
    model = built(keras.Model, policy, 1, output=output)
    model.compile(optimizer="adam", loss="mse")
    assert not findings(model)
    classes = built(keras.Model, policy, 3, output=output)
    classes.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert not findings(classes, np.arange(ROWS) % 3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_loss_that_starts_with_a_cast(policy: str) -> None:
    def cast_first(y: Any, p: Any) -> Any:
        return ops.mean(ops.square(ops.cast(y, "float32") - ops.cast(p, "float32")))

    assert not findings(model_of(policy, cast_first))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_ordinary_rounding(policy: str) -> None:
    def squares(y: Any, p: Any) -> Any:
        return ops.mean(ops.square(ops.cast(y, p.dtype) - p))

    assert not findings(model_of(policy, squares), X[:, :1])


def test_in_float32_nothing_is_measured() -> None:
    report = lossproof.check(model_of("float32", lambda y, p: ops.mean(ops.square(y - p))), X, PRICES, select=["LP307"])
    assert "LP307" in report.skipped


# Gradients ---------------------------------------------------------------------------------------------------------


def tiny(y: Any, p: Any) -> Any:
    return 1e-8 * ops.mean(ops.square(ops.cast(y, "float32") - ops.cast(p, "float32")))


def test_a_gradient_below_the_smallest_number() -> None:
    model = model_of("mixed_float16", tiny)
    model.compile(optimizer="sgd", auto_scale_loss=False)
    (found,) = findings(model, X[:, :1])
    assert found.evidence["kind"] == "underflow"
    assert found.counterfactual.before < 0.5 * found.counterfactual.after  # type: ignore[operator]
    scaled = model_of("mixed_float16", tiny)
    assert not findings(scaled, X[:, :1])  # compile has wrapped the optimizer


def step_of(scaled: bool) -> Any:
    """A `train_step` of the running backend that scales its loss, or forgets to."""
    backend = keras.backend.backend()

    class Stepping(keras.Model):
        def loss_of(self, data: Any, y_pred: Any) -> Any:
            loss = ops.mean(ops.square(ops.cast(y_pred, "float32") - data[1]))
            return self.optimizer.scale_loss(loss) if scaled else loss

        def train_step(self, *args: Any) -> Any:
            return {"tensorflow": self.of_tensorflow, "jax": self.of_jax, "torch": self.of_torch}[backend](*args)

        def of_tensorflow(self, data: Any) -> Any:
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = self.loss_of(data, self(data[0], training=True))
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"loss": loss}

        def of_torch(self, data: Any) -> Any:
            import torch

            self.zero_grad()
            loss = self.loss_of(data, self(data[0], training=True))
            loss.backward()
            gradients = [v.value.grad for v in self.trainable_weights]
            with torch.no_grad():
                self.optimizer.apply(gradients, self.trainable_weights)
            return {"loss": loss}

        def of_jax(self, state: Any, data: Any) -> Any:
            import jax

            trainable, other, optimizer, metrics = state

            def total(trainable: Any) -> Any:
                y_pred, updated = self.stateless_call(trainable, other, data[0], training=True)
                loss = ops.mean(ops.square(ops.cast(y_pred, "float32") - data[1]))
                scale = next(
                    v for v, one in zip(optimizer, self.optimizer.variables, strict=True) if "scale" in one.name
                )
                return (loss * scale if scaled else loss), updated

            (loss, other), gradients = jax.value_and_grad(total, has_aux=True)(trainable)
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            return {"loss": loss}, (trainable, other, optimizer, metrics)

    return Stepping


@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_that_forgets_to_scale(scaled: bool) -> None:
    model = built(step_of(scaled), "mixed_float16", 1)
    model.optimizer.build(model.trainable_variables)
    found = findings(model, X[:, :1])
    if scaled:
        assert not found
        return
    (finding,) = found
    assert finding.evidence["kind"] == "unscaled"
    scale = finding.evidence["scale"]
    assert scale == 2.0**15
    assert finding.counterfactual.after == pytest.approx(scale * finding.counterfactual.before, rel=1e-2)  # type: ignore[operator]
    assert finding.where is not None
    assert finding.where.scope is not None
    assert finding.where.scope.endswith("train_step")


def test_a_loss_in_half_precision() -> None:
    model = built(keras.Model, "mixed_float16", 1)
    model.compile(optimizer="sgd", loss=keras.losses.MeanAbsoluteError(dtype="float16"))
    (found,) = findings(model)
    assert found.counterfactual.before == np.inf
    assert found.counterfactual.after == pytest.approx(np.mean(np.abs(PRICES - predicted(model))), rel=1e-4)
