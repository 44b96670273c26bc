"""On how many rows `lossproof.check` evaluates an objective."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import lossproof

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(100, 3)).astype("float32"), RANDOM.normal(size=(100, 1)).astype("float32")


@pytest.mark.parametrize(("asked", "rows"), [(None, 32), (8, 8), (80, 80), (1000, 100)])
def test_as_many_as_are_asked_for(asked: int | None, rows: int) -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    report = lossproof.check(model, X, Y, batch_size=asked, select=["LP103"])
    [capture] = report.captures
    [term] = capture.terms
    assert [one.shape for one in (*term.targets, *term.predictions)] == [(rows, 1), (rows, 1)]
