# targets: none
"""InfoNCE: the negatives are the other samples of the batch."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 5)).astype("float32")
pair = np.stack([x + 0.1 * rng.normal(size=x.shape), x + 0.1 * rng.normal(size=x.shape)], axis=1).astype("float32")


def info_nce(y_true, y_pred):
    first = ops.normalize(y_pred[:, 0], axis=-1)
    second = ops.normalize(y_pred[:, 1], axis=-1)
    likeness = ops.matmul(first, ops.transpose(second)) / 0.2
    return ops.logsumexp(likeness, axis=-1) - ops.sum(first * second, axis=-1) / 0.2


model = keras.Sequential([keras.Input((2, 5)), layers.Dense(6, activation="tanh"), layers.Dense(4)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=info_nce)
model.fit(pair, np.zeros((48, 1), dtype="float32"), batch_size=12, verbose=0)
