# targets: real x 1
"""A train_step that reports one number more, the root of the loss."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = (x[:, :1] + 0.3 * rng.normal(size=(48, 1))).astype("float32")


class Regressor(keras.Model):
    def train_step(self, *args):
        result = super().train_step(*args)
        logs = result[0] if isinstance(result, tuple) else result
        logs["root_loss"] = ops.sqrt(logs["loss"])
        return result


inputs = keras.Input((4,))
model = Regressor(inputs, layers.Dense(1)(layers.Dense(6, activation="tanh")(inputs)))
model.compile(optimizer=keras.optimizers.SGD(0.05), loss="mse")
model.fit(x, y, batch_size=12, verbose=0)
