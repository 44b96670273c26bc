# targets: real x 1
"""A Huber loss as a Loss, saved with its model."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(47, 4)).astype("float32")
y = (x[:, :1] - x[:, 1:2] + 0.3 * rng.normal(size=(47, 1))).astype("float32")


@keras.saving.register_keras_serializable("faults")
class OwnHuber(keras.losses.Loss):
    def __init__(self, delta=0.7, name="own_huber", **kwargs):
        super().__init__(name=name, **kwargs)
        self.delta = delta

    def call(self, y_true, y_pred):
        error = ops.abs(y_true - y_pred)
        inside = 0.5 * ops.square(error)
        outside = self.delta * error - 0.5 * self.delta**2
        return ops.mean(ops.where(error < self.delta, inside, outside), axis=-1)

    def get_config(self):
        return {**super().get_config(), "delta": self.delta}


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=OwnHuber(delta=0.5))
model.fit(x, y, batch_size=12, verbose=0)
