# targets: real x 3
"""A layer that adds a penalty to the loss."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(47, 4)).astype("float32")
y = (x[:, :3] + 0.3 * rng.normal(size=(47, 3))).astype("float32")


class Sparse(layers.Layer):
    def call(self, inputs):
        self.add_loss(0.1 * ops.mean(ops.abs(inputs)))
        return inputs


def squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), Sparse(), layers.Dense(3)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=squared)
model.fit(x, y, batch_size=12, verbose=0)
