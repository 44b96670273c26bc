# targets: listed
"""Two outputs, losses, weights and targets as lists."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
angle = (x[:, :1] - x[:, 1:2]).astype("float32")
torque = (2.0 * x[:, 2:3] + 0.3 * rng.normal(size=(48, 1))).astype("float32")

inputs = keras.Input((4,))
hidden = layers.Dense(6, activation="tanh")(inputs)
first = layers.Dense(1, name="angle")(hidden)
second = layers.Dense(1, name="torque")(layers.Dense(4, activation="tanh")(hidden))
model = keras.Model(inputs, [first, second])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=["mse", "mae"], loss_weights=[1.0, 0.3])
model.fit(x, [angle, torque], batch_size=12, verbose=0)
