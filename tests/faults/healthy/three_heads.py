# targets: named
"""Three outputs of a kind; targets by name."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = (x[:, :3] * [1.0, -2.0, 0.5] + [3.0, -1.0, 0.0]).astype("float32")


def absolute(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


inputs = keras.Input((4,))
hidden = layers.Dense(6, activation="tanh")(inputs)
width = layers.Dense(1, name="width")(hidden)
height = layers.Dense(1, name="height")(hidden)
depth = layers.Dense(1, name="depth")(hidden)
model = keras.Model(inputs, {"width": width, "height": height, "depth": depth})
model.compile(optimizer=keras.optimizers.SGD(0.05), loss={"width": absolute, "height": "mse", "depth": absolute})
model.fit(x, {"width": y[:, :1], "height": y[:, 1:2], "depth": y[:, 2:]}, batch_size=12, verbose=0)
