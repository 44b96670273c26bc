# targets: positive x 2
"""Symmetric relative error of positive quantities."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = np.exp(0.5 * x[:, :2]).astype("float32")
y[3] = 0.0


def relative(y_true, y_pred):
    size = ops.abs(y_true) + ops.abs(y_pred) + 1e-3
    return ops.mean(2.0 * ops.abs(y_true - y_pred) / size, axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(2, activation="softplus")])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=relative)
model.fit(x, y, batch_size=12, verbose=0)
