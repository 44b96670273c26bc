# targets: other
"""Padded series under a compute_loss that hands the mask on itself."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

series = rng.normal(size=(48, 6, 3)).astype("float32")
for row, length in enumerate(rng.integers(2, 7, size=48)):
    series[row, length:] = 0.0
level = (np.cumsum(series[:, :, :1], axis=1) * series.any(axis=-1, keepdims=True)).astype("float32")


class Levels(keras.Model):
    def __init__(self):
        super().__init__()
        self.masking = layers.Masking()
        self.hidden = layers.Dense(6, activation="tanh")
        self.out = layers.Dense(1)

    def call(self, inputs):
        return self.out(self.hidden(self.masking(inputs)))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        mask = ops.cast(ops.any(ops.not_equal(x, 0.0), axis=-1), "float32")
        errors = ops.mean(ops.square(y - y_pred), axis=-1) * mask
        return ops.sum(errors) / ops.sum(mask)


model = Levels()
model.compile(optimizer=keras.optimizers.SGD(0.05))
model.fit(series, level, batch_size=12, verbose=0)
