"""LP303: generators that a loss, a layer or a step asks in Python."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossproof.capture.watch import Watch
from lossproof.pipeline import judge

from .conftest import Caught

OWN = np.random.default_rng(3)
UNTRACKED = keras.random.SeedGenerator(5)


def dense() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Dense(1)])


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def legacy(y_true: Any, y_pred: Any) -> Any:
    return squared(y_true + np.random.normal(), y_pred)


def own_generator(y_true: Any, y_pred: Any) -> Any:
    return squared(y_true + float(OWN.normal()), y_pred)


def python(y_true: Any, y_pred: Any) -> Any:
    return squared(y_true, y_pred) * (1.0 + random.random())


def new_generator(y_true: Any, y_pred: Any) -> Any:
    return squared(y_true + float(np.random.default_rng().normal()), y_pred)


def untracked(y_true: Any, y_pred: Any) -> Any:
    return squared(y_true + keras.random.normal((1,), seed=UNTRACKED), y_pred)


def fixed(y_true: Any, y_pred: Any) -> Any:
    return squared(y_true + float(np.random.default_rng(7).normal()), y_pred)


class Noisy(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs + float(np.random.normal())


@pytest.mark.backend("tensorflow", "jax")
@pytest.mark.parametrize("loss", [legacy, own_generator, python, new_generator])
def test_drawn_in_python(caught: Caught, x: np.ndarray, loss: Any) -> None:
    (finding,) = caught("LP303", dense(), x, x[:, :1], {"loss": loss})
    assert finding.where is not None
    assert finding.where.scope == loss.__name__
    one, other = finding.evidence["compiled"]  # type: ignore[misc]
    assert one == other
    assert finding.counterfactual.after != finding.counterfactual.before


@pytest.mark.backend("tensorflow", "jax")
def test_drawn_by_a_layer(caught: Caught, x: np.ndarray) -> None:
    model = keras.Sequential([keras.Input((3,)), Noisy(), layers.Dense(1)])
    (finding,) = caught("LP303", model, x, x[:, :1])
    assert finding.where is not None


def test_a_generator_that_only_jax_does_not_carry_along(caught: Caught, x: np.ndarray, backend: str) -> None:
    assert len(caught("LP303", dense(), x, x[:, :1], {"loss": untracked})) == (backend == "jax")


def test_fixed_numbers_dropout_and_eager_steps(caught: Caught, x: np.ndarray) -> None:
    dropping = keras.Sequential([keras.Input((3,)), layers.GaussianNoise(0.3), layers.Dropout(0.5), layers.Dense(1)])
    assert not caught("LP303", dropping, x, x[:, :1])
    assert not caught("LP303", dense(), x, x[:, :1], {"loss": fixed})
    assert not caught("LP303", dense(), x, x[:, :1], {"loss": legacy, "run_eagerly": True})


def test_the_generators_are_left_as_they_were(x: np.ndarray) -> None:
    def states() -> str:
        return repr((random.getstate(), np.random.get_state()[1].tolist()))  # type: ignore[index,union-attr]

    with Watch(shorten=True) as watch:
        model = dense()
        model.compile(optimizer="sgd", loss=legacy)
        model.fit(x, x[:, :1], verbose=0)
    before = states()
    judge(watch.run, select=["LP303"])
    assert states() == before
