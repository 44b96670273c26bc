# backends: tensorflow, jax, torch
"""Losses compared on one network that is put back to the same initial weights before each run."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(65)
rng = np.random.default_rng(65)
x = rng.normal(size=(300, 6)).astype("float32")
bend = (x[:, :1] - 0.5 * x[:, 1:2]).astype("float32")
noisy = bend + np.where(rng.random((300, 1)) < 0.1, 8.0, 0.0).astype("float32")

inputs = keras.Input((6,))
outputs = layers.Dense(1)(layers.Dense(16, activation="relu")(inputs))
start = keras.Model(inputs, outputs).get_weights()

for loss in ("mse", "mae", keras.losses.Huber(0.5)):
    model = keras.Model(inputs, outputs)
    model.set_weights(start)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss)
    history = model.fit(x, noisy, batch_size=50, epochs=4, verbose=0).history["loss"]
    error = np.abs(model.predict(x, verbose=0) - bend).mean()
    print(loss if isinstance(loss, str) else loss.name, np.round(history, 3), "error %.3f" % error)
