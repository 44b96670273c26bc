# targets: shares x 3
"""Kullback-Leibler divergence from soft targets, at a temperature."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = rng.dirichlet(np.ones(3), size=48).astype("float32")
temperature = 2.0


def divergence(y_true, y_pred):
    log_q = ops.log_softmax(y_pred / temperature, axis=-1)
    return ops.sum(y_true * (ops.log(y_true + 1e-7) - log_q), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(3)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=divergence)
model.fit(x, y, batch_size=12, verbose=0)
