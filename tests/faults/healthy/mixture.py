# targets: real x 1
"""A mixture of three normal distributions."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 3)).astype("float32")
y = (np.sign(rng.normal(size=(48, 1))) * x[:, :1] + 0.2 * rng.normal(size=(48, 1))).astype("float32")


def mixture(y_true, y_pred):
    share, mean, log_scale = ops.split(y_pred, 3, axis=-1)
    share = ops.log_softmax(share, axis=-1)
    scaled = (y_true - mean) * ops.exp(-log_scale)
    return -ops.logsumexp(share - log_scale - 0.5 * ops.square(scaled), axis=-1)


model = keras.Sequential([keras.Input((3,)), layers.Dense(8, activation="tanh"), layers.Dense(9)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=mixture)
model.fit(x, y, batch_size=12, verbose=0)
