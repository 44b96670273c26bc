# backends: tensorflow, jax, torch
"""Batch-hard triplets: the labels of a batch are compared pair by pair."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(2)
rng = np.random.default_rng(2)

product = rng.integers(0, 8, 480)
photos = (rng.normal(size=(8, 16))[product] + 0.7 * rng.normal(size=(480, 16))).astype("float32")


def batch_hard_triplets(margin):
    def loss(y_true, y_pred):
        label = ops.reshape(y_true, (-1,))
        squared = ops.sum(ops.square(y_pred[:, None, :] - y_pred[None, :, :]), axis=-1)
        distance = ops.sqrt(squared + 1e-9)
        same = ops.cast(ops.equal(label[:, None], label[None, :]), "float32")
        farthest_same = ops.max(same * distance, axis=1)
        nearest_other = ops.min(distance + 1e3 * same, axis=1)
        return ops.relu(margin + farthest_same - nearest_other)

    return loss


model = keras.Sequential([layers.Input((16,)), layers.Dense(32, activation="relu"), layers.Dense(4)])
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=batch_hard_triplets(1.0))
history = model.fit(photos, product, batch_size=60, epochs=6, verbose=0).history["loss"]
print("loss", np.round(history, 3))
