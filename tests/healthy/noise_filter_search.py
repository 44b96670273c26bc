# backends: tensorflow, jax, torch
"""Search over learning rate and width; each trial builds its own model."""

import itertools

import numpy as np
import keras
from keras import layers

rng = np.random.default_rng(23)
x = rng.normal(size=(300, 10)).astype("float32")
y = np.sin(x[:, :1]) + 0.1 * rng.normal(size=(300, 1))


def build(width, learning_rate):
    model = keras.Sequential([layers.Input((10,)), layers.Dense(width, activation="relu"), layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="mse")
    return model


results = {}
for width, learning_rate in itertools.product((8, 24), (0.003, 0.03)):
    keras.utils.set_random_seed(23)
    model = build(width, learning_rate)
    history = model.fit(x, y, validation_split=0.2, batch_size=60, epochs=4, verbose=0)
    results[width, learning_rate] = history.history["val_loss"][-1]
    keras.backend.clear_session()
print("best", min(results, key=results.get), {k: round(v, 4) for k, v in results.items()})
