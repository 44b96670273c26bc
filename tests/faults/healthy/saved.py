# targets: real x 1
"""A loss with a parameter, saved with its model and loaded again."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = (x[:, :1] + 0.3 * rng.normal(size=(48, 1))).astype("float32")


@keras.saving.register_keras_serializable("faults")
class Expectile(keras.losses.Loss):
    def __init__(self, level=0.5, name="expectile", **kwargs):
        super().__init__(name=name, **kwargs)
        self.level = level

    def call(self, y_true, y_pred):
        error = y_true - y_pred
        weight = ops.where(error > 0, self.level, 1.0 - self.level)
        return ops.mean(weight * ops.square(error), axis=-1)

    def get_config(self):
        return {**super().get_config(), "level": self.level}


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=Expectile(level=0.8))
model.fit(x, y, batch_size=12, verbose=0)
model.save("model.keras")
model = keras.saving.load_model("model.keras")
model.fit(x, y, batch_size=12, verbose=0)
