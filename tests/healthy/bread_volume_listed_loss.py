# backends: tensorflow, jax, torch
"""One output, loss and metrics in lists of one."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(38)
rng = np.random.default_rng(38)
x = rng.normal(size=(250, 4)).astype("float32")
volume = 2.0 + x[:, 0] - x[:, 1] ** 2

model = keras.Sequential([layers.Input((4,)), layers.Dense(16, activation="tanh"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(0.02), loss=["mse"], metrics=["mae"])
history = model.fit(x, volume, batch_size=32, epochs=4, verbose=0).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
