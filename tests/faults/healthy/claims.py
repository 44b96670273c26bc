# targets: counts x 1
"""Poisson likelihood of counts."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = rng.poisson(np.exp(0.4 * x[:, :1])).astype("float32")


def poisson(y_true, y_pred):
    return ops.mean(y_pred - y_true * ops.log(y_pred + 1e-6), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(1, activation="softplus")])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=poisson)
model.fit(x, y, batch_size=12, verbose=0)
