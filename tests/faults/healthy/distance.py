# targets: real x 2
"""How far the predicted point is from the true one, as a Loss, with sample weights."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = (x[:, :2] + 0.3 * rng.normal(size=(48, 2))).astype("float32")
importance = rng.uniform(0.2, 1.8, size=48).astype("float32")


class Distance(keras.losses.Loss):
    def call(self, y_true, y_pred):
        squared = ops.sum(ops.square(y_true - y_pred), axis=-1)
        return ops.sqrt(ops.maximum(squared, 1e-9))


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(2)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=Distance())
model.fit(x, y, sample_weight=importance, batch_size=12, verbose=0)
