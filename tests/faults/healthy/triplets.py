# targets: none
"""Triplets: the model embeds anchor, positive and negative; the targets are not used."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

anchor = rng.normal(size=(48, 1, 5))
triplet = np.concatenate([anchor, anchor + 0.1 * rng.normal(size=(48, 1, 5)), rng.normal(size=(48, 1, 5))], axis=1)
triplet = triplet.astype("float32")


def triplet_loss(y_true, y_pred):
    anchor, positive, negative = y_pred[:, 0], y_pred[:, 1], y_pred[:, 2]
    near = ops.sum(ops.square(anchor - positive), axis=-1)
    far = ops.sum(ops.square(anchor - negative), axis=-1)
    return ops.maximum(near - far + 1.0, 0.0)


model = keras.Sequential([keras.Input((3, 5)), layers.Dense(6, activation="tanh"), layers.Dense(4)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=triplet_loss)
model.fit(triplet, np.zeros((48, 1), dtype="float32"), batch_size=12, verbose=0)
