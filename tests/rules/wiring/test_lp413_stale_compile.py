"""LP413: totals and steps of what was declared, against NumPy, where something else was compiled."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lossproof.capture.watch import Watch
from lossproof.findings.finding import Finding, Severity
from lossproof.pipeline import judge

from .conftest import ROWS

BACKEND = os.environ["KERAS_BACKEND"]
RATE = 0.05
_random = np.random.default_rng(2)
X = _random.normal(size=(ROWS, 3)).astype("float32")
AGE, PRICE = X[:, :1].copy(), 10.0 + X[:, 1:2]
REAL = np.ones((ROWS, 1), "float32")


def said(script: Callable[[], Any], raises: bool = False) -> list[Finding]:
    with Watch(shorten=True) as watch, suppress(*([Exception] if raises else [])):
        script()
    assert watch.run.captures
    report = judge(watch.run, select=["LP413"])
    assert not report.crashed, report.crashed
    assert not watch.defects, watch.defects
    return list(report.findings)


def heads() -> Any:
    inputs = keras.Input((3,))
    return keras.Model(inputs, [layers.Dense(1, name="price")(inputs), layers.Dense(1, name="age")(inputs)])


def stacked() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, name="base"), layers.Dense(1, name="head")])


def compiled(model: Any, eager: bool = True, **told: Any) -> Any:
    model.compile(optimizer=keras.optimizers.SGD(RATE), run_eagerly=eager, **told)
    return model


def fit(model: Any, y: Any = AGE) -> None:
    model.fit(X, y, batch_size=ROWS, verbose=0)


def errors(model: Any, name: str, y: np.ndarray) -> np.ndarray:
    kernel, bias = (one.astype("float64") for one in model.get_layer(name).get_weights())
    return y - (X @ kernel + bias)


# Guilty -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trained_before", [False, True])
@pytest.mark.parametrize("old", [None, [1.0, 1.0], [1.0, 0.5]])
def test_weights_without_their_losses(old: list[float] | None, trained_before: bool) -> None:
    model = heads()
    parts: list[float] = []

    def script() -> None:
        compiled(model, loss=["mse", "mae"], loss_weights=old)
        if trained_before:
            fit(model, [PRICE, AGE])
        compiled(model, loss_weights=[0.01, 2.0])
        parts.append(float(np.mean(errors(model, "price", PRICE) ** 2)))
        parts.append(float(np.mean(np.abs(errors(model, "age", AGE)))))
        fit(model, [PRICE, AGE])

    (found,) = said(script)
    assert (found.code, found.severity) == ("LP413", Severity.WARNING)
    first, second = old or [1.0, 1.0]
    assert found.counterfactual.before == pytest.approx(first * parts[0] + second * parts[1], rel=1e-5)
    assert found.counterfactual.after == pytest.approx(0.01 * parts[0] + 2.0 * parts[1], rel=1e-5)
    assert found.where is not None
    assert "model.compile(" in (found.where.source or "")


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_a_discriminator_that_is_trained_no_more() -> None:
    """As in the textbooks: frozen after its own compile for the sake of the combined model."""
    generator = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
    discriminator = compiled(keras.Sequential([keras.Input((3,)), layers.Dense(1)]), loss="mse")
    kernel, bias = (one.astype("float64") for one in discriminator.get_weights())

    def script() -> None:
        discriminator.compile(optimizer=keras.optimizers.SGD(RATE), loss="mse", run_eagerly=True)
        discriminator.trainable = False
        inputs = keras.Input((3,))
        combined = compiled(keras.Model(inputs, discriminator(generator(inputs))), loss="mse")
        for _ in range(2):
            discriminator.train_on_batch(X, REAL)
            combined.train_on_batch(X, REAL)

    (found,) = said(script)
    assert found.severity is Severity.ERROR
    assert found.evidence["trainable at compile"] == 2
    error = REAL - (X @ kernel + bias)
    assert found.counterfactual.before == pytest.approx(float(np.mean(error**2)), rel=1e-5)
    kernel, bias = kernel + RATE * 2.0 * X.T @ error / ROWS, bias + RATE * 2.0 * error.mean(axis=0)
    assert found.counterfactual.after == pytest.approx(float(np.mean((REAL - (X @ kernel + bias)) ** 2)), rel=1e-5)


def freeze_or_thaw(base: bool, eager: bool) -> Callable[[], None]:
    """`base` is whether the layer is trainable at first; it changes between two calls of `fit`."""

    def script() -> None:
        model = stacked()
        model.get_layer("base").trainable = base
        compiled(model, eager, loss="mse")
        fit(model)
        model.get_layer("base").trainable = not base
        fit(model)

    return script


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("base", [True, False])
def test_a_traced_step_goes_on(base: bool) -> None:
    (found,) = said(freeze_or_thaw(base, eager=False))
    assert found.severity is Severity.WARNING
    assert found.evidence["layers"] == "base"
    assert found.title.startswith("base is trained on" if base else "base is not trained")


@pytest.mark.backend("jax", "torch")
def test_thawed_weights_are_refused() -> None:
    (found,) = said(freeze_or_thaw(False, eager=True), raises=True)
    assert found.severity is Severity.ERROR
    assert found.evidence["layers"] == "base"
    assert found.evidence["explains_error"]


# Innocent -----------------------------------------------------------------------------------------------------------


def compiled_again() -> None:
    """Fine-tuning."""
    model = stacked()
    model.get_layer("base").trainable = False
    fit(compiled(model, loss="mse"))
    model.get_layer("base").trainable = True
    fit(compiled(model, loss="mse"))


def frozen_before_compile() -> None:
    model = stacked()
    model.get_layer("base").trainable = False
    fit(compiled(model, loss="mse"))
    fit(model)


def weights_with_their_losses() -> None:
    model = heads()
    for weights in ([1.0, 1.0], [0.01, 2.0]):
        fit(compiled(model, loss=["mse", "mae"], loss_weights=weights), [PRICE, AGE])


def the_same_weights_again() -> None:
    """They are ignored, which changes nothing."""
    model = heads()
    fit(compiled(model, loss=["mse", "mae"], loss_weights=[0.5, 2.0]), [PRICE, AGE])
    fit(compiled(model, loss_weights=[0.5, 2.0]), [PRICE, AGE])


def another_optimizer_alone() -> None:
    model = heads()
    fit(compiled(model, loss=["mse", "mae"], loss_weights=[0.5, 2.0]), [PRICE, AGE])
    model.compile(optimizer=keras.optimizers.SGD(RATE / 10.0), run_eagerly=True)
    fit(model, [PRICE, AGE])


def combined_with_a_frozen_discriminator() -> None:
    """The discriminator is thawed for its own turn, and frozen in the generator's."""
    generator = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
    discriminator = compiled(keras.Sequential([keras.Input((3,)), layers.Dense(1)]), loss="mse")
    discriminator.trainable = False
    inputs = keras.Input((3,))
    combined = compiled(keras.Model(inputs, discriminator(generator(inputs))), loss="mse")
    for _ in range(2):
        discriminator.trainable = True
        discriminator.train_on_batch(X, REAL)
        discriminator.trainable = False
        combined.train_on_batch(X, REAL)


def frozen_and_thawed_again() -> None:
    """Frozen while another thing is done, and as at compile when it is trained."""
    model = compiled(stacked(), loss="mse")
    fit(model)
    model.trainable = False
    model.evaluate(X, AGE, verbose=0)
    model.trainable = True
    fit(model)


def a_frozen_norm() -> None:
    """Statistics that move are no weights that are trained."""
    model = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(1)])
    model.layers[0].trainable = False
    fit(compiled(model, loss="mse"))
    model.layers[0].trainable = True
    fit(compiled(model, loss="mse"))


def judged_only() -> None:
    model = compiled(stacked(), loss="mse")
    model.trainable = False
    model.evaluate(X, AGE, verbose=0)


INNOCENT = [
    compiled_again,
    frozen_before_compile,
    weights_with_their_losses,
    the_same_weights_again,
    another_optimizer_alone,
    combined_with_a_frozen_discriminator,
    frozen_and_thawed_again,
    a_frozen_norm,
    judged_only,
]


@pytest.mark.parametrize("script", INNOCENT, ids=lambda one: one.__name__)
def test_what_is_declared_is_what_is_trained(script: Callable[[], None]) -> None:
    assert not said(script)
