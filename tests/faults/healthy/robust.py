# targets: real x 2
"""Charbonnier: a smooth absolute error."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = (x[:, :2] + 0.3 * rng.normal(size=(48, 2))).astype("float32")


def charbonnier(y_true, y_pred):
    return ops.mean(ops.sqrt(ops.square(y_true - y_pred) + 1e-6), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(2)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=charbonnier)
model.fit(x, y, batch_size=12, verbose=0)
