# targets: real x 1
"""Pinball loss: three quantiles of one target."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(47, 4)).astype("float32")
y = (x[:, :1] + 0.3 * rng.normal(size=(47, 1))).astype("float32")


def pinball(y_true, y_pred):
    quantiles = ops.convert_to_tensor([0.1, 0.5, 0.9])
    error = y_true - y_pred
    return ops.mean(ops.maximum(quantiles * error, (quantiles - 1.0) * error), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(3)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=pinball)
model.fit(x, y, batch_size=12, verbose=0)
