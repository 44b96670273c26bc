# backends: tensorflow, jax, torch
"""Quantised code with a straight-through estimator inside the model, and a gradient that differs from the numeric one on purpose."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(68)
rng = np.random.default_rng(68)
signal = (rng.normal(size=(360, 3)) @ rng.normal(size=(3, 14))).astype("float32")


class Quantise(layers.Layer):
    """Rounds to eighths; the gradient passes as if nothing were rounded."""

    def call(self, x):
        rounded = ops.round(8.0 * x) / 8.0
        return x + ops.stop_gradient(rounded - x)


inputs = keras.Input((14,))
code = Quantise()(layers.Dense(4, activation="tanh")(inputs))
model = keras.Model(inputs, layers.Dense(14)(layers.Dense(20, activation="relu")(code)))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=lambda y_true, y_pred: ops.mean(ops.abs(y_true - y_pred), axis=-1))
print("loss", np.round(model.fit(signal, signal, batch_size=60, epochs=6, verbose=0).history["loss"], 4))
