# backends: tensorflow, jax, torch
"""Deviance of a zero-inflated target; each logarithm and root sees a safe argument (double where)."""

import functools

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(62)
rng = np.random.default_rng(62)
x = rng.normal(size=(400, 5)).astype("float32")
claims = rng.poisson(np.exp(-0.5 + 0.6 * x[:, 0]))[:, None].astype("float32")


def deviance(y_true, y_pred, scale):
    some = y_true > 0
    safe = ops.where(some, y_true, 1.0)
    log_term = ops.where(some, safe * ops.log(safe / y_pred), 0.0)
    return scale * ops.mean(log_term - y_true + y_pred, axis=-1)


inputs = keras.Input((5,))
h = layers.Dense(16, activation="tanh")(inputs)
mean = layers.Rescaling(1.0, offset=1e-4)(layers.Dense(1, activation="softplus")(h))  # never quite 0
model = keras.Model(inputs, mean)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=functools.partial(deviance, scale=2.0))
print("loss", np.round(model.fit(x, claims, batch_size=64, epochs=5, verbose=0).history["loss"], 4))
