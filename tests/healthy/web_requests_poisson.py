# backends: tensorflow, jax, torch
"""Whole-number targets as int64 and as float64, under a Poisson loss and under mean squared error."""

import numpy as np
import keras
from keras import layers

rng = np.random.default_rng(48)
x = rng.normal(size=(350, 6)).astype("float32")
requests = rng.poisson(np.exp(0.7 + 0.5 * x[:, 0]))

for loss, targets in (("poisson", requests), ("poisson", requests.astype("float64")), ("mse", requests[:, None])):
    keras.utils.set_random_seed(48)
    model = keras.Sequential([layers.Input((6,)), layers.Dense(12, activation="relu"), layers.Dense(1, activation="exponential")])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss)
    print(loss, targets.dtype, np.round(model.fit(x, targets, batch_size=50, epochs=3, verbose=0).history["loss"], 4))
