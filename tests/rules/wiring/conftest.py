"""Small models of two outputs, and what a rule says of a `fit` of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lossproof.capture.watch import Watch
from lossproof.findings.finding import Finding
from lossproof.pipeline import judge

ROWS = 32


@pytest.fixture
def x() -> np.ndarray:
    """Inputs, shape (32, 3)."""
    return np.random.default_rng(1).normal(size=(ROWS, 3)).astype("float32")


@pytest.fixture
def age(x: np.ndarray) -> np.ndarray:
    """Shape (32, 1), around 0."""
    return x[:, :1].copy()


@pytest.fixture
def price(x: np.ndarray) -> np.ndarray:
    """Shape (32, 1), around 10."""
    return 10.0 + x[:, 1:2]


def functional(outputs: str, widths: tuple[int, int] = (1, 1)) -> Any:
    """A model with layers `price` and `age`; `outputs` says how it returns them.

    `list`, `dict` (price first), `sorted` (a dict, age first), `renamed` (a dict under the keys cost and years), `one`
    (price alone), `dict1` (price alone, in a dict).
    """
    inputs = keras.Input((3,))
    hidden = layers.Dense(5, activation="tanh", name="hidden")(inputs)
    p = layers.Dense(widths[0], name="price")(hidden)
    a = layers.Dense(widths[1], name="age")(hidden)
    forms = {
        "list": [p, a],
        "dict": {"price": p, "age": a},
        "sorted": {"age": a, "price": p},
        "renamed": {"cost": p, "years": a},
        "one": p,
        "dict1": {"price": p},
    }
    return keras.Model(inputs, forms[outputs])


class TwoHeads(keras.Model):
    """A subclassed model: `form` is `list`, `tuple` or `dict` (price first)."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.first = layers.Dense(1)
        self.second = layers.Dense(1)

    def call(self, x: Any) -> Any:
        p, a = self.first(x), self.second(x)
        return {"list": [p, a], "tuple": (p, a), "dict": {"price": p, "age": a}}[self.form]


Caught = Callable[..., list[Finding]]


@pytest.fixture
def caught() -> Caught:
    """Compiles and trains a model, which may fail; returns what the rule found: `(code, model, x, y, told, ...)`.

    It is trained eagerly, which is quicker here; how the step was compiled is nothing to the wiring.
    """

    def run(code: str, model: Any, x: Any, y: Any = None, told: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        with Watch(shorten=True) as watch, suppress(Exception):
            model.compile(optimizer=keras.optimizers.SGD(0.01), run_eagerly=True, **(told or {"loss": "mse"}))
            model.fit(x, y, **{"verbose": 0, "batch_size": 16, **kwargs})
        report = judge(watch.run, select=[code])
        assert not report.crashed, report.crashed
        assert not watch.defects, watch.defects
        assert len(watch.run.captures) == 1
        return list(report.findings)

    return run
