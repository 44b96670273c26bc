# targets: masks
"""Soft dice of each image."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

masks = (rng.random((36, 6, 6, 1)) < rng.uniform(0.1, 0.6, (36, 1, 1, 1))).astype("float32")
masks[4] = 0.0
scans = (masks + rng.normal(0, 0.4, masks.shape)).astype("float32")


def dice(y_true, y_pred):
    overlap = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    size = ops.sum(y_true, axis=(1, 2, 3)) + ops.sum(y_pred, axis=(1, 2, 3))
    return 1.0 - (2.0 * overlap + 1.0) / (size + 1.0)


model = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(3, 3, padding="same", activation="relu"), layers.Conv2D(1, 1, activation="sigmoid")])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=dice)
model.fit(scans, masks, batch_size=9, verbose=0)
