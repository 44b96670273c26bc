# backends: tensorflow, jax, torch
"""A sampler trained by the energy distance between two samples: the order of the rows has no meaning."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(5)
rng = np.random.default_rng(5)

angle = rng.uniform(0, 2 * np.pi, 400)
measured = np.stack([2.0 * np.cos(angle), np.sin(angle)], axis=1) + 0.1 * rng.normal(size=(400, 2))
measured = measured.astype("float32")
noise = rng.normal(size=(400, 4)).astype("float32")


def distances(a, b):
    squared = ops.sum(ops.square(a[:, None, :] - b[None, :, :]), axis=-1)
    return ops.sqrt(squared + 1e-6)


class Sampler(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        n = ops.cast(ops.shape(y)[0], "float32")
        unbiased = n / (n - 1.0)
        between = ops.mean(distances(y, y_pred))
        within = ops.mean(distances(y_pred, y_pred)) + ops.mean(distances(y, y))
        return 2.0 * between - unbiased * within


inputs = keras.Input((4,))
h = layers.Dense(32, activation="relu")(inputs)
model = Sampler(inputs, layers.Dense(2)(h))
model.compile(optimizer=keras.optimizers.Adam(0.01))
history = model.fit(noise, measured, batch_size=80, epochs=8, verbose=0).history["loss"]
print("energy distance", np.round(history, 3))
