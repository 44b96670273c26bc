# targets: real x 3
"""One minus the cosine between prediction and target."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = rng.normal(size=(48, 3)).astype("float32")


def away(y_true, y_pred):
    y_true = y_true / ops.sqrt(ops.sum(ops.square(y_true), axis=-1, keepdims=True) + 1e-8)
    y_pred = y_pred / ops.sqrt(ops.sum(ops.square(y_pred), axis=-1, keepdims=True) + 1e-8)
    return 1.0 - ops.sum(y_true * y_pred, axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(3)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=away)
model.fit(x, y, batch_size=12, verbose=0)
