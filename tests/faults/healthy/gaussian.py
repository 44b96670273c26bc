# targets: real x 1
"""Negative log likelihood of a normal distribution; the model gives mean and log variance."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = (x[:, :1] + np.exp(0.3 * x[:, 1:2]) * 0.3 * rng.normal(size=(48, 1))).astype("float32")


def gaussian(y_true, y_pred):
    mean, log_var = y_pred[:, :1], y_pred[:, 1:]
    return ops.mean(0.5 * (log_var + ops.exp(-log_var) * ops.square(y_true - mean)), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(2)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=gaussian)
model.fit(x, y, batch_size=12, verbose=0)
