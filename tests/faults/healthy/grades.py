# targets: ids x 1
"""Ordinal regression: one logit for each step between grades."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = rng.integers(0, 4, size=(48, 1))


def ordinal(y_true, y_pred):
    above = ops.cast(ops.cast(y_true, "float32") > ops.arange(3, dtype="float32"), "float32")
    return ops.sum(ops.softplus(y_pred) - above * y_pred, axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(3)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=ordinal)
model.fit(x, y, batch_size=12, verbose=0)
