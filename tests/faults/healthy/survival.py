# targets: pairs
"""Discrete-time hazards, censored: columns of y are the interval and whether the event was seen."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
interval = rng.integers(0, 5, size=48)
seen = rng.random(48) < 0.7
y = np.stack([interval, seen], axis=1).astype("float32")


def hazard_likelihood(y_true, y_pred):
    interval, seen = y_true[:, :1], y_true[:, 1:]
    steps = ops.arange(5, dtype="float32")[None, :]
    survived = ops.cast(steps < interval, "float32")
    died = ops.cast(ops.equal(steps, interval), "float32") * seen
    alive = survived * ops.log(1.0 - y_pred + 1e-7)
    dead = died * ops.log(y_pred + 1e-7)
    return -ops.sum(alive + dead, axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(5, activation="sigmoid")])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=hazard_likelihood)
model.fit(x, y, batch_size=12, verbose=0)
