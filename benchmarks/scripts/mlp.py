"""A small dense network on a table."""

from __future__ import annotations

import keras
import numpy as np

rng = np.random.default_rng(0)
x = rng.normal(size=(4096, 32)).astype("float32")
y = (x @ rng.normal(size=(32, 1)) + 0.1 * rng.normal(size=(4096, 1))).astype("float32")


def log_cosh(y_true, y_pred):
    return keras.ops.mean(keras.ops.softplus(2.0 * (y_pred - y_true)) - (y_pred - y_true), axis=-1)


model = keras.Sequential(
    [
        keras.Input((32,)),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(1),
    ]
)
model.compile(optimizer="adam", loss=log_cosh)
model.fit(x, y, batch_size=32, epochs=5, verbose=0)
